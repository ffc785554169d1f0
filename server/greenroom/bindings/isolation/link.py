"""A connection that carries frames both ways: four bytes of length, one of kind, a payload.

    parent  CALL  [items ...] INPUT_END             -->
            <--  [items ... ACK ...]  END | VALUE | ARRAY | ERROR
                                        then the next CALL

Small items that are ready in the same turn of the event loop leave as one frame. What the parent sends is bounded by a
window that the child acknowledges, so that the child always reads and hears at once when the connection closes; what
the child sends is bounded by the parent's not reading.
"""

import asyncio
import struct
from collections import deque
from collections.abc import Callable
from enum import IntEnum
from typing import Any, Final, cast

from greenroom.bindings.isolation import codec
from greenroom.values import Audio

KIB: Final = 1024
BUFFER_BYTES: Final = 256 * KIB
ROOM_BYTES: Final = 16 * KIB
"""the least that one read should have place for"""
INBOX_BYTES: Final = 512 * KIB
"""what may wait for a reader before the connection is read no further"""
OUTBOX_BYTES: Final = 256 * KIB
WINDOW_BYTES: Final = 512 * KIB
"""what the parent may have sent without the child's having taken it"""
BATCH_ITEMS: Final = 256
BATCH_CHARACTERS: Final = 16 * KIB
MERGE_S: Final = 0.0003
MERGE_TURNS: Final = 8
"""turns of the loop that an item waits for company when another left just before it: microseconds in an idle loop"""
JOIN_BYTES: Final = 16 * KIB
"""a shorter payload is copied behind its head: cheaper than a second system call"""
MAX_FRAME_BYTES: Final = 1 << 30
MAX_HEAD_BYTES: Final = 8 * KIB
_HEAD: Final = struct.Struct("!IB")
_COUNT: Final = struct.Struct("!I")


class Kind(IntEnum):
    CALL = 1
    ITEMS = 2
    AUDIO = 3
    ARRAY = 4
    VALUE = 5
    INPUT_END = 6
    END = 7
    ERROR = 8
    ACK = 9


_DECODE: Final[dict[int, Callable[[memoryview], Any]]] = {
    Kind.CALL: codec.decode_json,
    Kind.ITEMS: codec.decode_items,
    Kind.AUDIO: lambda data: [codec.decode_audio(data)],
    Kind.ARRAY: codec.decode_array,
    Kind.VALUE: codec.decode_json,
    Kind.INPUT_END: lambda data: None,
    Kind.END: lambda data: None,
    Kind.ERROR: codec.decode_error,
}


