"""What a forked child sent back, made into values and exceptions again.

Only types that this process has loaded, or has itself sent to the child, are made: a type's name never leads to an
import, and no code of the type's own runs.
"""

import base64
import datetime
import decimal
import enum
import pathlib
import sys
import uuid
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

TypeName = tuple[str, str]
"""module and qualified name"""


class ForkFailed(RuntimeError):
    """The child ended badly, and not by an exception whose type is known here.

    ``exit_code``: minus the signal where one ended it, ``None`` where an exception did. ``traceback_text``: as the
    child saw it, if it could.
    """

    def __init__(self, message: str, exit_code: int | None = None, traceback_text: str = "") -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.traceback_text = traceback_text


class ChildTraceback(Exception):
    """The cause of an exception raised again here: its text is the traceback as the child saw it."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text}"""'


class Decoder:
    def __init__(self, sent: Mapping[TypeName, type]) -> None:
        """``sent``: types that went to the child with the callable; they need not be findable by name."""
        self._sent = sent

    def value(self, data: Any) -> Any:
        """:raises ValueError: for a type that is not known here, or for what no child of ours sends"""
        if isinstance(data, list):
            return [self.value(item) for item in data]
        if not isinstance(data, dict):
            return data
        if "@" not in data:
            return {key: self.value(item) for key, item in data.items()}
        return self._marked(data["@"], data)

    def _marked(self, mark: Any, data: dict[str, Any]) -> Any:
        value = data.get("v")
        match mark:
            case "dict":
                return {self.value(key): self.value(item) for key, item in _listed(value)}
            case "tuple":
                return tuple(self.value(_listed(value)))
            case "set":
                return set(self.value(_listed(value)))
            case "frozenset":
                return frozenset(self.value(_listed(value)))
            case "bytes":
                return base64.b64decode(str(value))
            case "bytearray":
                return bytearray(base64.b64decode(str(value)))
            case "timedelta":
                return datetime.timedelta(*_listed(value))
            case "complex":
                return complex(*_listed(value))
            case "datetime":
                return datetime.datetime.fromisoformat(str(value))
            case "date":
                return datetime.date.fromisoformat(str(value))
            case "time":
                return datetime.time.fromisoformat(str(value))
            case "decimal":
                return decimal.Decimal(str(value))
            case "uuid":
                return uuid.UUID(str(value))
            case "path":
                return pathlib.Path(str(value))
            case "error":
                return self.error(_mapping(value))
            case "enum" | "flag":
                return self._member(data)
            case "dataclass":
                return self._dataclass(data)
        raise ValueError(f"a forked child sent the unknown mark {mark!r}")

    def error(self, data: dict[str, Any]) -> BaseException:
        """The child's exception, of its own type if that is known here, else :class:`ForkFailed` with the same text."""
        text = str(data.get("traceback", ""))
        made = self._rebuilt(data)
        if made is None:
            _, name = _name(data["type"])
            made = ForkFailed(f"{name}: {data.get('text', '')}", traceback_text=text)
        made.__cause__ = ChildTraceback(text)
        return made

    def _rebuilt(self, data: dict[str, Any]) -> BaseException | None:
        kind = self._known(_name(data["type"]))
        if kind is None or not issubclass(kind, BaseException):
            return None
        try:
            arguments = self.value(_listed(data.get("args")))
            state = self.value(_mapping(data.get("state")))
            built_in = next(base for base in kind.__mro__ if base.__module__ == "builtins")
            # As unpickling does, but no __init__ written in Python: its arguments need not be the exception's.
            made: BaseException = kind.__new__(kind, *arguments)
            built_in.__init__(made, *arguments)  # type: ignore[misc]
            vars(made).update(state)
        except (TypeError, ValueError):
            return None
        return made

    def _member(self, data: dict[str, Any]) -> enum.Enum:
        kind = self._type(data)
        if not issubclass(kind, enum.Enum):
            raise ValueError(f"{kind.__qualname__} is no enum")
        if issubclass(kind, enum.Flag):
            return kind(data.get("v"))
        name = str(data.get("v"))
        if name not in kind.__members__:
            raise ValueError(f"{kind.__qualname__} has no member {name}")
        return kind[name]

    def _dataclass(self, data: dict[str, Any]) -> Any:
        kind = self._type(data)
        if not is_dataclass(kind):
            raise ValueError(f"{kind.__qualname__} is no dataclass")
        values = _mapping(data.get("v"))
        made = object.__new__(kind)
        for field in fields(kind):
            if field.name in values:
                object.__setattr__(made, field.name, self.value(values[field.name]))
        return made

    def _type(self, data: dict[str, Any]) -> type:
        module, name = _name(data.get("type"))
        kind = self._known((module, name))
        if kind is None:
            raise ValueError(f"a forked child sent a {module}.{name}, a type that is not loaded here")
        return kind

    def _known(self, name: TypeName) -> type | None:
        if name in self._sent:
            return self._sent[name]
        found: object = sys.modules.get(name[0])
        for part in name[1].split("."):
            found = vars(found).get(part) if hasattr(found, "__dict__") else None
        return found if isinstance(found, type) else None


def _listed(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"a forked child sent {type(value).__name__} where a list was due")
    return value


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"a forked child sent {type(value).__name__} where an object was due")
    return value


def _name(value: Any) -> TypeName:
    module, name = _listed(value)
    return str(module), str(name)
