"""Items to messages and back: what is ready in the same turn of the event loop leaves together.

items   Hel  lo  .  <pcm>          messages   [Hel, lo, .]  <pcm>
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Final

from greenroom.bindings.isolation import codec
from greenroom.errors import BindingFailed
from greenroom.rpc.failures import UploadCut
from greenroom.rpc.streams import stop
from greenroom.values import Audio

BATCH_ITEMS: Final = 256
BATCH_CHARACTERS: Final = 16 * 1024
READY_MESSAGES: Final = 4
"""that may wait to be taken: one at a time would cost two turns of the loop each"""
MERGE_S: Final = 0.0003
MERGE_TURNS: Final = 8
"""turns of the loop that an item waits for company when another left just before it: microseconds in an idle loop"""


async def packed(items: AsyncIterator[codec.Item], *, owned: bool) -> AsyncGenerator[bytes, None]:
    """Messages for what an iterator gives, drawn in a task of its own, a few messages ahead.

    :param owned: close the iterator at the end.
    :raises: what the iterator raises, after what it gave. BindingFailed: it was cancelled, and not by its consumer.
    """
    parcel = _Parcel()
    pumping = asyncio.create_task(_pump(items, parcel, owned), name="pack items")
    pumping.add_done_callback(lambda _: parcel.end())
    try:
        while (message := await parcel.take()) is not None:
            yield message
        if pumping.cancelled():
            raise BindingFailed("the binding cancelled its own work")
        pumping.result()
    finally:
        await stop(pumping)


async def unpacked(messages: AsyncIterator[bytes]) -> AsyncGenerator[codec.Item, None]:
    """The items of an upload. Cut off, it does not end: whoever reads it is being cancelled."""
    unpacker = codec.Unpacker()
    try:
        async for message in messages:
            for item in unpacker.feed(message):
                yield item
    except UploadCut:
        await asyncio.get_running_loop().create_future()


class _Parcel:
    """What waits to leave: one writer, one reader."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ready: deque[bytes] = deque()
        self._rows: list[codec.Row] = []
        self._characters = 0
        self._left_at = -1.0
        self._ended = False
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None

    async def put(self, item: codec.Item) -> None:
        """Waits while messages are there that nobody has taken. :raises TypeError: for what no stream carries."""
        if isinstance(item, Audio):
            self._gather()
            self._ready.append(codec.audio_message(item))
        else:
            row = codec.pack(item)
            self._rows.append(row)
            self._characters += len(row[1])
            if len(self._rows) >= BATCH_ITEMS or self._characters >= BATCH_CHARACTERS:
                self._gather()
        _wake(self._reader)
        while len(self._ready) >= READY_MESSAGES:
            self._writer = self._loop.create_future()
            await self._writer

    def end(self) -> None:
        self._ended = True
        _wake(self._reader)

    async def take(self) -> bytes | None:
        """The next message; ``None`` once no more will come."""
        while True:
            if self._ready:
                message = self._ready.popleft()
                _wake(self._writer)
                return message
            if self._rows:
                if self._loop.time() - self._left_at < MERGE_S:
                    await self._company()
                self._gather()
            elif self._ended:
                return None
            else:
                self._reader = self._loop.create_future()
                await self._reader

    async def _company(self) -> None:
        for _ in range(MERGE_TURNS):
            if self._ready or self._ended:
                return
            await asyncio.sleep(0)

    def _gather(self) -> None:
        if self._rows:
            rows, self._rows, self._characters = self._rows, [], 0
            self._ready.append(codec.items_message(rows))
            self._left_at = self._loop.time()


async def _pump(items: AsyncIterator[codec.Item], parcel: _Parcel, owned: bool) -> None:
    if owned and isinstance(items, AsyncGenerator):
        async with aclosing(items):
            async for item in items:
                await parcel.put(item)
    else:
        async for item in items:
            await parcel.put(item)


def _wake(waiter: "asyncio.Future[None] | None") -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
