"""A bounded pipe with one producer and one consumer, each on the event loop or in a thread of its own.

    producer                          consumer
    put / aput(item, weight)   --->   take / atake -> all that wait, [] at the end
    finish(error=None)                close(): nobody reads any more

What waits is bounded by weight (bytes): the producer is held once the limit is reached, so at most one item more than
that is here. Taking all at once is what makes a stage that has fallen behind merge instead of queueing.
"""

import asyncio
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class PipeClosed(Exception):
    """To the producer: nobody reads any more."""


class Pipe(Generic[T]):
    """Made on the loop that its asynchronous end runs on.

    :param limit: bytes that may wait.
    :param on_taken: on the loop, with the weight of what the consumer took.
    """

    def __init__(self, limit: int, on_taken: Callable[[int], None] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self.limit = limit
        self._on_taken = on_taken
        self._items: list[T] = []
        self._weight = 0
        self._changed = threading.Condition()
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None
        self._finished = False
        self._error: BaseException | None = None
        self._closed = False

    @property
    def is_full(self) -> bool:
        return self._weight >= self.limit

    @property
    def is_finished(self) -> bool:
        """The producer has said that nothing more comes."""
        return self._finished

    def put(self, item: T, weight: int) -> None:
        """In a thread. :raises PipeClosed: if nobody reads any more."""
        with self._changed:
            while self._weight >= self.limit and not self._closed:
                self._changed.wait()
            self._add(item, weight)

    async def aput(self, item: T, weight: int) -> None:
        """On the loop. :raises PipeClosed: if nobody reads any more."""
        while True:
            with self._changed:
                if self._weight < self.limit or self._closed:
                    self._add(item, weight)
                    return
                self._writer = waiter = self._loop.create_future()
            await waiter

    def finish(self, error: BaseException | None = None) -> None:
        """Nothing more comes; the consumer gets what waits, then ``error`` or the end. Only the first call counts."""
        with self._changed:
            if not self._finished:
                self._finished = True
                self._error = error
                self._wake_reader()

    def take(self) -> list[T]:
        """In a thread: all that waits, at least one item; ``[]`` at the end.

        :raises: what the producer finished with
        """
        with self._changed:
            while not self._items and not self._finished and not self._closed:
                self._changed.wait()
            return self._taken()

    async def atake(self) -> list[T]:
        """:meth:`take`, on the loop."""
        while True:
            with self._changed:
                if self._items or self._finished or self._closed:
                    return self._taken()
                self._reader = waiter = self._loop.create_future()
            await waiter

    async def ready(self) -> None:
        """On the loop, until there is something to take. :raises: what the producer finished with, if it is that."""
        while True:
            with self._changed:
                if self._items or self._finished or self._closed:
                    break
                self._reader = waiter = self._loop.create_future()
            await waiter
        self.raise_if_failed()

    def raise_if_failed(self) -> None:
        """:raises: what the producer finished with, if nothing waits before it"""
        if self._error is not None and not self._items:
            raise self._error

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._items = []
            self._weight = 0
            self._error = None  # its traceback may hold the consumer's frame
            self._wake_reader()
            self._wake_writer()

    def _add(self, item: T, weight: int) -> None:
        if self._closed:
            raise PipeClosed
        self._items.append(item)
        self._weight += weight
        self._wake_reader()

    def _taken(self) -> list[T]:
        items, weight = self._items, self._weight
        if not items:
            if self._error is not None:
                raise self._error
            return items
        self._items = []
        self._weight = 0
        self._wake_writer()
        if self._on_taken is not None and weight:
            self._on_loop(lambda: self._on_taken(weight) if self._on_taken else None)
        return items

    def _wake_reader(self) -> None:
        self._changed.notify_all()
        waiter, self._reader = self._reader, None
        if waiter is not None:
            self._on_loop(lambda: _wake(waiter))

    def _wake_writer(self) -> None:
        self._changed.notify_all()
        waiter, self._writer = self._writer, None
        if waiter is not None:
            self._on_loop(lambda: _wake(waiter))

    def _on_loop(self, callback: Callable[[], None]) -> None:
        if threading.get_ident() == self._loop_thread:
            self._loop.call_soon(callback)
            return
        try:
            self._loop.call_soon_threadsafe(callback)
        except RuntimeError:  # the loop has closed: nobody is left to be told
            self._closed = True


def _wake(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)
