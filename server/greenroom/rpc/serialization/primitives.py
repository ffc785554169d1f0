"""Values that are one JSON scalar: numbers, text, truth, names of enums and classes, moments, paths, constants."""

import math
from collections.abc import Sequence
from datetime import datetime
from enum import Enum, Flag
from functools import reduce
from operator import or_
from pathlib import Path
from types import NoneType
from typing import Any

from greenroom.rpc.serialization.context import Definitions, Run
from greenroom.rpc.serialization.failures import WrongType, WrongValue, expected, shown, unexpected
from greenroom.rpc.serialization.handler import Handler, TextForm
from greenroom.rpc.serialization.names import find_known, full_name

NAMES_SHOWN = 12


class PrimitiveHandler(Handler):
    """What passes through a URL as well as through JSON."""

    is_primitive = True

    def __init__(self, name: str, json_schema: dict[str, Any]) -> None:
        self.name = name
        self.json_schema = json_schema

    def schema(self, definitions: Definitions) -> dict[str, Any]:
        return dict(self.json_schema)


class NoneHandler(PrimitiveHandler):
    is_primitive = False
    is_nullable = True
    reads = (NoneType,)
    exact = NoneType

    def __init__(self) -> None:
        super().__init__("None", {"type": "null"})

        def same(value: Any, run: Run) -> Any:
            if value is None:
                return None
            raise expected("None", value)

        self.encode = self.decode = same


class BoolHandler(PrimitiveHandler):
    reads = (bool,)
    exact = bool

    def __init__(self) -> None:
        super().__init__("bool", {"type": "boolean"})

        def same(value: Any, run: Run) -> Any:
            if type(value) is bool:
                return value
            raise expected("bool", value)

        def write(value: Any) -> str:
            if type(value) is bool:
                return str(value)
            raise expected("bool", value)

        def read(text: str) -> bool:
            if text == "True":
                return True
            if text == "False":
                return False
            raise unexpected("'@True' or '@False'", text)

        self.encode = self.decode = same
        self.text = TextForm(write, read)


class IntHandler(PrimitiveHandler):
    reads = (int,)
    exact = int

    def __init__(self) -> None:
        super().__init__("int", {"type": "integer"})

        def same(value: Any, run: Run) -> Any:
            return value if type(value) is int else convert(value)

        def convert(value: Any) -> int:
            if isinstance(value, int) and not isinstance(value, bool):
                return int(value)
            raise expected("int", value)

        def write(value: Any) -> str:
            return str(convert(value))

        def read(text: str) -> int:
            if not text.isascii() or "_" in text or text != text.strip():
                raise ValueError(f"invalid literal for int() with base 10: {shown(text)}")
            return int(text)

        self.encode = self.decode = same
        self.text = TextForm(write, read)


class FloatHandler(PrimitiveHandler):
    """Finite numbers only: JSON has no others."""

    reads = (float, int)

    def __init__(self) -> None:
        super().__init__("float", {"type": "number"})
        isfinite = math.isfinite

        def same(value: Any, run: Run) -> Any:
            if type(value) is float and isfinite(value):
                return value
            return convert(value)

        def convert(value: Any) -> float:
            if not isinstance(value, float | int) or isinstance(value, bool):
                raise expected("float", value)
            try:
                number = float(value)
            except OverflowError:
                raise unexpected("a finite float", value) from None
            if not isfinite(number):
                raise unexpected("a finite float", value)
            return number

        def read(text: str) -> float:
            if not text.isascii() or "_" in text or text != text.strip():
                raise ValueError(f"could not convert string to float: {shown(text)}")
            return convert(float(text))

        self.encode = self.decode = same
        self.text = TextForm(lambda value: str(convert(value)), read)


class StrHandler(PrimitiveHandler):
    reads = (str,)
    exact = str

    def __init__(self) -> None:
        super().__init__("str", {"type": "string"})

        def same(value: Any, run: Run) -> Any:
            return value if type(value) is str else convert(value)

        def convert(value: Any) -> str:
            if isinstance(value, str):
                return str.__str__(value)
            raise expected("str", value)

        self.encode = self.decode = same
        self.text = TextForm(convert, convert)


class TextualHandler(PrimitiveHandler):
    """A JSON string with a meaning: written and read as in a URL."""

    reads = (str,)

    def __init__(self, name: str, json_schema: dict[str, Any], text: TextForm) -> None:
        super().__init__(name, json_schema)
        self.text = text
        write, read = text.write, text.read

        def encode(value: Any, run: Run) -> str:
            return write(value)

        def decode(value: Any, run: Run) -> Any:
            if type(value) is str:
                return read(value)
            raise expected(name, value)

        self.encode = encode
        self.decode = decode


