"""One client: what it may do, the session it acts on, and what waits for it and from it."""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from greenroom.doors.discretion import Discretion
from greenroom.doors.rates import BURST, PER_S, TokenBucket
from greenroom.doors.safety import Source
from greenroom.doors.socketio import lollms
from greenroom.doors.socketio.engine import Link
from greenroom.doors.socketio.outbox import Outbox
from greenroom.doors.socketio.receiving import Assembler, Inbox
from greenroom.doors.socketio.wire import ack_packet, encode_body, event_packet
from greenroom.protocol.connect import ConnectAuth
from greenroom.protocol.events import Event, payload
from greenroom.protocol.grant import Grant
from greenroom.session.handle import Reply, SessionHandle
from greenroom.values import Access, new_id

_REQUESTS_COUNTED = 256


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client may cost, and how many there may be. Names as in the configuration."""

    max_clients: int = 1000
    outbox_bytes: int = 4 * 1024 * 1024
    send_packets: int = 8
    inbox_events: int = 64
    inbox_bytes: int = 24 * 1024 * 1024
    requests_per_s: float = PER_S
    requests_burst: int = BURST
    flood_per_s: float = 100
    """events refused as busy a second, in the long run, before the client is closed"""
    flood_burst: int = 2000
    overtaking: int = 8
    """cancels and interrupts at once"""
    long_events: int = 4
    """events that take minutes, at once"""
    malformed_frames: int = 32
    all_inboxes_bytes: int = 256 * 1024 * 1024
    """what all clients together may have waiting to be handled"""
    waiting_room: int = 256
    """connections that have not yet joined the namespace"""
    join_timeout_s: float = 20
    attachment_timeout_s: float = 30
    """for all the attachments of one event"""
    close_timeout_s: float = 2
    """how long a client that is being closed may take to read what it is told"""
    ping_interval_s: float = 25
    ping_timeout_s: float = 20


class State(Enum):
    OPEN = auto()
    """the transport stands, the namespace is not joined"""
    CONNECTING = auto()
    CONNECTED = auto()
    CLOSING = auto()
    """told why, and sent what it still may read"""
    GONE = auto()


_NEXT = {
    State.OPEN: {State.CONNECTING, State.CLOSING, State.GONE},
    State.CONNECTING: {State.CONNECTED, State.CLOSING, State.GONE},
    State.CONNECTED: {State.CLOSING, State.GONE},
    State.CLOSING: {State.GONE},
    State.GONE: set[State](),
}


class Client:
    """The :class:`~greenroom.session.handle.Caller` that sessions know.

    :param sid: engine.io's id, a secret of this client; ``client_id`` is what others may see.
    """

    def __init__(
        self,
        sid: str,
        socket: Any,
        source: Source,
        outbox: Outbox,
        limits: Limits,
        discretion: Discretion,
    ) -> None:
        self.sid = sid
        self.socket = socket
        self.source = source
        self.outbox = outbox
        self.limits = limits
        self.discretion = discretion
        self.link: Link | None = None
        self.state = State.OPEN
        self.assembler = Assembler()
        self.rate = TokenBucket(limits.requests_per_s, limits.requests_burst)
        self.patience = TokenBucket(limits.flood_per_s, limits.flood_burst)
        self.malformed = 0
        self.timer: asyncio.TimerHandle | None = None
        self.gone = asyncio.Event()
        self.client_id = new_id()
        self.grant = Grant(Access.VIEWER)
        self.auth = ConnectAuth()
        self.session: SessionHandle | None = None
        """the one it acts on"""
        self.hears = False
        self.touched: dict[str, SessionHandle] = {}
        self.inbox = Inbox(limits.inbox_events, limits.inbox_bytes)
        self.overtaking = 0
        self.long_events = 0
        self._numbers: OrderedDict[str, int] = OrderedDict()

    def become(self, state: State) -> None:
        if state not in _NEXT[self.state]:
            raise RuntimeError(f"a client cannot go from {self.state.name} to {state.name}")
        self.state = state

    @property
    def ending(self) -> bool:
        return self.state in (State.CLOSING, State.GONE)

    @property
    def held_bytes(self) -> int:
        return self.assembler.held_bytes + self.inbox.held_bytes

    # What sessions see

    @property
    def label(self) -> str:
        return self.auth.client or self.client_id

    @property
    def access(self) -> Access:
        return self.grant.access

    @property
    def debug(self) -> bool:
        return bool(self.auth.debug)

    def accept(self, reply: Reply) -> None:
        """Joining asks for no acknowledgement; a command's caller is its :class:`Request`."""

    def send(self, event: Event, request_id: str) -> None:
        number = self._numbers.pop(request_id, 0) + 1
        self._numbers[request_id] = number
        if len(self._numbers) > _REQUESTS_COUNTED:
            self._numbers.popitem(last=False)
        event = self.discretion.event(event, self.access)
        body = encode_body({**payload(event), "request_id": request_id, "n": number})
        self.outbox.send(event_packet(event.name, body))

    def tell(self, event: Event) -> None:
        """An event of the connection itself, in no request's and no session's count."""
        event = self.discretion.event(event, self.access)
        self.outbox.send(event_packet(event.name, encode_body(payload(event))))


class Request:
    """One command of a client, and the one answer that it gets."""

    def __init__(self, client: Client, event: str, arguments: list[Any], ack_id: int | None) -> None:
        self._client = client
        self._event = event
        self._arguments = arguments
        self._ack_id = ack_id
        self.answered = False

    @property
    def client_id(self) -> str:
        return self._client.client_id

    @property
    def label(self) -> str:
        return self._client.label

    @property
    def grant(self) -> Grant:
        return self._client.grant

    @property
    def access(self) -> Access:
        return self._client.access

    @property
    def debug(self) -> bool:
        return self._client.debug

    def send(self, event: Event, request_id: str) -> None:
        self._client.send(event, request_id)

    def accept(self, reply: Reply) -> None:
        """Acknowledgement and reply event; the first answer counts."""
        if self.answered:
            return
        shown = self._client.discretion.reply(reply, self.access)
        answer, names = lollms.success(self._event, self._arguments, shown)
        self._answer(answer, [(name, answer) for name in names])

    def refuse(self, error: dict[str, Any]) -> None:
        """The failed acknowledgement, unless it has been sent, and the events that tell of the failure."""
        shown = self._client.discretion.failed(error, self.access)
        answer, told = lollms.failure(self._event, self._arguments, shown)
        self._answer(answer, told)

    def _answer(self, answer: dict[str, Any], told: list[tuple[str, dict[str, Any]]]) -> None:
        outbox = self._client.outbox
        if told:
            envelope = {"request_id": new_id(), "n": 1}
            answer = {**envelope, **answer}
        body = encode_body(answer)
        if self._ack_id is not None and not self.answered:
            outbox.send(ack_packet(self._ack_id, body))
        self.answered = True
        for name, content in told:
            same = content.items() <= answer.items()
            outbox.send(event_packet(name, body if same else encode_body({**answer, **content})))
