"""Events that wait for the program to read them, bounded: past the bound the oldest audio leaves first."""

import asyncio
from collections import deque

from greenroom.client.received import Received
from greenroom.errors import GreenroomError, TooSlow
from greenroom.protocol.events import AudioChunk, AudioDropped

LIMIT_BYTES = 64 * 1024 * 1024
_EVENT_BYTES = 400


def _size(received: Received) -> int:
    return _EVENT_BYTES + len(received.text) + len(received.audio)


class Mailbox:
    """One writer, one reader, one event loop."""

    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        self._limit = limit_bytes
        self._waiting: deque[Received] = deque()
        self._bytes = 0
        self._arrived = asyncio.Event()
        self._closed = False
        self._error: GreenroomError | None = None

    @property
    def closed(self) -> bool:
        return self._closed

    def put(self, received: Received) -> None:
        """Nothing happens once it is closed."""
        if self._closed:
            return
        self._waiting.append(received)
        self._bytes += _size(received)
        if self._bytes > self._limit:
            self._drop_audio()
        if self._bytes > self._limit:
            self._waiting.clear()
            self.close(TooSlow("events came faster than this program read them"))
        self._arrived.set()

    def close(self, error: GreenroomError | None = None) -> None:
        """What waits can still be read; then ``error`` is raised, or the end is reached. The first call counts."""
        if not self._closed:
            self._closed, self._error = True, error
        self._arrived.set()

    async def get(self) -> Received:
        """:raises StopAsyncIteration: at the end. :raises GreenroomError: what it was closed with."""
        while not self._waiting:
            if self._closed:
                if self._error is not None:
                    raise self._error
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        received = self._waiting.popleft()
        self._bytes -= _size(received)
        return received

    def drain(self) -> list[Received]:
        """Everything that waits, at once."""
        taken, self._waiting, self._bytes = list(self._waiting), deque(), 0
        return taken

    def _drop_audio(self) -> None:
        kept: deque[Received] = deque()
        target = self._limit * 3 // 4
        for received in self._waiting:
            if self._bytes <= target or not isinstance(received.event, AudioChunk):
                kept.append(received)
                continue
            self._bytes -= _size(received)
            seq = received.seq or 0
            last = kept[-1].event if kept else None
            if isinstance(last, AudioDropped) and last.to_seq == seq - 1:
                kept[-1] = Received(AudioDropped(from_seq=last.from_seq, to_seq=seq), received.session)
            else:
                kept.append(Received(AudioDropped(from_seq=seq, to_seq=seq), received.session))
                self._bytes += _EVENT_BYTES
        self._waiting = kept
