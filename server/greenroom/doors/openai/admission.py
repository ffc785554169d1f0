"""How many requests a role's backends work on at once through this door."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from greenroom.errors import Busy
from greenroom.values import Role


class Admission:
    """:param limit: says how many of each role may be at work; asked every time, since it may be configured anew."""

    def __init__(self, limit: Callable[[], int]) -> None:
        self._limit = limit
        self._at_work: dict[Role, int] = {}

    @contextmanager
    def place(self, role: Role) -> Iterator[None]:
        """:raises Busy: all places are taken."""
        taken = self._at_work.get(role, 0)
        if taken >= self._limit():
            raise Busy(f"{taken} requests of this kind are being answered, as many as may be; try again in a moment")
        self._at_work[role] = taken + 1
        try:
            yield
        finally:
            self._at_work[role] -= 1
