"""JSON values to and from bytes."""

from typing import Any

from pydantic_core import PydanticSerializationError, from_json, to_json

from greenroom.rpc.serialization.failures import WrongValue


def dump_json(value: Any) -> bytes:
    """Compact UTF-8. The value is JSON already, as ``Serializer.to_json`` gives it.

    :raises WrongValue: for what UTF-8 cannot hold (half a surrogate pair)
    """
    try:
        return to_json(value, inf_nan_mode="constants")
    except (PydanticSerializationError, UnicodeEncodeError, RecursionError) as problem:
        raise WrongValue("Cannot be written as JSON", f": {problem}") from None


def load_json(data: bytes | bytearray | str) -> Any:
    """:raises WrongValue: for malformed JSON, NaN and infinity, and nesting past 200 levels"""
    try:
        return from_json(data, allow_inf_nan=False)
    except ValueError as problem:
        raise WrongValue("Malformed JSON", f": {problem}") from None
