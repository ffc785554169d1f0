"""Stacking filters: the output of each is the input of the next, and closing the stack closes every one of them.

source -> filter 1 -> filter 2 -> ... -> consumer
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypeVar

from greenroom.errors import BindingFailed

T = TypeVar("T")


async def one(item: T) -> AsyncGenerator[T, None]:
    """A stream of one item."""
    yield item


@asynccontextmanager
async def stacked(
    source: AsyncIterator[T], filters: Sequence[Callable[[AsyncIterator[T]], AsyncIterator[T]]]
) -> AsyncGenerator[AsyncIterator[T], None]:
    """The stream behind the last filter; on leaving, generators are closed from the last to the source."""
    async with AsyncExitStack() as stack:
        stream = source
        for generator in (source, *filters):
            if callable(generator):
                stream = generator(stream)
            aclose = getattr(stream, "aclose", None)
            if aclose is not None:
                stack.push_async_callback(aclose)
        yield stream


def closable(stream: AsyncIterator[T]) -> AsyncGenerator[T, None]:
    """What a binding returned, as a generator that can be closed: nearly always it is one already."""
    if isinstance(stream, AsyncGenerator):
        return stream

    async def wrapped() -> AsyncGenerator[T, None]:
        async for item in stream:
            yield item

    return wrapped()


async def unstalled(stream: AsyncGenerator[T, None], stall_s: float, what: str) -> AsyncGenerator[T, None]:
    """The same items; :raises BindingFailed: when none comes for ``stall_s`` seconds."""
    watch = _Watch(stall_s)
    expired = False
    try:
        while True:
            watch.begin()
            try:
                item = await anext(stream, None)
            finally:
                expired = watch.end()
            if item is None:
                return
            yield item
    except asyncio.CancelledError:
        if expired:
            raise BindingFailed(f"{what} sent nothing for {stall_s:g} s", retryable=True) from None
        raise
    finally:
        watch.close()


class _Watch:
    """``asyncio.timeout`` for a wait that comes again and again: one timer for all, set anew only when it runs out."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[object] | None = None
        """who waits; ``None`` while nobody does"""
        self._since = 0.0
        self._cancelling = 0
        self._fired = False

    def begin(self) -> None:
        self._task = task = asyncio.current_task()
        self._cancelling = task.cancelling() if task is not None else 0
        self._since = self._loop.time()
        if self._timer is None:
            self._timer = self._loop.call_later(self._limit_s, self._due)

    def end(self) -> bool:
        """Whether the time ran out, and nobody else cancelled the wait."""
        task, self._task = self._task, None
        if not self._fired or task is None:
            return False
        self._fired = False
        return task.uncancel() <= self._cancelling

    def close(self) -> None:
        self._task = None
        if self._timer is not None:
            self._timer.cancel()

    def _due(self) -> None:
        self._timer = None
        if self._task is None:  # the next wait sets another
            return
        left = self._since + self._limit_s - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(left, self._due)
        else:
            self._fired = True
            self._task.cancel()
