"""What flows through a pipe: items out of whatever yields them, encoded; and back into an iterator, decoded.

Both ends of a call use it: the server for a method's result, the client for what it uploads, each from coroutines or
from threads.
"""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Iterable, Iterator
from typing import Any, Final, Generic, TypeVar

from greenroom.rpc.pipe import Pipe, PipeClosed
from greenroom.rpc.workers import Workers

T = TypeVar("T")

ITEM_WEIGHT: Final = 64
"""what an item costs beside its bytes, so that empty ones are bounded, too"""
BREATH_ITEMS: Final = 128
"""after so many items without waiting a generator lets the others have the loop"""

Encode = Callable[[Any], bytes]


async def feed(source: Any, encode: Encode, pipe: Pipe[bytes], workers: Workers) -> None:
    """Everything that ``source`` yields, into the pipe; returns at its end or when nobody reads any more.

    :param source: an asynchronous iterable or a list, drawn here; any other iterable may block, and a thread draws it.
    :raises: what the source raises
    """
    if isinstance(source, AsyncIterable):
        await feed_async(source, encode, pipe)
    elif isinstance(source, (list, tuple)):
        await feed_async(_each(source), encode, pipe)
    else:
        await workers.run(lambda: feed_here(source, encode, pipe))


async def feed_async(source: AsyncIterable[Any], encode: Encode, pipe: Pipe[bytes]) -> None:
    """:func:`feed`; cancelled, the source is cancelled and closed."""
    items = aiter(source)
    try:
        count = 0
        async for item in items:
            data = encode(item)
            await pipe.aput(data, len(data) + ITEM_WEIGHT)
            count += 1
            if count % BREATH_ITEMS == 0:
                await asyncio.sleep(0)
    except PipeClosed:
        pass
    finally:
        close = getattr(items, "aclose", None)
        if close is not None:
            await close()


def feed_here(source: Iterable[Any], encode: Encode, pipe: Pipe[bytes]) -> None:
    """:func:`feed`, in the calling thread. Once nobody reads, the source is closed at its next item."""
    items = iter(source)
    try:
        for item in items:
            data = encode(item)
            pipe.put(data, len(data) + ITEM_WEIGHT)
    except PipeClosed:
        pass
    finally:
        close = getattr(items, "close", None)
        if close is not None:
            close()


class Arrivals(Generic[T]):
    """The items of a pipe whose entries are lists of raw items.

    :param begun: called once, when somebody asks for the first item.
    """

    def __init__(
        self, pipe: Pipe[list[Any]], decode: Callable[[Any], T], begun: Callable[[], None] | None = None
    ) -> None:
        self.pipe = pipe
        self._decode = decode
        self._begun = begun

    def here(self) -> Iterator[T]:
        """For a thread."""
        self._begin()
        decode = self._decode
        while groups := self.pipe.take():
            for group in groups:
                for raw in group:
                    yield decode(raw)

    def on_loop(self) -> "AsyncArrivals[T]":
        return AsyncArrivals(self.pipe, self._decode, self._begin)

    def _begin(self) -> None:
        begun, self._begun = self._begun, None
        if begun is not None:
            begun()


class AsyncArrivals(AsyncIterator[T]):
    """An iterator, not a generator: abandoned, it leaves nothing that the loop would have to close."""

    def __init__(self, pipe: Pipe[list[Any]], decode: Callable[[Any], T], begun: Callable[[], None]) -> None:
        self._pipe = pipe
        self._decode = decode
        self._begun = begun
        self._ready: Iterator[Any] = iter(())

    def __aiter__(self) -> "AsyncArrivals[T]":
        return self

    async def __anext__(self) -> T:
        for raw in self._ready:
            return self._decode(raw)
        self._begun()
        groups = await self._pipe.atake()
        if not groups:
            raise StopAsyncIteration
        self._ready = iter(groups[0] if len(groups) == 1 else [raw for group in groups for raw in group])
        return await self.__anext__()


class Gone(Exception):
    """The other side has left."""


async def while_connected(work: Coroutine[Any, Any, T], *beside: Coroutine[Any, Any, None]) -> T:
    """The result of ``work``, cancelled as soon as one of the others is over.

    :raises Gone: if it was
    """
    task = asyncio.create_task(work)
    others = [asyncio.create_task(one) for one in beside]
    try:
        await asyncio.wait({task, *others}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        for other in others:
            if other.done():
                other.result()
        raise Gone
    finally:
        await stop(task, *others)


async def stop(*tasks: "asyncio.Task[Any]") -> None:
    """Cancel and await. What they raise on the way out is nobody's business any more."""
    for task in tasks:
        task.cancel()
    for task in tasks:
        if not task.done():
            await asyncio.wait({task})
        if not task.cancelled():
            task.exception()


async def _each(items: Iterable[T]) -> AsyncIterator[T]:
    for item in items:
        yield item
