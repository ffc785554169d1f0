"""The reader and writer of one declared type, compiled once."""

from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar, overload

from greenroom.rpc.serialization.compiler import compile_type, record_of
from greenroom.rpc.serialization.context import NO_CONTEXT, Definitions, Run, SerializationContext
from greenroom.rpc.serialization.failures import AtPath, WrongType, WrongValue, expected
from greenroom.rpc.serialization.handler import Handler
from greenroom.rpc.serialization.primitives import TypeHandler
from greenroom.rpc.serialization.schema import JsonSchema
from greenroom.rpc.serialization.wire import dump_json, load_json

T = TypeVar("T")
NO_BINDINGS: Mapping[TypeVar, Any] = {}


class Serializer(Generic[T]):
    """Strict: nothing is coerced but an int where a float is declared. Errors are TypeError or ValueError and name the
    path: ``Expected int at ev.items.0, got <class 'str'>``. Safe for several threads at once.
    """

    __slots__ = ("declared", "handler")

    def __init__(self, declared: Any, handler: Handler) -> None:
        self.declared = declared
        self.handler = handler

    @overload
    @classmethod
    def parse(cls, declared: type[T], type_map: Mapping[TypeVar, Any] = ...) -> "Serializer[T]": ...

    @overload
    @classmethod
    def parse(cls, declared: Any, type_map: Mapping[TypeVar, Any] = ...) -> "Serializer[Any]": ...

    @classmethod
    def parse(cls, declared: Any, type_map: Mapping[TypeVar, Any] = NO_BINDINGS) -> "Serializer[Any]":
        """What was compiled before is found again.

        :param type_map: what the type variables in ``declared`` stand for
        :raises TypeError: if a type has no JSON form or a type variable is not bound; says which, where and why
        """
        return Serializer(declared, compile_type(declared, type_map))

    @property
    def is_primitive(self) -> bool:
        """Whether it goes into a URL: int, float, str, bool, an enum, datetime, Path, type, or a union of these (and
        None)."""
        return self.handler.is_primitive

    @property
    def is_nullable(self) -> bool:
        return self.handler.is_nullable

    def to_json(self, value: T, ctx: SerializationContext | None = None) -> Any:
        """A value of dicts, lists, strings, finite numbers, booleans and None.

        :raises TypeError, ValueError: if it is not of the declared type, or nests too deeply
        """
        return self._run(self.handler.encode, value, ctx)

    def from_json(self, value: Any, ctx: SerializationContext | None = None) -> T:
        """:raises TypeError, ValueError: as :meth:`to_json`"""
        read: T = self._run(self.handler.decode, value, ctx)
        return read

    def to_json_bytes(self, value: T, ctx: SerializationContext | None = None) -> bytes:
        return dump_json(self.to_json(value, ctx))

    def from_json_bytes(self, data: bytes | bytearray | str, ctx: SerializationContext | None = None) -> T:
        return self.from_json(load_json(data), ctx)

    def to_string(self, value: T, ctx: SerializationContext | None = None) -> str:
        """The form in a URL, not yet percent-encoded.

        :raises TypeError, ValueError: if it is no primitive, or not of the declared type
        """
        form = self.handler.text
        if form is None:
            raise WrongType(f"Expected a primitive type, got {self.handler.name}")
        if value is None:
            raise expected(self.handler.name, value)
        return str(self._run(lambda given, _: form.write(given), value, ctx))

    def from_string(self, text: str, ctx: SerializationContext | None = None) -> T:
        """:raises TypeError, ValueError: as :meth:`to_string`"""
        form = self.handler.text
        if form is None:
            raise WrongType(f"Expected a primitive type, got {self.handler.name}")
        if isinstance(self.handler, TypeHandler):
            return self.from_json(text, ctx)
        read: T = self._run(lambda given, _: form.read(given), text, ctx)
        return read

    def to_json_schema(self, *, required: bool = False) -> JsonSchema:
        """:param required: let objects list the fields that have no default"""
        definitions = Definitions(required)
        schema = self.handler.schema(definitions)
        return JsonSchema(schema, {name: dict(found) for name, found in definitions.found.items()})

    def _run(self, convert: Callable[[Any, Run], Any], value: Any, ctx: SerializationContext | None) -> Any:
        ctx = ctx or NO_CONTEXT
        try:
            return convert(value, Run(record_of, ctx.known, ctx.max_depth))
        except AtPath as problem:
            problem.inside(*ctx.path)
            raise
        except RecursionError:
            too_deep = WrongValue("Nested too deeply, or in a cycle")
            too_deep.inside(*ctx.path)
            raise too_deep from None

    def __repr__(self) -> str:
        return f"Serializer[{self.handler.name}]"
