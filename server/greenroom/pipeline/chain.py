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
    while True:
        try:
            async with asyncio.timeout(stall_s):
                item = await anext(stream, None)
        except TimeoutError:
            raise BindingFailed(f"{what} sent nothing for {stall_s:g} s", retryable=True) from None
        if item is None:
            return
        yield item
