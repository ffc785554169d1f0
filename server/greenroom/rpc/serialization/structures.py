"""Dicts and tuples whose parts have names: ``TypedDict`` as an object, ``NamedTuple`` as an array."""

from collections.abc import Callable, Mapping
from typing import Any

from greenroom.rpc.serialization.containers import TupleHandler
from greenroom.rpc.serialization.context import Definitions, Run
from greenroom.rpc.serialization.failures import AtPath, WrongType, WrongValue, expected, shown
from greenroom.rpc.serialization.handler import Handler


class TypedDictHandler(Handler):
    """An object of the declared keys; others are refused, as nobody has said what they hold.

    :param required: the keys that must be there
    """

    reads = (dict,)

    def __init__(self, name: str, keys: Mapping[str, Handler], required: frozenset[str]) -> None:
        self.name = name
        self.keys = keys
        self.required = required
        writers = {key: handler.encode for key, handler in keys.items()}
        readers = {key: handler.decode for key, handler in keys.items()}

        def convert(value: Any, closures: Mapping[str, Callable[[Any, Run], Any]], run: Run) -> dict[str, Any]:
            if not isinstance(value, dict):
                raise expected(name, value)
            if not required <= value.keys():
                missing = ", ".join(repr(key) for key in keys if key in required - value.keys())
                raise WrongType(f"Missing {missing} of {name}")
            done: dict[str, Any] = {}
            key: Any = ""
            try:
                for key, part in value.items():
                    if key not in closures:
                        raise WrongValue(f"{name} has no key {shown(key)}")
                    done[key] = closures[key](part, run)
            except AtPath as problem:
                if key in closures:
                    problem.inside(key)
                raise
            return done

        self.encode = lambda value, run: convert(value, writers, run)
        self.decode = lambda value, run: convert(value, readers, run)

    def schema(self, definitions: Definitions) -> dict[str, Any]:
        schema: dict[str, Any] = {
            "type": "object",
            "properties": {key: handler.schema(definitions) for key, handler in self.keys.items()},
            "additionalProperties": False,
        }
        required = [key for key in self.keys if key in self.required]
        return {**schema, "required": required} if required and definitions.required else schema


class NamedTupleHandler(TupleHandler):
    """:param build: the class"""

    def __init__(self, name: str, items: list[Handler], build: type) -> None:
        super().__init__(items)
        self.name = name
        encode, decode = self.encode, self.decode

        def write(value: Any, run: Run) -> Any:
            if not isinstance(value, build):
                raise expected(name, value)
            return encode(value, run)

        def read(value: Any, run: Run) -> Any:
            if type(value) is not list:
                raise expected(name, value)
            return build(*decode(value, run))

        self.encode = write
        self.decode = read
