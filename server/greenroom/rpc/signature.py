"""The arguments and the result of a declared function, as its annotations give them."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final, get_type_hints

from greenroom.rpc.annotation import Annotation, TypeMap
from greenroom.rpc.declaration import unwrapped

NO_DEFAULT: Final = inspect.Parameter.empty


class FunctionKind(Enum):
    FUNCTION = auto()
    INSTANCE_METHOD = auto()
    CLASS_METHOD = auto()
    STATIC_METHOD = auto()


@dataclass(frozen=True, slots=True)
class Argument:
    """:param default: :data:`NO_DEFAULT` if the caller must give it."""

    name: str
    index: int
    annotation: Annotation
    default: Any = NO_DEFAULT

    @property
    def has_default(self) -> bool:
        return self.default is not NO_DEFAULT

    @property
    def is_required(self) -> bool:
        """A nullable argument that nobody gives is None, even where Python would ask for it."""
        return not self.has_default and not self.annotation.is_nullable


@dataclass(frozen=True, slots=True)
class Signature:
    """:param refused: why no call can be made, empty if it can: such functions are declared but not callable."""

    name: str
    callable: Callable[..., Any]
    kind: FunctionKind
    arguments: tuple[Argument, ...]
    returned_type: Annotation
    binding: inspect.Signature
    refused: str = ""

    @classmethod
    def parse(cls, cl: Any, owner: type | None = None, type_map: TypeMap | None = None) -> "Signature":
        """:param owner: the class in whose body the function stands, so that its first argument is the instance.
        :raises TypeError: for an annotation that cannot be resolved.
        """
        function = unwrapped(cl)
        kind = _kind(cl, owner)
        bare = inspect.signature(function)
        parameters = list(bare.parameters.values())
        if kind in (FunctionKind.INSTANCE_METHOD, FunctionKind.CLASS_METHOD) and not inspect.ismethod(function):
            parameters = parameters[1:]
        hints = _hints(function)
        supported = [one for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]
        strange = next((one for one in parameters if one not in supported), None)
        return cls(
            function.__name__,
            function,
            kind,
            tuple(
                Argument(one.name, index, _annotation(hints, one.name, type_map), one.default)
                for index, one in enumerate(supported)
            ),
            _annotation(hints, "return", type_map),
            bare.replace(parameters=parameters),
            ""
            if strange is None
            else f"{function.__qualname__}: {strange} is {strange.kind.description}, "
            "and such arguments have no name to travel under",
        )

    @property
    def proper_arguments(self) -> tuple[Argument, ...]:
        return self.arguments

    def assign_parameters_to_names(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """What a caller gave, by name; defaults are left out.

        :raises TypeError: as Python would for such a call; also for positional-only and variadic arguments.
        """
        if self.refused:
            raise TypeError(self.refused)
        return dict(self.binding.bind(*args, **kwargs).arguments)


def _kind(function: Any, owner: type | None) -> FunctionKind:
    if isinstance(function, staticmethod):
        return FunctionKind.STATIC_METHOD
    if isinstance(function, classmethod):
        return FunctionKind.CLASS_METHOD
    if owner is not None or inspect.ismethod(function):
        return FunctionKind.INSTANCE_METHOD
    first = next(iter(inspect.signature(function).parameters.values()), None)
    of_a_class = first is not None and first.name == "self" and first.annotation is first.empty
    return FunctionKind.INSTANCE_METHOD if of_a_class else FunctionKind.FUNCTION


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(function)
    except NameError as error:
        raise TypeError(f"an annotation of {function.__qualname__} cannot be resolved: {error}") from None


def _annotation(hints: dict[str, Any], name: str, type_map: TypeMap | None) -> Annotation:
    return Annotation.parse(hints[name], type_map) if name in hints else Annotation.default()
