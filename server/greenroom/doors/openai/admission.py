"""How many requests a role's backends work on at once through this door; a few more wait in line for a moment."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from greenroom.errors import Busy
from greenroom.values import Role

MAX_WAITING = 64
"""for one role"""
PATIENCE_S = 5.0
"""A burst of short requests is served without one being refused; behind long ones the client hears soon that it must
wait, and decides for itself."""


@dataclass(slots=True)
class _Role:
    at_work: int = 0
    line: deque[asyncio.Future[None]] = field(default_factory=deque)


class Admission:
    """:param limit: says how many of each role may be at work; asked every time, since it may be configured anew."""

    def __init__(self, limit: Callable[[], int]) -> None:
        self._limit = limit
        self._roles: dict[Role, _Role] = {}

    @asynccontextmanager
    async def place(self, role: Role) -> AsyncGenerator[None, None]:
        """:raises Busy: all places are taken, and none has become free in time."""
        mine = self._roles.setdefault(role, _Role())
        await self._enter(mine)
        try:
            yield
        finally:
            self._leave(mine)

    async def _enter(self, mine: _Role) -> None:
        if not mine.line and mine.at_work < self._limit():
            mine.at_work += 1
            return
        if len(mine.line) >= MAX_WAITING:
            raise _busy(mine)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        mine.line.append(turn)
        try:
            await asyncio.wait({turn}, timeout=PATIENCE_S)
        except asyncio.CancelledError:
            if turn.done():
                self._leave(mine)
            else:
                mine.line.remove(turn)
            raise
        if not turn.done():
            mine.line.remove(turn)
            raise _busy(mine)

    def _leave(self, mine: _Role) -> None:
        """Its place goes to whoever has waited longest."""
        mine.at_work -= 1
        while mine.line and mine.at_work < self._limit():
            mine.at_work += 1
            mine.line.popleft().set_result(None)


def _busy(mine: _Role) -> Busy:
    return Busy(f"{mine.at_work} requests of this kind are being answered, as many as may be; try again in a moment")
