"""Values of the standard library that are one JSON string in a form of their own, and bytes."""

import base64
import binascii
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from pydantic import TypeAdapter, ValidationError

from greenroom.rpc.serialization.context import Definitions, Run
from greenroom.rpc.serialization.failures import expected, unexpected
from greenroom.rpc.serialization.handler import Handler, TextForm
from greenroom.rpc.serialization.primitives import TextualHandler

FORMS: dict[type, str] = {
    date: "a date in ISO format",
    time: "a time in ISO format",
    timedelta: "a duration in ISO 8601",
    UUID: "a UUID",
    Decimal: "a decimal number",
}


class StandardHandler(TextualHandler):
    """Read, written and described by pydantic: a date, a time, a duration, a UUID or a decimal number as a string."""

    is_primitive = False

    def __init__(self, declared: type) -> None:
        adapter = TypeAdapter[Any](declared)
        name, form = declared.__name__, FORMS[declared]

        def write(value: Any) -> str:
            # A datetime is a date to isinstance, but would lose its time.
            if not isinstance(value, declared) or isinstance(value, datetime):
                raise expected(name, value)
            if isinstance(value, Decimal) and not value.is_finite():
                raise unexpected("a finite Decimal", str(value))
            return str(adapter.dump_python(value, mode="json"))

        def read(text: str) -> Any:
            try:
                return adapter.validate_strings(text, strict=True)
            except ValidationError:
                raise unexpected(form, text) from None

        schema = {"type": "string"} if declared is Decimal else adapter.json_schema()
        super().__init__(name, schema, TextForm(write, read))


class BytesHandler(Handler):
    """``{"@type": "bytes", "value": <base64>}``"""

    name = "bytes"
    reads = (dict,)

    def __init__(self) -> None:
        def encode(value: Any, run: Run) -> dict[str, Any]:
            if isinstance(value, bytes):
                return {"@type": "bytes", "value": base64.b64encode(value).decode("ascii")}
            raise expected("bytes", value)

        def decode(value: Any, run: Run) -> bytes:
            if type(value) is not dict:
                raise expected("bytes", value)
            return read_bytes(value)

        self.encode = encode
        self.decode = decode

    def schema(self, definitions: Definitions) -> dict[str, Any]:
        return {
            "type": "object",
            "properties": {
                "@type": {"const": "bytes"},
                "value": {"type": "string", "contentEncoding": "base64"},
            },
            "required": ["@type", "value"],
        }


def read_bytes(tagged: dict[str, Any]) -> bytes:
    """:raises WrongValue: unless it is the tag and base64, and nothing else"""
    if tagged.get("@type") != "bytes" or tagged.keys() != {"@type", "value"} or type(tagged["value"]) is not str:
        raise unexpected("""bytes as {"@type": "bytes", "value": <base64>}""", tagged)
    try:
        return base64.b64decode(tagged["value"], validate=True)
    except (binascii.Error, ValueError):
        problem = unexpected("base64", tagged["value"])
        problem.inside("value")
        raise problem from None
