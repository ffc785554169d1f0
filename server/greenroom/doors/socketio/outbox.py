"""What waits for one client, in place of the queue that engine.io keeps for each connection.

    engine.io's control packets  --.
    replies and private events   ---+--> get(), get_nowait()  (a few packets at a time, only when the socket wants them)
    the session's log, by cursor --'

engine.io's own queue has no bound and is filled by whoever sends. This one is emptied by whoever writes: session events
stay in the session's log until this client's socket can take them, so a client that does not read costs a cursor. Only
what is for this client alone is held here, within a bound.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from greenroom.doors.socketio.metrics import DoorCounts
from greenroom.doors.socketio.transport import NOOP, Packet
from greenroom.doors.socketio.wire import Encoded, encode_body, event_packet
from greenroom.protocol.events import AudioDropped, Event, payload
from greenroom.session.replay import Entry, ReplayLog

WIRE_KEY: Final = "socketio"
MAX_PRIVATE_PACKETS: Final = 4096
MAX_BATCH_BYTES: Final = 256 * 1024
_PRIVATE_IN_A_ROW: Final = 8
_BACKLOG_DIVISOR: Final = 4
_CONTROL_LIMIT: Final = 4
"""NOOPs, which a peer can make engine.io queue at will"""


class Straight(Protocol):
    """A socket that frames can be written to."""

    @property
    def writable(self) -> bool: ...

    def write(self, frames: Iterable[bytes]) -> None: ...


class _Nothing:
    """Nothing to send; ``None`` is engine.io's word for the end."""


_NOTHING: Final = _Nothing()


def _nobody() -> None: ...


@dataclass(slots=True)
class _Private:
    encoded: Encoded
    after: int
    """number of the session's newest event when this was queued: later ones must not overtake it"""


def encode_session_event(event: Event, session: str, seq: int) -> Encoded:
    return event_packet(event.name, encode_body({**payload(event), "session": session, "seq": seq}))


