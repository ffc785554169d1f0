"""From a declared type to its handler. A type that has no JSON form is refused here, with the reason and the place."""

import collections.abc
import dataclasses
import inspect
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from functools import lru_cache
from pathlib import Path
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    NewType,
    NotRequired,
    Required,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from greenroom.rpc.serialization.anything import JSON, AnyHandler, JSONHandler, no_form
from greenroom.rpc.serialization.containers import DictHandler, ListHandler, TupleHandler
from greenroom.rpc.serialization.failures import AtPath, WrongType
from greenroom.rpc.serialization.generics import Bindings, class_bindings, parameters_of, substitute
from greenroom.rpc.serialization.handler import Handler, RecordHandler, RecursiveHandler
from greenroom.rpc.serialization.mapped import LateHandler, SqlAlchemyHandler, columns_of, mapper_of
from greenroom.rpc.serialization.names import register
from greenroom.rpc.serialization.primitives import (
    BoolHandler,
    DatetimeHandler,
    EnumHandler,
    FloatHandler,
    IntHandler,
    LiteralHandler,
    NoneHandler,
    PathHandler,
    StrHandler,
    TypeHandler,
)
from greenroom.rpc.serialization.records import DataclassHandler, RecordField, arguments_of
from greenroom.rpc.serialization.standard import FORMS, BytesHandler, StandardHandler
from greenroom.rpc.serialization.structures import NamedTupleHandler, TypedDictHandler
from greenroom.rpc.serialization.unions import UnionHandler

TYPES_REMEMBERED = 4096
STREAMS = (
    collections.abc.Iterable,
    collections.abc.Iterator,
    collections.abc.Generator,
    collections.abc.AsyncIterable,
    collections.abc.AsyncIterator,
    collections.abc.AsyncGenerator,
)
REASONS: dict[Any, str] = {
    bytearray: "declare bytes",
    memoryview: "declare bytes",
    complex: "JSON has no complex numbers; declare two floats",
    **dict.fromkeys(STREAMS, "a stream is an argument or a result of its own, never a part of a value"),
}


@dataclass(frozen=True)
class TypeKey:
    """A type as a key. Types themselves will not do: ``int | str`` equals ``str | int``, but the order decides here."""

    shape: Any
    declared: Any = field(compare=False, repr=False)

    @classmethod
    def of(cls, declared: Any) -> "TypeKey":
        return cls(_shape(declared), declared)


def _shape(declared: Any) -> Any:
    declared = bare(declared)
    origin, arguments = get_origin(declared), get_args(declared)
    if origin is None:
        return declared
    if origin is Literal:
        return Literal, tuple((type(constant), constant) for constant in arguments)
    return origin, tuple(_shape(argument) for argument in arguments)


def bare(declared: Any) -> Any:
    """Without what is written around a type: annotations, the name of a new type or of an alias, quoted ``None``."""
    while True:
        if declared is None:
            return NoneType
        if get_origin(declared) is Annotated:
            declared = get_args(declared)[0]
        elif isinstance(declared, NewType):
            declared = declared.__supertype__
        elif type(declared).__name__ == "TypeAliasType":
            declared = declared.__value__
        else:
            return declared


def compile_type(declared: Any, bindings: Bindings) -> Handler:
    """:raises WrongType: if the type, or one inside it, has no JSON form"""
    try:
        return _compiled(TypeKey.of(substitute(bare(declared), bindings)))
    except RecursionError:
        raise no_form(declared, "it refers to itself without end; declare a dataclass, or JSON") from None


@lru_cache(maxsize=TYPES_REMEMBERED)
def _compiled(key: TypeKey) -> Handler:
    return _Compiler().compile(key.declared)


@lru_cache(maxsize=TYPES_REMEMBERED)
def record_of(found: type) -> RecordHandler:
    """The handler of a class met in a value: as if declared, its open type variables ``Any``.

    :raises WrongType: if it is no record
    """
    if not dataclasses.is_dataclass(found) and mapper_of(found) is None:
        raise no_form(found)
    open_ones = parameters_of(found)
    declared: Any = found
    handler = compile_type(declared[(Any,) * len(open_ones)] if open_ones else declared, {})
    if not isinstance(handler, RecordHandler):
        raise no_form(found)
    return handler


SIMPLE: dict[Any, type[Handler]] = {
    int: IntHandler,
    float: FloatHandler,
    str: StrHandler,
    bool: BoolHandler,
    NoneType: NoneHandler,
    bytes: BytesHandler,
    datetime: DatetimeHandler,
    Path: PathHandler,
    Any: AnyHandler,
    object: AnyHandler,
    inspect.Parameter.empty: AnyHandler,
}