class DatetimeHandler(TextualHandler):
    def __init__(self) -> None:
        def write(value: Any) -> str:
            if isinstance(value, datetime):
                return value.isoformat()
            raise expected("datetime", value)

        def read(text: str) -> datetime:
            try:
                return datetime.fromisoformat(text)
            except ValueError:
                raise unexpected("a datetime in ISO format", text) from None

        super().__init__("datetime", {"type": "string", "format": "date-time"}, TextForm(write, read))


class PathHandler(TextualHandler):
    def __init__(self) -> None:
        def write(value: Any) -> str:
            if isinstance(value, Path):
                return str(value)
            raise expected("Path", value)

        def read(text: str) -> Path:
            if "\0" in text:
                raise unexpected("a path", text)
            return Path(text)

        super().__init__("Path", {"type": "string", "format": "path"}, TextForm(write, read))


class EnumHandler(TextualHandler):
    """By name, never by value. Flags join their names with ``|``."""

    def __init__(self, declared: type[Enum]) -> None:
        names = dict(declared.__members__)
        if not names:
            raise WrongType(f"Cannot serialize {full_name(declared)}", ": it has no members to name")
        listing = " or ".join(map(repr, list(names)[:NAMES_SHOWN])) + (" or ..." if len(names) > NAMES_SHOWN else "")
        composite = issubclass(declared, Flag)

        def write(value: Any) -> str:
            if type(value) is not declared:
                raise expected(declared.__name__, value)
            name = value.name
            if name is None:
                if composite and not value.value:
                    return ""
                raise WrongValue(f"A {declared.__name__} without a name has no JSON form")
            return str(name)

        def read(text: str) -> Enum:
            found = names.get(text)
            if found is None:
                if composite and all(name in names for name in text.split("|") if text):
                    return reduce(or_, (names[name] for name in text.split("|") if text), declared(0))
                raise unexpected(listing, text)
            return found

        schema = {"type": "string"} if composite else {"enum": list(names)}
        super().__init__(declared.__name__, schema, TextForm(write, read))


class TypeHandler(TextualHandler):
    """A class, by its full name; read only among those known, see :mod:`greenroom.rpc.serialization.names`."""

    def __init__(self, base: type) -> None:
        name = "type" if base is object else f"type[{base.__name__}]"

        def write(value: Any) -> str:
            if isinstance(value, type) and issubclass(value, base):
                return full_name(value)
            raise expected(name, value)

        def read(text: str) -> type:
            return find_known(text, base, ())

        super().__init__(name, {"type": "string"}, TextForm(write, read))

        def decode(value: Any, run: Run) -> type:
            if type(value) is str:
                return run.find(value) if base is object else find_known(value, base, ())
            raise expected(name, value)

        self.decode = decode


class LiteralHandler(PrimitiveHandler):
    """One of some constants: int, str, bool, None as they are, an enum's member by name."""

    is_primitive = False

    def __init__(self, constants: Sequence[Any]) -> None:
        forms = {(type(json), json): constant for constant in constants for json in (_json_of_constant(constant),)}
        jsons = [json for _, json in forms]
        listing = " or ".join(map(repr, jsons[:NAMES_SHOWN]))
        super().__init__(f"Literal[{', '.join(map(repr, jsons[:NAMES_SHOWN]))}]", {"enum": jsons})
        self.reads = tuple({type(json) for json in jsons})
        self.is_nullable = None in jsons
        given = {(type(constant), constant): json for (_, json), constant in forms.items()}

        def encode(value: Any, run: Run) -> Any:
            return look_up(given, value)

        def decode(value: Any, run: Run) -> Any:
            return look_up(forms, value)

        def look_up(table: dict[tuple[type, Any], Any], value: Any) -> Any:
            if isinstance(value, str | int | bool | Enum | None) and (type(value), value) in table:
                return table[type(value), value]
            raise unexpected(listing, value)

        self.encode = encode
        self.decode = decode


def _json_of_constant(constant: Any) -> Any:
    if isinstance(constant, Enum):
        return constant.name
    if isinstance(constant, str | int | bool | None):
        return constant
    raise WrongType(f"Cannot serialize the constant {constant!r}", ": only int, str, bool, None and enum members")
