"""How one declared type is read and written. Every kind of type has its subclass; the compiler puts them together.

A handler is made once for each type. What runs for each value are its two closures ``encode`` and ``decode``, so that a
record costs one call for each part that is not plain already.
"""

from collections.abc import Callable
from dataclasses import dataclass
from types import NoneType
from typing import Any

from greenroom.rpc.serialization.context import Decode, Definitions, Encode, Run

JSON_TYPES: tuple[type, ...] = (dict, list, str, int, float, bool, NoneType)


@dataclass(frozen=True, slots=True)
class TextForm:
    """The form in a URL or as an object's key."""

    write: Callable[[Any], str]
    read: Callable[[str], Any]


class Handler:
    """:ivar name: as errors call the type
    :ivar exact: values of exactly this class are their own JSON, both ways
    :ivar reads: the JSON classes that ``decode`` may accept, for choosing in a union
    :ivar text: the form as text, for what has one
    :ivar is_primitive: goes into a URL
    """

    name: str
    encode: Encode
    decode: Decode
    exact: type | None = None
    reads: tuple[type, ...] = JSON_TYPES
    text: TextForm | None = None
    is_primitive: bool = False
    is_nullable: bool = False

    def schema(self, definitions: Definitions) -> dict[str, Any]:
        raise NotImplementedError


class RecordHandler(Handler):
    """A class whose objects are objects of named fields, and whose subclasses may stand in for it."""

    kind: str
    """the ``@type`` of its tag"""
    declared: type
    field_names: frozenset[str]


class RecursiveHandler(Handler):
    """Stands for a record inside itself, while that is still being made; counts how deep it goes."""

    def __init__(self, target: RecordHandler, name: str) -> None:
        self.name = name
        self.reads = (dict,)
        self.target = target

        def encode(value: Any, run: Run) -> Any:
            run.enter()
            result = target.encode(value, run)
            run.depth -= 1
            return result

        def decode(value: Any, run: Run) -> Any:
            run.enter()
            result = target.decode(value, run)
            run.depth -= 1
            return result

        self.encode = encode
        self.decode = decode

    def schema(self, definitions: Definitions) -> dict[str, Any]:
        return self.target.schema(definitions)
