"""Values whose type was not declared, and the alias ``JSON`` for those that are to be left alone.

``Any`` and ``object`` carry JSON values as they are, bytes and records with a tag. What has neither form is refused; so
is ``@base64``, the tag under which other implementations hide a pickle, in both directions and wherever it stands.
"""

import math
from types import NoneType
from typing import Any, TypeAlias

from greenroom.rpc.serialization.context import Definitions, Run
from greenroom.rpc.serialization.failures import (
    AtPath,
    WrongType,
    WrongValue,
    expected,
    index_of,
    key_at,
    unexpected,
)
from greenroom.rpc.serialization.handler import Handler
from greenroom.rpc.serialization.names import full_name, listed
from greenroom.rpc.serialization.standard import BytesHandler, read_bytes

JSON: TypeAlias = dict[str, Any] | list[Any] | str | float | int | bool | None
"""A value that is JSON already: checked when written, given back untouched, tags and all."""

PICKLE_TAG = "@base64"
RECORD_TAGS = ("dataclass", "sqlalchemy")
BYTES = BytesHandler()
_PLAIN = frozenset({str, int, bool, NoneType})


def refuse_pickle() -> WrongValue:
    return WrongValue(
        f"Refused {PICKLE_TAG!r}", ": a pickle runs code when it is read; declare a type that has a JSON form"
    )


class AnyHandler(Handler):
    """:param keeps_unknown: a tagged record whose class the caller did not list stays the dict that it is"""

    name = "Any"
    is_nullable = True

    def __init__(self, keeps_unknown: bool = False) -> None:
        self.encode = _Writer().write
        self.decode = _Reader(keeps_unknown).read

    def schema(self, definitions: Definitions) -> dict[str, Any]:
        return {}


class JSONHandler(Handler):
    name = "JSON"
    is_nullable = True

    def __init__(self) -> None:
        def decode(value: Any, run: Run) -> Any:
            return value

        self.encode = _JsonWriter().write
        self.decode = decode

    def schema(self, definitions: Definitions) -> dict[str, Any]:
        return {}


class _JsonWriter:
    def write(self, value: Any, run: Run) -> Any:
        kind = type(value)
        if kind in _PLAIN:
            return value
        if kind is float:
            return _finite(value)
        if kind is dict:
            return self.write_dict(value, run)
        if kind is list:
            return self.write_list(value, run)
        return self.write_other(value, run)

    def write_other(self, value: Any, run: Run) -> Any:
        raise expected("a JSON value", value)

    def write_list(self, value: list[Any] | tuple[Any, ...], run: Run) -> list[Any]:
        run.enter()
        rest = iter(value)
        try:
            done = [item if type(item) in _PLAIN else self.write(item, run) for item in rest]
        except AtPath as problem:
            problem.inside(index_of(value, rest))  # type: ignore[arg-type]
            raise
        run.depth -= 1
        return done

    def write_dict(self, value: dict[Any, Any], run: Run) -> dict[str, Any]:
        run.enter()
        rest = iter(value.items())
        try:
            done = {
                key if type(key) is str else _plain_key(key): item if type(item) in _PLAIN else self.write(item, run)
                for key, item in rest
            }
        except AtPath as problem:
            problem.inside(key_at(value, index_of(value, rest)))  # type: ignore[arg-type]
            raise
        run.depth -= 1
        return done


class _Writer(_JsonWriter):
    def write_dict(self, value: dict[Any, Any], run: Run) -> dict[str, Any]:
        if value.get("@type") == PICKLE_TAG:
            raise refuse_pickle()
        return super().write_dict(value, run)

    def write_other(self, value: Any, run: Run) -> Any:
        if isinstance(value, bytes):
            return BYTES.encode(value, run)
        if isinstance(value, tuple):
            return self.write_list(value, run)
        return write_tagged(value, run)


def write_tagged(value: Any, run: Run) -> dict[str, Any]:
    """A record with the name of its class; the tags come last."""
    record = run.record_of(type(value))
    run.enter()
    done: dict[str, Any] = record.encode(value, run)
    run.depth -= 1
    done["@type"] = record.kind
    done["@subtype"] = full_name(record.declared)
    return done


class _Reader:
    def __init__(self, keeps_unknown: bool) -> None:
        self.keeps_unknown = keeps_unknown

    def read(self, value: Any, run: Run) -> Any:
        kind = type(value)
        if kind in _PLAIN:
            return value
        if kind is float:
            return _finite(value)
        if kind is list:
            return self._read_list(value, run)
        if kind is dict:
            return self._read_dict(value, run)
        raise expected("a JSON value", value)

    def _read_list(self, value: list[Any], run: Run) -> list[Any]:
        run.enter()
        rest = iter(value)
        try:
            done = [item if type(item) in _PLAIN else self.read(item, run) for item in rest]
        except AtPath as problem:
            problem.inside(index_of(value, rest))  # type: ignore[arg-type]
            raise
        run.depth -= 1
        return done

    def _read_dict(self, value: dict[str, Any], run: Run) -> Any:
        if "@type" in value:
            tag = value["@type"]
            if tag == PICKLE_TAG:
                raise refuse_pickle()
            if tag == "bytes":
                return read_bytes(value)
            if tag in RECORD_TAGS and "@subtype" in value:
                found = self._find(value["@subtype"], run)
                if found is not None:
                    run.enter()
                    record = run.record_of(found).decode(value, run)
                    run.depth -= 1
                    return record
        run.enter()
        rest = iter(value.items())
        try:
            done = {key: item if type(item) in _PLAIN else self.read(item, run) for key, item in rest}
        except AtPath as problem:
            problem.inside(key_at(value, index_of(value, rest)))  # type: ignore[arg-type]
            raise
        run.depth -= 1
        return done

    def _find(self, name: Any, run: Run) -> type | None:
        if self.keeps_unknown:
            return listed(name, run.known)
        try:
            if type(name) is not str:
                raise unexpected("a class's full name", name)
            return run.find(name)
        except AtPath as problem:
            problem.inside("@subtype")
            raise


def _plain_key(key: Any) -> str:
    if isinstance(key, str):
        return str.__str__(key)
    problem = expected("str as a key", key)
    problem.found += "; declare the dict with the type of its keys"
    raise problem


def _finite(value: float) -> float:
    if math.isfinite(value):
        return value
    raise unexpected("a finite float", value)


def no_form(declared: object, reason: str = "") -> WrongType:
    """The refusal of a type that has no JSON form."""
    name = full_name(declared) if isinstance(declared, type) else str(declared)
    advice = reason or "it has no JSON form; declare a dataclass, or one of the types that have one"
    return WrongType(f"Cannot serialize {name}", f": {advice}")
