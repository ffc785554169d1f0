"""The Socket.IO door: connections, their clients, and the way in and out.

engine.io --connect, message, disconnect--> door --> Assembler --> Inbox --> worker --> Dispatcher --> session
engine.io <--Outbox-- replies, private events, the session's log by cursor <---------------------------'
"""

import asyncio
import logging
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Final, Self

from greenroom.doors.discretion import Discretion
from greenroom.doors.safety import Guard, Source
from greenroom.doors.socketio import membership, wire
from greenroom.doors.socketio.client import Client, Limits, State
from greenroom.doors.socketio.dispatch import Dispatcher, internal_error
from greenroom.doors.socketio.engine import LINK_KEY, Engine, Gate, Link
from greenroom.doors.socketio.intake import SMALL_EVENT_BYTES, Intake
from greenroom.doors.socketio.metrics import DoorCollector, DoorCounts
from greenroom.doors.socketio.outbox import Outbox
from greenroom.doors.socketio.receiving import Arrived
from greenroom.errors import BadRequest, Busy, GreenroomError, TooLarge, TooSlow, Unavailable
from greenroom.protocol.connect import ConnectAuth
from greenroom.protocol.events import Closing, payload
from greenroom.session.handle import Sessions

logger = logging.getLogger(__name__)

MAX_FRAME_BEFORE_JOINING: Final = 64 * 1024
_NAMESPACE: Final = "/"


