"""Values of undeclared type, and classes by name, for a program's own use."""

import sys
from collections.abc import Mapping
from typing import Any, TypeVar

from greenroom.rpc.serialization.context import SerializationContext
from greenroom.rpc.serialization.failures import WrongValue, shown
from greenroom.rpc.serialization.generics import class_bindings
from greenroom.rpc.serialization.names import find_known, full_name
from greenroom.rpc.serialization.serializer import Serializer


class TypeTools:
    @staticmethod
    def serialize(value: Any, declared: Any = Any) -> Any:
        """:raises TypeError, ValueError: if it has no JSON form"""
        return Serializer.parse(declared).to_json(value)

    @staticmethod
    def deserialize(value: Any, declared: Any = Any, known: tuple[type, ...] = ()) -> Any:
        """:param known: the classes that tagged records may name where ``Any`` is declared"""
        return Serializer.parse(declared).from_json(value, SerializationContext(known=known))

    @staticmethod
    def type_to_full_name(declared: type) -> str:
        return full_name(declared)

    @staticmethod
    def full_name_to_type(name: str, base: type = object, known: tuple[type, ...] = ()) -> type:
        """The class of that name among the loaded subclasses of ``base``. For ``object``: among ``known`` where given,
        else in the modules that are loaded. Nothing is imported. Never give it a name from outside without ``base``.

        :raises ValueError: if there is none
        """
        if base is object and not known:
            return _loaded(name)
        return find_known(name, base, known)

    @staticmethod
    def type_maps(declared: Any) -> Mapping[type, Mapping[TypeVar, Any]]:
        """For ``Box[int]``: each class that it inherits from -> what its own type variables stand for."""
        return class_bindings(declared)


def _loaded(name: str) -> type:
    module, rest = name, ""
    while module:
        module, _, last = module.rpartition(".")
        rest = f"{last}.{rest}" if rest else last
        if module in sys.modules:
            found: Any = sys.modules[module]
            for part in rest.split("."):
                found = vars(found).get(part) if hasattr(found, "__dict__") else None
            if isinstance(found, type) and full_name(found) == name:
                return found
    raise WrongValue("Expected the full name of a loaded class", f", got {shown(name)}")
