"""What one call of a serializer is given from outside, and what it keeps while it runs."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from greenroom.rpc.serialization.failures import WrongValue
from greenroom.rpc.serialization.names import known_names, look_up, registered

if TYPE_CHECKING:
    from greenroom.rpc.serialization.handler import RecordHandler

MAX_DEPTH = 128
"""How far values may nest: a cycle ends here, and so does what a stranger nests to exhaust the stack."""


@dataclass
class SerializationContext:
    """Where the value stands (the start of every path in an error) and which types it may name.

    ``known``: further classes that a value declared ``Any``, ``object`` or ``type`` may name by their full name, each
    with its subclasses, beside those that a declaration mentions. A value declared as a class may name the subclasses
    of that class without this.
    ``allow_base64``: of no effect. A pickle is never read and never written.
    """

    path: tuple[str, ...] = ()
    known: tuple[type, ...] = ()
    max_depth: int = MAX_DEPTH
    allow_base64: bool = False

    @property
    def current_path(self) -> str:
        """Dotted, as errors show it."""
        return ".".join(self.path)

    @contextmanager
    def subpath(self, name: object) -> "Iterator[SerializationContext]":
        """This context, one step further inside while the block runs."""
        outer = self.path
        self.path = (*outer, str(name))
        try:
            yield self
        finally:
            self.path = outer

    def at(self, *names: object) -> "SerializationContext":
        return SerializationContext((*self.path, *map(str, names)), self.known, self.max_depth)

    def __str__(self) -> str:
        return self.current_path


NO_CONTEXT = SerializationContext()


@dataclass(slots=True)
class Run:
    """One reading or writing: depth, known types, and what unions have tried already."""

    record_of: Callable[[type], "RecordHandler"]
    """the handler of a class met while running"""
    known: tuple[type, ...] = ()
    max_depth: int = MAX_DEPTH
    depth: int = 0
    tried: dict[tuple[int, int], Any] | None = None
    names: dict[str, type] | None = None
    """what may be named where nothing is declared, once that was asked"""

    def find(self, name: str) -> type:
        """The class that a value of no declared type names. :raises WrongValue: if it is not known"""
        if not self.known and (found := registered(name)) is not None:
            return found
        if self.names is None:
            self.names = known_names(self.known)
        return look_up(name, self.names)

    def enter(self) -> None:
        """Paired with ``depth -= 1``, except where an exception ends the run or is caught by a union.

        :raises WrongValue: past the limit
        """
        self.depth += 1
        if self.depth > self.max_depth:
            raise WrongValue(f"Nested deeper than {self.max_depth} levels, or in a cycle")


Encode = Callable[[Any, Run], Any]
Decode = Callable[[Any, Run], Any]


@dataclass
class Definitions:
    """The ``$defs`` of a schema while it is made. ``required``: list the fields that have no default."""

    required: bool = False
    found: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def refer(self, name: str, describe: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        if name not in self.found:
            self.found[name] = {}
            self.found[name] = describe()
        return {"$ref": f"#/$defs/{name}"}
