"""Type variables: what each stands for in a class and in the classes that it inherits from, and putting that in."""

from collections.abc import Mapping
from typing import Any, Generic, Protocol, TypeVar, get_args, get_origin

from greenroom.rpc.serialization.failures import WrongType

Bindings = Mapping[TypeVar, Any]


def parameters_of(declared: Any) -> tuple[Any, ...]:
    """The type variables that are still open in a class, an alias or a union."""
    if isinstance(declared, TypeVar):
        return (declared,)
    return tuple(getattr(declared, "__parameters__", ()))


def substitute(declared: Any, bindings: Bindings) -> Any:
    """``declared`` with its type variables replaced.

    :raises WrongType: if one is not bound
    """
    open_ones = parameters_of(declared)
    if not open_ones:
        return declared
    values = tuple(_value(variable, bindings, declared) for variable in open_ones)
    return values[0] if isinstance(declared, TypeVar) else declared[values]


def _value(variable: Any, bindings: Bindings, declared: Any) -> Any:
    if variable not in bindings:
        raise WrongType(f"The type variable {variable} is not bound", f" in {declared}")
    return bindings[variable]


def class_bindings(declared: Any) -> dict[type, dict[TypeVar, Any]]:
    """For a class or an alias such as ``Box[int]``: each class that it inherits from -> its own variables' values.

    One variable may stand for two types in two bases, hence one mapping for each. Open variables are left out.
    """
    origin = get_origin(declared) or declared
    found: dict[type, dict[TypeVar, Any]] = {}
    _collect(origin, get_args(declared), found)
    return found


def _collect(cls: type, arguments: tuple[Any, ...], found: dict[type, dict[TypeVar, Any]]) -> None:
    own = dict(zip(parameters_of(cls), arguments, strict=False))
    found[cls] = {**found.get(cls, {}), **own}
    written = {get_origin(base): base for base in vars(cls).get("__orig_bases__", ())}
    for base in cls.__bases__:
        if base in (object, Generic, Protocol):
            continue
        alias = written.get(base, base)
        resolved = tuple(_partly(argument, own) for argument in get_args(alias))
        _collect(base, resolved if _is_closed(resolved) else (), found)


def _partly(argument: Any, bindings: Bindings) -> Any:
    open_ones = parameters_of(argument)
    return substitute(argument, bindings) if all(one in bindings for one in open_ones) else argument


def _is_closed(arguments: tuple[Any, ...]) -> bool:
    return not any(parameters_of(argument) for argument in arguments)
