"""What a type annotation says: its alternatives, and type variables replaced by what a generic service was given."""

import types
from collections import abc
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, TypeVar, Union, get_args, get_origin

TypeMap = Mapping[Any, Any]
"""type variable -> what stands for it"""

SYNC_STREAMS: Final[frozenset[Any]] = frozenset({abc.Iterable, abc.Iterator, abc.Generator})
ASYNC_STREAMS: Final[frozenset[Any]] = frozenset({abc.AsyncIterable, abc.AsyncIterator, abc.AsyncGenerator})


@dataclass(frozen=True, slots=True)
class DeclaredType:
    """One alternative of an annotation: a class, or a generic one with its arguments.

    :param type: the class; the annotation as it is where it is no class (``Any``, a literal).
    """

    type: Any
    arguments: tuple[Any, ...] = ()

    @classmethod
    def parse(cls, value: Any, type_map: TypeMap | None = None) -> "DeclaredType":
        """:raises TypeError: for a type variable that ``type_map`` lacks."""
        resolved = substitute(value, type_map or {})
        origin = get_origin(resolved)
        return cls(resolved) if origin is None else cls(origin, get_args(resolved))

    @property
    def name(self) -> str:
        return str(getattr(self.type, "__name__", self.type))

    @property
    def type_map(self) -> dict[Any, Any]:
        """What stands for the type's own variables."""
        parameters = getattr(self.type, "__parameters__", ())
        return dict(zip(parameters, self.arguments, strict=False))

    @property
    def mro(self) -> tuple["DeclaredType", ...]:
        """Every class that this one inherits from, itself first, each with its arguments resolved."""
        found: dict[Any, DeclaredType] = {}
        self._collect(found)
        return tuple(found.get(base, DeclaredType(base)) for base in self.type.__mro__)

    def find_type(self, t: type) -> "DeclaredType | None":
        """The base ``t`` with its arguments; ``None`` if this type is none of it."""
        return next((base for base in self.mro if base.type is t), None)

    def _collect(self, found: dict[Any, "DeclaredType"]) -> None:
        if self.arguments or self.type not in found:
            found[self.type] = self
        own = self.type_map
        for base in getattr(self.type, "__orig_bases__", self.type.__bases__):
            origin = get_origin(base) or base
            if not isinstance(origin, type):
                continue
            # A variable that nobody has bound stays one: whoever needs it says so.
            DeclaredType(origin, tuple(_partly(argument, own) for argument in get_args(base)))._collect(found)


@dataclass(frozen=True, slots=True)
class Annotation:
    """:param types: the alternatives of a union, in order; one for anything else.
    :param raw_annotation: the whole, type variables replaced.
    :param from_typevar: the variable that the annotation was, if it was one.
    """

    types: tuple[DeclaredType, ...]
    raw_annotation: Any
    not_annotated: bool = False
    from_typevar: Any = None

    @classmethod
    def parse(cls, annotation: Any, type_map: TypeMap | None = None) -> "Annotation":
        """:raises TypeError: for a type variable that ``type_map`` lacks."""
        resolved = substitute(annotation, type_map or {})
        variable = annotation if isinstance(annotation, TypeVar) else None
        return cls(tuple(DeclaredType.parse(one) for one in alternatives(resolved)), resolved, False, variable)

    @classmethod
    def default(cls) -> "Annotation":
        """Of an argument that has none."""
        return cls((DeclaredType(Any),), Any, not_annotated=True)

    @property
    def is_nullable(self) -> bool:
        return any(one.type is type(None) for one in self.types)

    @property
    def present(self) -> tuple[DeclaredType, ...]:
        """The alternatives but None."""
        return tuple(one for one in self.types if one.type is not type(None))

    @property
    def streams(self) -> tuple[DeclaredType, ...]:
        return tuple(one for one in self.types if one.type in SYNC_STREAMS or one.type in ASYNC_STREAMS)

    @property
    def names(self) -> str:
        """``list``, ``int|NoneType``: for the documentation."""
        return "|".join(one.name for one in self.types)

    def is_single_type(self, tp: Any) -> bool:
        return len(self.types) == 1 and self.types[0].type is tp


def alternatives(annotation: Any) -> tuple[Any, ...]:
    """The members of a union, nested ones and named aliases opened; ``None`` as its type."""
    annotation = _opened(annotation)
    if annotation is None:
        return (type(None),)
    if get_origin(annotation) in (Union, types.UnionType):
        return tuple(inner for one in get_args(annotation) for inner in alternatives(one))
    return (annotation,)


def substitute(annotation: Any, type_map: TypeMap) -> Any:
    """The annotation without type variables. :raises TypeError: for one that ``type_map`` lacks."""
    missing = [variable for variable in _variables(annotation) if variable not in type_map]
    if missing:
        raise TypeError(f"the type variable {missing[0]} is not bound: give the service its types, as in Service[int]")
    return _partly(annotation, type_map)


def _partly(annotation: Any, type_map: TypeMap) -> Any:
    if isinstance(annotation, TypeVar):
        return type_map.get(annotation, annotation)
    variables = _variables(annotation)
    if not variables:
        return annotation
    return annotation[tuple(type_map.get(variable, variable) for variable in variables)]


def _variables(annotation: Any) -> tuple[Any, ...]:
    if isinstance(annotation, TypeVar):
        return (annotation,)
    # A bare generic class lists its variables too, but means "any of it".
    return () if isinstance(annotation, type) and get_origin(annotation) is None else _listed(annotation)


def _listed(annotation: Any) -> tuple[Any, ...]:
    found = getattr(annotation, "__parameters__", ())
    return found if isinstance(found, tuple) else ()


def _opened(annotation: Any) -> Any:
    while True:
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        elif type(annotation).__name__ == "TypeAliasType":
            annotation = annotation.__value__
        else:
            return annotation
