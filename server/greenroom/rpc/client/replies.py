"""A stream that a call returned: an ordinary generator to draw from, whose connection ends with it, however it ends."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Stream(Generator[T, None, None]):
    """:param close: lets go of the connection; may be called from any thread, and more than once."""

    def __init__(self, items: Iterator[T], close: Callable[[], object]) -> None:
        self._items = items
        self._let_go = close
        self._ended = False

    def send(self, _: None) -> T:
        if self._ended:
            raise StopIteration
        try:
            return next(self._items)
        except BaseException:
            self.close()
            raise

    def throw(
        self,
        typ: type[BaseException] | BaseException,
        val: BaseException | object = None,
        tb: TracebackType | None = None,
    ) -> T:
        self.close()
        error = typ() if isinstance(typ, type) else typ
        raise error.with_traceback(tb)

    def close(self) -> None:
        self._ended = True
        self._let_go()

    def __enter__(self) -> "Stream[T]":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()


class AsyncStream(AsyncGenerator[T, None]):
    """:param opening: makes the call; awaited before the first item, unless :meth:`opened` was before."""

    def __init__(self, opening: Callable[[], Awaitable["Source[T]"]]) -> None:
        self._opening = opening
        self._source: Source[T] | None = None
        self._ended = False

    async def opened(self) -> "AsyncStream[T]":
        """Makes the call now. :raises: what it raises"""
        if self._source is None:
            self._source = await self._opening()
        return self

    def __aiter__(self) -> "AsyncStream[T]":
        return self

    async def asend(self, _: None) -> T:
        if self._ended:
            raise StopAsyncIteration
        try:
            source = self._source
            if source is None:
                self._source = source = await self._opening()
            return await anext(source.items)
        except BaseException:
            await self.aclose()
            raise

    async def __anext__(self) -> T:
        return await self.asend(None)

    async def athrow(
        self,
        typ: type[BaseException] | BaseException,
        val: BaseException | object = None,
        tb: TracebackType | None = None,
    ) -> T:
        await self.aclose()
        error = typ() if isinstance(typ, type) else typ
        raise error.with_traceback(tb)

    async def aclose(self) -> None:
        self._ended = True
        source, self._source = self._source, None
        if source is not None:
            await source.close()

    async def __aenter__(self) -> "AsyncStream[T]":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __del__(self) -> None:
        source = getattr(self, "_source", None)
        if source is not None:
            source.abandon()


@dataclass(frozen=True, slots=True)
class Source(Generic[T]):
    """What an :class:`AsyncStream` draws from.

    :param abandon: lets go of the connection at once, from wherever the stream is dropped.
    """

    items: AsyncIterator[T]
    close: Callable[[], Awaitable[Any]]
    abandon: Callable[[], object]


def schedule(loop: asyncio.AbstractEventLoop, callback: Callable[[], object]) -> None:
    """On the loop, from any thread; nothing where the loop has closed already."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(callback)