class Link(asyncio.BufferedProtocol):
    """One reader and one writer at a time. ``on_open`` is called with a link that has just been accepted.

    ``always_reads`` is the child's side: it is never paused and acknowledges what was taken.
    """

    def __init__(self, on_open: "Callable[[Link], None] | None" = None, *, always_reads: bool = False) -> None:
        self._on_open = on_open
        self._always_reads = always_reads
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray(BUFFER_BYTES)
        self._start = self._end = 0
        self._head: asyncio.Future[bytes] = self._loop.create_future()
        self._in_head = True
        self._inbox: deque[tuple[int, Kind, Any]] = deque()
        self._queued = 0
        self._taken = 0
        self._reading_paused = False
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None
        self._write_paused = False
        self._rows: list[codec.Row] = []
        self._characters = 0
        self._flush_due = False
        self._flushed_at = -1.0
        self._turns = 0
        self._unacknowledged = 0
        self.lost = False
        self.on_lost: Callable[[], None] | None = None

    # the event loop's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=OUTBOX_BYTES)
        if self._on_open is not None:
            self._on_open(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.lost = True
        self._wake(self._reader)
        self._wake(self._writer)
        self._head.cancel()
        if self.on_lost is not None:
            self.on_lost()

    def eof_received(self) -> bool:
        return False

    def get_buffer(self, sizehint: int) -> memoryview:
        if len(self._buffer) - self._end < ROOM_BYTES:
            self._make_room()
        return memoryview(self._buffer)[self._end :]

    def buffer_updated(self, count: int) -> None:
        self._end += count
        if self._in_head and not self._read_head():
            return
        try:
            self._read_frames()
        except (ValueError, LookupError, TypeError, struct.error):  # no frame of ours: whoever it is, we do not go on
            self.abort()

    def _read_head(self) -> bool:
        """Whether the handshake's head is complete; what follows it are frames."""
        at = self._buffer.find(b"\r\n\r\n", 0, self._end)
        if at < 0:
            if self._end > MAX_HEAD_BYTES:
                self.abort()
            return False
        self._in_head = False
        if not self._head.done():
            self._head.set_result(bytes(self._buffer[:at]))
        self._start = at + 4
        return True

    def _read_frames(self) -> None:
        with memoryview(self._buffer) as view:
            while self._end - self._start >= _HEAD.size:
                length, kind = _HEAD.unpack_from(view, self._start)
                begin = self._start + _HEAD.size
                if length > MAX_FRAME_BYTES:
                    raise ValueError("a frame longer than any of ours")
                if self._end - begin < length:
                    break
                self._start = begin + length
                with view[begin : self._start] as data:
                    self._received(kind, data)
        if self._start == self._end:
            self._start = self._end = 0
            if len(self._buffer) > BUFFER_BYTES:
                self._buffer = bytearray(BUFFER_BYTES)

    def _make_room(self) -> None:
        """Move what is left to the front; a frame larger than the buffer gets a larger one."""
        waiting = self._end - self._start
        size = len(self._buffer)
        if waiting >= _HEAD.size and not self._in_head:
            length, _ = _HEAD.unpack_from(self._buffer, self._start)
            size = max(BUFFER_BYTES, length + _HEAD.size + BUFFER_BYTES // 4)
        if self._start == 0 and size <= len(self._buffer):
            return
        fresh = self._buffer if size <= len(self._buffer) else bytearray(size)
        fresh[:waiting] = self._buffer[self._start : self._end]
        self._buffer, self._start, self._end = fresh, 0, waiting

    def _received(self, kind: int, data: memoryview) -> None:
        if kind == Kind.ACK:
            self._unacknowledged -= _COUNT.unpack(data)[0]
            self._wake(self._writer)
            return
        cost = len(data) + _HEAD.size
        self._inbox.append((cost, Kind(kind), _DECODE[kind](data)))
        self._queued += cost
        self._wake(self._reader)
        if self._queued > INBOX_BYTES and not self._always_reads and not self._reading_paused:
            self._reading_paused = True
            if self._transport is not None:
                self._transport.pause_reading()

    def pause_writing(self) -> None:
        self._write_paused = True

    def resume_writing(self) -> None:
        self._write_paused = False
        self._wake(self._writer)

    @staticmethod
    def _wake(waiter: asyncio.Future[None] | None) -> None:
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # the handshake

    async def head(self) -> bytes:
        """What came before the first frame, up to an empty line. :raises ConnectionError: if it never came."""
        try:
            return await asyncio.shield(self._head)
        except asyncio.CancelledError:
            if self.lost:
                raise ConnectionError("the connection was closed during the handshake") from None
            raise

    def write_head(self, text: str) -> None:
        if self._transport is not None:
            self._transport.write(text.encode("latin-1"))

    # reading

    async def next(self) -> tuple[Kind, Any] | None:
        """The next frame, decoded; ``None`` once the other side has gone and all that it sent was taken."""
        while not self._inbox:
            if self.lost:
                return None
            self._reader = self._loop.create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        cost, kind, value = self._inbox.popleft()
        self._queued -= cost
        if self._reading_paused and self._queued <= INBOX_BYTES // 2 and self._transport is not None:
            self._reading_paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()
        if self._always_reads and kind in (Kind.ITEMS, Kind.AUDIO):
            self._taken += cost
            if self._taken >= WINDOW_BYTES // 4:
                self._acknowledge()
        return kind, value

    def _acknowledge(self) -> None:
        self.send(Kind.ACK, _COUNT.pack(self._taken))
        self._taken = 0

    # writing

    @property
    def full(self) -> bool:
        """Whether a writer should wait for :meth:`room` before it puts more."""
        return self._write_paused or (not self._always_reads and self._unacknowledged >= WINDOW_BYTES)

    async def room(self) -> None:
        """Wait until the other side has taken enough, or has gone."""
        while self.full and not self.lost:
            self._writer = self._loop.create_future()
            try:
                await self._writer
            finally:
                self._writer = None

    def put(self, item: codec.Item) -> bool:
        """Send an item, soon. -> whether the writer should let the loop run. :raises TypeError: if it has no form."""
        if isinstance(item, Audio):
            self.flush()
            self._frame(Kind.AUDIO, codec.audio_head(item), item.pcm, counted=True)
            return True
        row = codec.pack(item)
        self._rows.append(row)
        self._characters += len(row[1])
        if len(self._rows) >= BATCH_ITEMS or self._characters >= BATCH_CHARACTERS:
            self.flush()
            return True
        if not self._flush_due:
            self._flush_due = True
            self._turns = MERGE_TURNS if self._loop.time() - self._flushed_at < MERGE_S else 0
            self._loop.call_soon(self._flush_soon)
        return False

    async def put_all(self, item: codec.Item) -> None:
        """:meth:`put`, and wait where need be."""
        if self.put(item):
            await asyncio.sleep(0)
        if self.full:
            await self.room()

    def _flush_soon(self) -> None:
        if self._turns and self._rows:
            self._turns -= 1
            self._loop.call_soon(self._flush_soon)
            return
        self._flush_due = False
        self.flush()

    def flush(self) -> None:
        if not self._rows:
            return
        rows, self._rows, self._characters = self._rows, [], 0
        self._flushed_at = self._loop.time()
        self._frame(Kind.ITEMS, codec.encode_json(rows), counted=True)

    def send(self, kind: Kind, payload: bytes = b"") -> None:
        """A frame behind all items that were put before."""
        if kind is not Kind.ACK:
            self.flush()
        self._frame(kind, payload)

    def _frame(self, kind: Kind, payload: bytes, body: bytes = b"", *, counted: bool = False) -> None:
        if self._transport is None or self.lost:
            return
        length = len(payload) + len(body)
        if counted and not self._always_reads:
            self._unacknowledged += length + _HEAD.size
        head = _HEAD.pack(length, kind)
        if len(body) > JOIN_BYTES:
            self._transport.write(head + payload)
            self._transport.write(body)
        else:
            self._transport.write(head + payload + body)

    def begin(self) -> None:
        """A new call on this link: nothing of an earlier one counts."""
        self._unacknowledged = self._taken = 0

    def close(self) -> None:
        """What was sent still arrives."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """At once; what has not left is dropped. The other side hears of it in the same moment."""
        self._rows.clear()
        if self._transport is not None:
            self._transport.abort()
