"""What one client sends: frames put together to packets, and a bounded inbox."""

import asyncio
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from greenroom.doors.socketio.wire import BINARY_ACK, BINARY_EVENT, MAX_FRAME_BYTES, Header, check_size, read_header
from greenroom.errors import BadRequest, GreenroomError, TooLarge


@dataclass(slots=True)
class Arrived:
    """A packet with its attachments. ``error`` set: it was refused while it came in; who sent it is to be told."""

    header: Header
    attachments: list[bytes] = field(default_factory=list)
    error: GreenroomError | None = None

    @property
    def size(self) -> int:
        return len(self.header.body) + sum(map(len, self.attachments))


class Assembler:
    """Frames --> packets. Binary frames that no packet announced are passed over."""

    def __init__(self) -> None:
        self._partial: Arrived | None = None
        self.held_bytes = 0

    def feed(self, frame: str | bytes) -> Iterator[Arrived]:
        """:raises Malformed: the frame is no Socket.IO packet."""
        if isinstance(frame, bytes):
            yield from self._attachment(frame)
            return
        if self._partial is not None:
            yield from self.give_up(BadRequest("another packet came where an attachment was announced"))
        header = read_header(frame)
        arrived = Arrived(header)
        try:
            check_size(header)
        except TooLarge as error:
            arrived.error = error
        if arrived.error is None and header.kind in (BINARY_EVENT, BINARY_ACK) and header.attachments:
            self._partial = arrived
            self.held_bytes = arrived.size
        else:
            yield arrived

    def _attachment(self, frame: bytes) -> Iterator[Arrived]:
        partial = self._partial
        if partial is None:
            return
        self.held_bytes += len(frame)
        if self.held_bytes > MAX_FRAME_BYTES:
            yield from self.give_up(TooLarge(f"an event and its attachments may have {MAX_FRAME_BYTES} bytes together"))
            return
        partial.attachments.append(frame)
        if len(partial.attachments) == partial.header.attachments:
            self._partial = None
            self.held_bytes = 0
            yield partial

    def give_up(self, error: GreenroomError) -> Iterator[Arrived]:
        """Drop the packet that has begun, if one has; what more comes of it is passed over."""
        partial, self._partial, self.held_bytes = self._partial, None, 0
        if partial is not None:
            yield Arrived(partial.header, error=error)


@dataclass(slots=True)
class Message:
    """An event, parsed, to be dispatched."""

    event: str
    arguments: list[Any]
    ack_id: int | None
    size: int


class Inbox:
    """At most ``limit`` events and ``limit_bytes`` bytes wait; one that is larger than that waits alone."""

    def __init__(self, limit: int, limit_bytes: int) -> None:
        self._limit = limit
        self._limit_bytes = limit_bytes
        self._waiting: deque[Message] = deque()
        self._arrived = asyncio.Event()
        self._closed = False
        self.held_bytes = 0

    def put(self, message: Message) -> bool:
        """Whether there was room."""
        full = len(self._waiting) >= self._limit or self.held_bytes + message.size > self._limit_bytes
        if self._closed or (full and self._waiting):
            return False
        self._waiting.append(message)
        self.held_bytes += message.size
        self._arrived.set()
        return True

    async def get(self) -> Message | None:
        """The next one; ``None`` when it is closed and empty."""
        while not self._waiting:
            if self._closed:
                return None
            self._arrived.clear()
            await self._arrived.wait()
        message = self._waiting.popleft()
        self.held_bytes -= message.size
        return message

    def close(self) -> None:
        """What waits is still given out."""
        self._closed = True
        self._arrived.set()