class SocketDoor:
    """:param sessions: where clients' sessions come from.
    :param default_session: of clients that name none.
    """

    def __init__(
        self,
        sessions: Sessions,
        guard: Guard,
        *,
        limits: Limits | None = None,
        default_session: str = "main",
        discretion: Discretion | None = None,
    ) -> None:
        self._sessions = sessions
        self._guard = guard
        self._limits = limits or Limits()
        self._default_session = default_session
        self._discretion = discretion or Discretion()
        self.counts = DoorCounts()
        self._clients: dict[str, Client] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._intake = Intake(Dispatcher(sessions), self.counts, self)
        self._closing = False
        self._engine = Engine(
            self._make_outbox,
            ping_interval_s=self._limits.ping_interval_s,
            ping_timeout_s=self._limits.ping_timeout_s,
        )
        self._engine.on("connect", self._transport_opened)
        self._engine.on("message", self._received)
        self._engine.on("disconnect", self._transport_closed)
        self.asgi = Gate(self._engine, guard, self.counts, self)
        """the ASGI application for the path ``/socket.io/``"""

    @property
    def clients(self) -> int:
        """Clients connected, or about to be."""
        return sum(client.state in (State.CONNECTING, State.CONNECTED) for client in self._clients.values())

    def collector(self) -> DoorCollector:
        """For a Prometheus registry."""
        return DoorCollector(self.counts, lambda: self.clients)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close("shutdown", "the server is shutting down")

    async def close(self, code: str, message: str, flush_s: float = 0.4) -> None:
        """Tell every client, give each ``flush_s`` seconds to read what waits for it, close every transport."""
        self._closing = True
        clients = list(self._clients.values())
        for client in clients:
            self._end(client, Closing(code=code, message=message), flush=True)
        await asyncio.gather(*(self._finish(client, flush_s) for client in clients))
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._engine.stop()

    def close_client(self, client: Client, code: str, message: str) -> None:
        """Tell it why, then close its transport; it may come back."""
        if client.ending:
            return
        logger.info("client %s is closed: %s", client.client_id, code)
        self._end(client, Closing(code=code, message=message), flush=False)
        self.own(self._finish(client, self._limits.close_timeout_s), f"close {client.client_id}")

    def _end(self, client: Client, closing: Closing, *, flush: bool) -> None:
        if client.ending:
            return
        told = client.state is State.CONNECTED
        client.become(State.CLOSING)
        encoded = wire.event_packet(closing.name, wire.encode_body(payload(closing)))
        client.outbox.end([encoded] if told else [], flush=flush)
        self._depart(client)

    async def _finish(self, client: Client, grace_s: float) -> None:
        """Wait until it has read everything, or at least the last words; then drop the connection."""
        if not await _within(grace_s / 2, client.outbox.ended):
            client.outbox.hurry()
            if client.link is None:
                await _within(grace_s / 2, client.outbox.ended)
        if client.link is not None and not await _within(grace_s / 2, client.outbox.ended, client.gone):
            client.link.abort()
        await client.socket.close(wait=False, abort=True, reason=self._engine.reason.SERVER_DISCONNECT)
        self._transport_closed(client.sid, "")

    def own(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """A task that ends with the door, if not before."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # The transport

    def _make_outbox(self) -> Outbox:
        return Outbox(self._limits.outbox_bytes, self._limits.send_packets, self.counts)

    def _transport_opened(self, sid: str, environ: dict[str, Any]) -> bool:
        waiting = sum(client.state is State.OPEN for client in self._clients.values())
        if self._closing or waiting >= self._limits.waiting_room:
            return False
        scope = environ["asgi.scope"]
        socket = self._engine.sockets[sid]
        outbox: Outbox = socket.queue
        link: Link | None = scope.get(LINK_KEY)
        direct = link is not None
        outbox.share = lambda: direct or bool(socket.upgraded)
        outbox.straight = lambda: self._straight(sid, socket)
        client = self._admit(sid, socket, Source.of(scope), outbox)
        if link is not None:
            link.sid = sid
            client.link = link
        return True

    def _straight(self, sid: str, socket: Any) -> Link | None:
        """The websocket by which the client gets its packets; none while it polls, or is about to change over."""
        client = self._clients.get(sid)
        return client.link if client is not None and socket.upgraded and not socket.upgrading else None

    def _admit(self, sid: str, socket: Any, source: Source, outbox: Outbox) -> Client:
        client = Client(sid, socket, source, outbox, self._limits, self._discretion)
        loop = asyncio.get_running_loop()
        slow = (TooSlow.code, "more waits for this client than can be kept; connect again to resume")
        # Later: this may be called while the session is in the middle of telling something.
        outbox.too_slow = lambda: loop.call_soon(self.close_client, client, *slow)
        client.timer = loop.call_later(self._limits.join_timeout_s, self._never_joined, client)
        self._clients[sid] = client
        return client

    def _never_joined(self, client: Client) -> None:
        if client.state is State.OPEN:
            self.close_client(client, BadRequest.code, "the namespace was not joined in time")

    def _transport_closed(self, sid: str, reason: str) -> None:
        """However a connection ends, this runs; once it has done its work, it does nothing."""
        client = self._clients.pop(sid, None)
        if client is None:
            return
        self._engine.sockets.pop(sid, None)
        self._engine.let_go(client.socket)
        if client.state is not State.GONE:
            client.become(State.GONE)
        client.gone.set()
        client.outbox.end()
        self._depart(client)
        if client.link is not None and not client.outbox.ended.is_set():
            # engine.io waits for its writer, and its writer for a peer that may never read again.
            client.link.abort()
        client.outbox.let_go()

    def _depart(self, client: Client) -> None:
        if client.timer is not None:
            client.timer.cancel()
        client.inbox.close()
        membership.forget(client)

    # The gate's questions

    def max_frame(self, sid: str) -> int:
        client = self._clients.get(sid)
        joined = client is not None and client.state is State.CONNECTED
        return wire.MAX_FRAME_BYTES if joined else MAX_FRAME_BEFORE_JOINING

    def oversized(self, sid: str, size: int) -> None:
        client = self._clients.get(sid)
        if client is not None:
            limit = self.max_frame(sid)
            self.close_client(client, TooLarge.code, f"a message of {size} bytes; at most {limit} are taken")

    def linked(self, sid: str, link: Link | None) -> None:
        client = self._clients.get(sid)
        if client is not None:
            client.link = link

    # What comes in

    async def _received(self, sid: str, frame: object) -> None:
        client = self._clients.get(sid)
        if client is None or client.ending or not isinstance(frame, str | bytes):
            return
        self.counts.bytes_received += len(frame)
        assembler = client.assembler
        try:
            for arrived in assembler.feed(frame):
                await self._packet(client, arrived)
        except wire.Malformed:
            self._malformed(client)
        if assembler.held_bytes and client.state is State.CONNECTED:
            if not self.has_room(assembler.held_bytes):
                await self._give_up(client, Busy("this server has no room for so large an event now; try again"))
            elif client.timer is None:
                client.timer = asyncio.get_running_loop().call_later(
                    self._limits.attachment_timeout_s, self._attachments_late, client
                )
        elif client.timer is not None and client.state is State.CONNECTED:
            client.timer.cancel()
            client.timer = None

    def _attachments_late(self, client: Client) -> None:
        client.timer = None
        if not client.ending:
            late = BadRequest("the attachments of this event did not come in time")
            self.own(self._give_up(client, late), f"client {client.client_id}: late attachments")

    async def _give_up(self, client: Client, error: GreenroomError) -> None:
        for arrived in client.assembler.give_up(error):
            await self._packet(client, arrived)

    def has_room(self, size: int) -> bool:
        """Whether all clients' events that wait leave room for one of this size. Small ones are not counted."""
        if size <= SMALL_EVENT_BYTES:
            return True
        return sum(each.held_bytes for each in self._clients.values()) <= self._limits.all_inboxes_bytes

    def _malformed(self, client: Client) -> None:
        self.counts.malformed += 1
        client.malformed += 1
        if client.malformed >= self._limits.malformed_frames:
            self.close_client(client, BadRequest.code, "too many frames that are no Socket.IO packets")

    async def _packet(self, client: Client, arrived: Arrived) -> None:
        header = arrived.header
        if header.namespace != _NAMESPACE:
            if header.kind == wire.CONNECT:
                refusal = BadRequest("there is only the namespace /")
                client.outbox.send(_refusal(refusal, header.namespace))
            return
        match header.kind:
            case wire.CONNECT if client.state is State.OPEN:
                await self._connect(client, header.body)
            case wire.DISCONNECT if client.state is State.CONNECTED:
                self._left_namespace(client)
            case wire.EVENT | wire.BINARY_EVENT if client.state is State.CONNECTED:
                self._intake.event(client, arrived)
            case wire.CONNECT_ERROR:
                self._malformed(client)

    async def _connect(self, client: Client, body: str) -> None:
        client.become(State.CONNECTING)
        try:
            self._guard.check(client.source)
            if self._closing:
                raise Unavailable("the server is shutting down")
            if self.clients > self._limits.max_clients:
                raise Busy("too many clients are connected")
            await self._introduce(client, ConnectAuth.parse(wire.parse_json(body) if body else None))
        except GreenroomError as error:
            self._refuse(client, error)
        except Exception:  # noqa: BLE001 -- the boundary of one event
            self._refuse(client, internal_error("connecting"))

    async def _introduce(self, client: Client, auth: ConnectAuth) -> None:
        grant = self._guard.grant(auth.token, auth.role)
        name = auth.session
        if name is None:
            name = grant.session_or(self._default_session)
        grant.require_session(name)
        handle = await self._sessions.get(name)
        arrival = await membership.prepare(handle, auth.epoch, auth.last_seq) if auth.session is not None else None
        if client.ending:
            return
        client.auth, client.grant = auth, grant
        client.become(State.CONNECTED)
        if client.timer is not None:
            client.timer.cancel()
            client.timer = None
        client.outbox.send(wire.connect_packet(client.client_id))
        if arrival is not None:
            membership.join(client, arrival, plays=bool(auth.plays))
        else:
            membership.act_on(client, handle)
        self.own(self._intake.work(client), f"client {client.client_id}")
        logger.info("client %s connected to session %s as %s", client.client_id, name, grant.access)

    def _refuse(self, client: Client, error: GreenroomError) -> None:
        self.counts.refused += 1
        logger.info("a connection was refused: %s", error.code)
        if client.ending:
            return
        client.outbox.end([_refusal(error)])
        client.become(State.CLOSING)
        self._depart(client)
        self.own(self._finish(client, self._limits.close_timeout_s), f"refuse {client.client_id}")

    def _left_namespace(self, client: Client) -> None:
        """The transport stays: the client may join once more, as somebody new."""
        outbox = client.outbox
        client.outbox = self._make_outbox()
        client.outbox.end()
        outbox.unfollow()
        client.become(State.GONE)
        self._depart(client)
        again = self._admit(client.sid, client.socket, client.source, outbox)
        again.link, again.rate, again.patience = client.link, client.rate, client.patience


async def _within(seconds: float, *events: asyncio.Event) -> bool:
    """Whether all of them are set in time."""
    try:
        async with asyncio.timeout(seconds):
            for event in events:
                await event.wait()
    except TimeoutError:
        return False
    return True


def _refusal(error: GreenroomError, namespace: str = _NAMESPACE) -> wire.Encoded:
    return wire.refusal_packet(error.message, {"code": error.code, "message": error.message}, namespace)
