"""What goes wrong while a value is read or written, with the place where it did.

    WrongType   a TypeError: the value is of another type, or the declared type has no JSON form
    WrongValue  a ValueError: the type fits, the value does not

The text reads ``<problem> at <path><what was found>``: ``Expected int at ev.items.0, got <class 'str'>``. The path
grows from the inside out while the exception passes the containers, so that a success pays nothing for it.
"""

from collections.abc import Iterable, Sized
from typing import Any, Protocol

PATH_SHOWN = 12
TEXT_SHOWN = 80


class AtPath(Exception):
    def __init__(self, problem: str, found: str = "") -> None:
        super().__init__(problem, found)
        self.problem = problem
        self.found = found
        self._names: list[str] = []

    def inside(self, *names: object) -> None:
        """The place so far lies inside ``names``, the outermost first."""
        self._names.extend(str(name) for name in reversed(names))

    @property
    def path(self) -> tuple[str, ...]:
        """From the outside in."""
        return tuple(reversed(self._names))

    def __str__(self) -> str:
        path = self.path
        if len(path) > PATH_SHOWN:
            path = (*path[:PATH_SHOWN], "...")
        return f"{self.problem} at {'.'.join(path)}{self.found}"


class WrongType(AtPath, TypeError):
    pass


class WrongValue(AtPath, ValueError):
    pass


def shown(value: object) -> str:
    """A short text of a value that may come from a stranger."""
    if not isinstance(value, str | int | float | bool | None):
        return str(type(value))
    if isinstance(value, int) and value.bit_length() > 4 * TEXT_SHOWN:
        return "a very large number"
    text = repr(value[: TEXT_SHOWN + 1] if isinstance(value, str) else value)
    return text if len(text) <= TEXT_SHOWN else text[:TEXT_SHOWN] + "..."


def expected(what: str, value: object) -> WrongType:
    return WrongType(f"Expected {what}", f", got {type(value)}")


def unexpected(what: str, value: object) -> WrongValue:
    return WrongValue(f"Expected {what}", f", got {shown(value)}")


class Hinting(Protocol):
    def __length_hint__(self) -> int: ...


def index_of(items: Sized, rest: Hinting) -> int:
    """Which item of a list, tuple or dict an iterator gave out last, told by what it has left."""
    return len(items) - rest.__length_hint__() - 1


def key_at(mapping: Iterable[Any], index: int) -> object:
    return next(key for position, key in enumerate(mapping) if position == index)
