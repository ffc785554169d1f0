"""A bounded, closable channel between two stages of a turn, both on the event loop.

Every ``async for`` step takes one item; :meth:`Channel.take` takes all that wait, which is how a stage that has fallen
behind merges instead of queueing.
"""

import asyncio
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Closed(Exception):
    """Sending into a closed channel."""


class Channel(Generic[T]):
    """:param limit: how many items may wait before ``send`` does; 0 = the sender is bounded by other means."""

    def __init__(self, limit: int = 0) -> None:
        self._limit = limit
        self._items: deque[T] = deque()
        self._closed = False
        self._receiver: asyncio.Future[None] | None = None
        self._senders: deque[asyncio.Future[None]] = deque()

    def __len__(self) -> int:
        return len(self._items)

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def ended(self) -> bool:
        """Closed, and nothing is left in it."""
        return self._closed and not self._items

    async def send(self, item: T) -> None:
        """:raises Closed: when the channel was closed."""
        while self._limit and len(self._items) >= self._limit and not self._closed:
            waiter = asyncio.get_running_loop().create_future()
            self._senders.append(waiter)
            try:
                await waiter
            finally:
                if waiter in self._senders:
                    self._senders.remove(waiter)
        self.send_nowait(item)

    def send_nowait(self, item: T) -> None:
        """For senders that are bounded by other means. :raises Closed: when the channel was closed."""
        if self._closed:
            raise Closed
        self._items.append(item)
        self._wake_receiver()

    def close(self) -> None:
        """No more items; those that wait are still received."""
        self._closed = True
        self._wake_receiver()
        self._wake_senders()

    async def take(self) -> list[T]:
        """Everything that waits, at least one item; ``[]`` once the channel is closed and empty."""
        while not self._items:
            if self._closed:
                return []
            self._receiver = asyncio.get_running_loop().create_future()
            try:
                await self._receiver
            finally:
                self._receiver = None
        items = list(self._items)
        self._items.clear()
        self._wake_senders()
        return items

    def __aiter__(self) -> "Channel[T]":
        return self

    async def __anext__(self) -> T:
        while not self._items:
            if self._closed:
                raise StopAsyncIteration
            self._receiver = asyncio.get_running_loop().create_future()
            try:
                await self._receiver
            finally:
                self._receiver = None
        item = self._items.popleft()
        self._wake_senders()
        return item

    def _wake_receiver(self) -> None:
        if self._receiver is not None and not self._receiver.done():
            self._receiver.set_result(None)

    def _wake_senders(self) -> None:
        while self._senders:
            waiter = self._senders.popleft()
            if not waiter.done():
                waiter.set_result(None)
                if not self._closed:
                    return