class _Compiler:
    """One compilation; ``open`` holds the records that are being made, for those that contain themselves."""

    def __init__(self) -> None:
        self.open: dict[TypeKey, RecordHandler] = {}

    def compile(self, declared: Any) -> Handler:
        declared = bare(declared)
        if isinstance(declared, str) or type(declared).__name__ == "ForwardRef":
            raise no_form(repr(declared), "the name is not resolved")
        if isinstance(declared, TypeVar):
            raise WrongType(f"The type variable {declared} is not bound")
        if declared == JSON:
            return JSONHandler()
        origin, arguments = get_origin(declared), get_args(declared)
        if origin in (Union, UnionType):
            return UnionHandler([self.compile(argument) for argument in arguments])
        if origin is Literal:
            return LiteralHandler(arguments)
        if (isinstance(declared, type) and origin is None and declared in SIMPLE) or declared is Any:
            return SIMPLE[declared]()
        cls = origin or declared
        if not isinstance(cls, type):
            raise no_form(declared)
        container = self.container(cls, arguments, declared)
        return container or self.named(cls, declared)

    def inner(self, declared: Any, place: str) -> Handler:
        try:
            return self.compile(declared)
        except AtPath as problem:
            problem.inside(place)
            raise

    def container(self, cls: type, arguments: tuple[Any, ...], declared: Any) -> Handler | None:
        name = _name(declared)
        if cls is tuple and arguments and not (len(arguments) == 2 and arguments[1] is ...):
            return TupleHandler([self.inner(part, str(index)) for index, part in enumerate(arguments)])
        if declared is tuple[()]:
            return TupleHandler([])
        if cls in (list, tuple, set, frozenset, collections.abc.Sequence):
            item = self.inner(arguments[0] if arguments else Any, "*")
            build: Any = list if cls is collections.abc.Sequence else cls
            return ListHandler(name, item, cls, build)
        if cls in (dict, collections.abc.Mapping):
            key, value = arguments or (str, Any)
            return DictHandler(name, self.key(key), self.inner(value, "*"), cls)
        if is_typeddict(cls):
            return TypedDictHandler(name, self.parts(cls, declared), required_keys(cls))
        if issubclass(cls, tuple) and hasattr(cls, "_fields"):
            parts = self.parts(cls, declared)
            untyped = {field: AnyHandler() for field in cls._fields}
            return NamedTupleHandler(name, list({**untyped, **parts}.values()), cls)
        return None

    def parts(self, cls: type, declared: Any) -> dict[str, Handler]:
        """The handlers of what a class of named parts holds."""
        arguments = dict(zip(parameters_of(cls), get_args(declared), strict=False))
        try:
            hints = get_type_hints(cls)
        except NameError as problem:
            raise no_form(cls, f"{problem}; declare it where its module can see it") from problem
        return {name: self.inner(substitute(hint, arguments), f"{cls.__name__}.{name}") for name, hint in hints.items()}

    def key(self, declared: Any) -> Any:
        """The form of a dict's keys; None where they are strings."""
        if bare(declared) in (str, Any):
            return None
        handler = self.inner(declared, "key")
        if handler.text is None or handler.is_nullable:
            problem = no_form(declared, "a key is a primitive value")
            problem.inside("key")
            raise problem
        return handler.text

    def named(self, cls: type, declared: Any) -> Handler:
        if cls is type:
            arguments = get_args(declared)
            base = bare(arguments[0]) if arguments else object
            base = object if base is Any else base
            if not isinstance(base, type):
                raise no_form(declared)
            return TypeHandler(base)
        if issubclass(cls, Enum):
            register(cls)
            return EnumHandler(cls)
        if cls in FORMS:
            return StandardHandler(cls)
        mapper = mapper_of(cls)
        if mapper is not None:
            return self.mapped(cls, mapper)
        if dataclasses.is_dataclass(cls):
            return self.dataclass(cls, declared)
        raise no_form(declared, REASONS.get(cls, ""))

    def mapped(self, cls: type, mapper: Any) -> Handler:
        fields = []
        for name, column in columns_of(mapper).items():
            handler = self.inner(column.type, name)
            late = column.is_late and not handler.is_nullable
            fields.append(RecordField(name, LateHandler(handler) if late else handler))
        register(cls)
        return SqlAlchemyHandler(cls, mapper, tuple(fields))

    def dataclass(self, cls: type, declared: Any) -> Handler:
        key = TypeKey.of(declared)
        if key in self.open:
            return RecursiveHandler(self.open[key], self.open[key].name)
        handler = DataclassHandler(cls, _name(declared))
        self.open[key] = handler
        arguments = arguments_of(cls)
        types = field_types(cls, declared)
        handler.complete(
            tuple(
                RecordField(
                    found.name,
                    self.inner(types[found.name], f"{cls.__name__}.{found.name}"),
                    found.name in arguments and arguments[found.name].is_required,
                    found.name in arguments,
                    found.name in arguments and arguments[found.name].is_positional,
                )
                for found in dataclasses.fields(cls)
            )
        )
        del self.open[key]
        register(cls)
        return handler


def field_types(cls: type, declared: Any) -> dict[str, Any]:
    """Field -> its type, type variables put in: each class's own where it declares the field.

    :raises WrongType: if a name in an annotation cannot be resolved, or a type variable is not bound
    """
    bindings = class_bindings(declared)
    types: dict[str, Any] = {}
    for owner in reversed(cls.__mro__[:-1]):
        own = inspect.get_annotations(owner)
        if not own:
            continue
        try:
            hints = get_type_hints(owner, localns={**vars(owner), cls.__name__: cls, owner.__name__: owner})
        except NameError as problem:
            raise no_form(cls, f"{problem}; declare it where its module can see it") from problem
        for name in own.keys() & {found.name for found in dataclasses.fields(cls)}:
            try:
                types[name] = substitute(hints[name], bindings.get(owner, {}))
            except AtPath as problem:
                problem.inside(f"{cls.__name__}.{name}")
                raise
    return types


def required_keys(cls: Any) -> frozenset[str]:
    """Of a ``TypedDict``, whose own list knows nothing of what its annotations say as text."""
    said = {key: get_origin(hint) for key, hint in get_type_hints(cls, include_extras=True).items()}
    return frozenset(
        key for key, how in said.items() if how is Required or (how is not NotRequired and key in cls.__required_keys__)
    )


def _name(declared: Any) -> str:
    """``Box[int]`` as errors and schemas say it."""
    origin, arguments = get_origin(declared), get_args(declared)
    if declared is ...:
        return "..."
    if origin in (Union, UnionType):
        return " | ".join(map(_name, arguments))
    if origin is Literal or not arguments:
        return getattr(declared, "__name__", str(declared)) if origin is not Literal else str(declared)
    return f"{origin.__name__ if isinstance(origin, type) else origin}[{', '.join(map(_name, arguments))}]"