class Outbox:
    """:param limit_bytes: of the packets for this client alone that may wait.
    :param batch: packets given to the socket at a time.
    """

    def __init__(self, limit_bytes: int, batch: int, counts: DoorCounts) -> None:
        self._limit_bytes = limit_bytes
        self._batch_limit = batch
        self._counts = counts
        self.too_slow: Callable[[], object] = lambda: None
        """called once, when more waits than may, or the log has left this reader behind"""
        self._slow = False
        self._control: deque[Packet] = deque()
        self._ready: deque[Packet] = deque()
        """rest of a packet that has begun"""
        self._private: deque[_Private] = deque()
        self._private_bytes = 0
        self._private_row = 0
        self._log: ReplayLog | None = None
        self._session = ""
        self._cursor = 0
        self._shown: Callable[[Event], Event] | None = None
        self._unsubscribe: Callable[[], None] = lambda: None
        self._getter: asyncio.Future[Packet | None] | None = None
        self._batch = 0
        self._batch_bytes = 0
        self._room: asyncio.Future[None] | None = None
        self._last: deque[Encoded] = deque()
        self._ending = False
        self.ended = asyncio.Event()
        """the socket has taken everything that there was to send, and been told that it was the last"""
        self.straight: Callable[[], Straight | None] = lambda: None
        """the socket itself, where the packets may be written to it without engine.io"""
        self.share: Callable[[], bool] = lambda: False
        """whether the packets leave in the websocket's encoding, the same for all"""

    # What the client's session side uses

    def send(self, encoded: Encoded) -> None:
        """For this client alone, before session events that are not yet in the log."""
        if self._ending:
            return
        waiting = len(self._private)
        if waiting and (self._private_bytes + encoded.size > self._limit_bytes or waiting >= MAX_PRIVATE_PACKETS):
            self._counts.dropped += 1
            self._fall_behind()
            return
        self._private.append(_Private(encoded, self._log.seq if self._log is not None else 0))
        self._private_bytes += encoded.size
        self.wake()

    def follow(
        self, session: str, log: ReplayLog, cursor: int, *, shown: Callable[[Event], Event] | None = None
    ) -> None:
        """Send the session's events after ``cursor``, behind everything that waits now.

        :param shown: an event as this client may see it: the same object where nothing is held back.
        """
        self.unfollow()
        for waiting in self._private:
            waiting.after = 0
        self._session, self._log, self._cursor, self._shown = session, log, cursor, shown
        self._unsubscribe = log.subscribe(self.wake)
        # Soon: what was missed goes behind the answer to whoever asked for it, which is about to be given.
        asyncio.get_running_loop().call_soon(self.wake)

    def unfollow(self) -> None:
        if self._ending:
            return
        self._unsubscribe()
        self._unsubscribe = lambda: None
        self._log = None

    def end(self, last: Iterable[Encoded] = (), *, flush: bool = False) -> None:
        """Take nothing more, send ``last``, then tell the socket to close.

        :param flush: send what waits and what the log holds before it.
        """
        if self._ending:
            return
        self._ending = True
        self._unsubscribe()
        self._unsubscribe = lambda: None
        if not flush:
            self._log = None
            self._private.clear()
            self._private_bytes = 0
        self._last.extend(last)
        self._make_room()
        self.wake()

    def let_go(self) -> None:
        """The connection has ended: whoever was to be asked and told here often holds this outbox."""
        self.too_slow = self.straight = _nobody
        self.share = lambda: False

    def hurry(self) -> None:
        """There is no time left for what waits: only the last packets are sent still."""
        self._log = None
        self._private.clear()
        self._private_bytes = 0
        self.wake()

    async def room(self) -> None:
        """Wait until little enough waits that another reply may be made."""
        while self._private_bytes > self._limit_bytes // _BACKLOG_DIVISOR and not self._ending:
            if self._room is None or self._room.done():
                self._room = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._room)

    def wake(self) -> None:
        """Something may be there to send."""
        getter = self._getter
        if getter is None or getter.done():
            if self._log is not None and not self._log.reaches(self._cursor):
                self._fall_behind()
            return
        if self._written_straight():
            return
        packet = self._take()
        if not isinstance(packet, _Nothing):
            self._getter = None
            getter.set_result(packet)

    def _written_straight(self) -> bool:
        """Whether all that waits went into the socket at once, past engine.io, which waits: nothing is on its way."""
        if self._control or self._ready or self._ending:
            return False
        link = self.straight()
        if link is None:
            return False
        for _ in range(self._batch_limit):  # of more, engine.io's writer takes the rest, and gives way to others
            if not link.writable:
                return False
            encoded = self._next()
            if encoded is None:
                return True
            self._count(encoded)
            link.write(encoded.frames)
            if not self._private and (self._log is None or self._cursor == self._log.seq):
                return True  # as nearly always: one event, one write
        return False

    # What engine.io uses: the part of asyncio.Queue's interface that it needs

    async def put(self, packet: Packet | None) -> None:
        self.put_nowait(packet)

    def put_nowait(self, packet: Packet | None) -> None:
        if packet is None:
            self.end()
        elif packet.packet_type != NOOP or len(self._control) < _CONTROL_LIMIT:
            self._control.append(packet)
            self.wake()

    def get(self) -> "asyncio.Future[Packet | None]":
        """The next packet, when there is one; begins a new batch. A future, since that saves a task for each packet."""
        self._batch = self._batch_bytes = 0
        earlier, self._getter = self._getter, None
        if earlier is not None and not earlier.done():
            earlier.set_result(Packet(NOOP))  # a second poll of the same client ends the first
        getter: asyncio.Future[Packet | None] = asyncio.get_running_loop().create_future()
        packet = self._take()
        if isinstance(packet, _Nothing):
            self._getter = getter
        else:
            getter.set_result(packet)
        return getter

    def get_nowait(self) -> Packet | None:
        """:raises asyncio.QueueEmpty: nothing waits, or the batch is full."""
        if self._batch >= self._batch_limit or self._batch_bytes >= MAX_BATCH_BYTES:
            raise asyncio.QueueEmpty
        packet = self._take()
        if isinstance(packet, _Nothing):
            raise asyncio.QueueEmpty
        return packet

    def task_done(self) -> None:
        """Nobody counts."""

    async def join(self) -> None:
        """Nobody waits: a socket that does not drain is closed all the same."""

    def empty(self) -> bool:
        return not (self._ready or self._control or self._private)

    # What comes next

    def _take(self) -> Packet | _Nothing | None:
        if not self._ready and not self._refill():
            if not self._ending:
                return _NOTHING
            self.ended.set()
            return None
        packet = self._ready.popleft()
        self._batch += 1
        if isinstance(packet.data, str | bytes):
            self._batch_bytes += len(packet.data)
        return packet

    def _refill(self) -> bool:
        if self._control:
            self._ready.append(self._control.popleft())
            return True
        encoded = self._next()
        if encoded is None:
            return False
        self._count(encoded)
        self._ready.extend(encoded.shared if self.share() else encoded.fresh())
        return True

    def _next(self) -> Encoded | None:
        if self._private:
            first = self._private[0]
            starved = self._private_row >= _PRIVATE_IN_A_ROW and self._log is not None and self._cursor < first.after
            if not starved:
                self._private.popleft()
                self._private_row += 1
                self._private_bytes -= first.encoded.size
                self._make_room()
                return first.encoded
        self._private_row = 0
        encoded = self._next_session_event()
        if encoded is None and self._last:
            return self._last.popleft()
        return encoded

    def _next_session_event(self) -> Encoded | None:
        if self._log is None:
            return None
        try:
            found = self._log.after(self._cursor)
        except LookupError:
            self._log = None
            self._fall_behind()
            return None
        if found is None:
            return None
        if isinstance(found, AudioDropped):
            self._cursor = found.to_seq
            return encode_session_event(found, self._session, found.to_seq)
        self._cursor = found.seq
        return self._encoded(found)

    def _encoded(self, entry: Entry) -> Encoded:
        if self._shown is not None and entry.event is not None:
            shown = self._shown(entry.event)
            if shown is not entry.event:
                return encode_session_event(shown, self._session, entry.seq)
        known: Encoded | None = entry.wire.get(WIRE_KEY)
        if known is None:
            if entry.event is None:
                raise LookupError(entry.seq)
            known = entry.wire[WIRE_KEY] = encode_session_event(entry.event, self._session, entry.seq)
        return known

    def _count(self, encoded: Encoded) -> None:
        self._counts.events_sent += 1
        self._counts.bytes_sent += encoded.size

    def _make_room(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    def _fall_behind(self) -> None:
        if not self._slow:
            self._slow = True
            self._counts.too_slow += 1
            self.too_slow()
