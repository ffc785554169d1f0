"""The transport under Socket.IO: engine.io's server, with a gate before it.

    uvicorn --scope, receive, send--> Gate --checked frames--> engineio.AsyncServer --messages--> door

The gate lets nothing pass on which engine.io stumbles (frames that are no packets, JSON bombs, JSONP), answers polling
POSTs and CORS itself, and keeps hold of the TCP connection under each websocket, since a peer that has stopped reading
cannot be closed in any other way.
"""

import asyncio
import base64
import binascii
import contextlib
import json
import logging
import socket
from collections.abc import Awaitable, Callable, Coroutine, Iterable, MutableMapping
from functools import partial
from typing import Any, Final, Protocol
from urllib.parse import parse_qs

from greenroom.doors.safety import Guard, Source
from greenroom.doors.socketio.metrics import DoorCounts
from greenroom.doors.socketio.transport import MESSAGE, Packet, engineio
from greenroom.doors.socketio.transport import exceptions as engine_errors
from greenroom.doors.socketio.wire import MAX_FRAME_BYTES
from greenroom.errors import Forbidden

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_WEBSOCKETS: tuple[type, ...] = ()
_OPEN: Any = None
with contextlib.suppress(ImportError):  # how other versions of uvicorn keep their websockets is not known
    from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
    from websockets.protocol import OPEN as _OPEN

    _WEBSOCKETS = (WebSocketsSansIOProtocol,)

LINK_KEY: Final = "greenroom.link"
_CONTROL_FRAMES: Final = frozenset({"1", "2", "2probe", "3", "3probe", "5", "6"})
_SEPARATOR: Final = "\x1e"
_SHOWN_ORIGIN: Final = 100
_MOST_STRANGERS: Final = 100

logger = logging.getLogger(__name__)

_engine_logger = logging.getLogger("greenroom.doors.socketio.engineio")
# Below this level engine.io logs what people say.
_engine_logger.setLevel(logging.WARNING)


class Link:
    """The TCP connection under one websocket or request, as far as the server lets it be seen.

    :param sid: engine.io's id of the client that it belongs to, as soon as there is one.
    """

    def __init__(self, send: Send, sid: str = "") -> None:
        self._owner = getattr(send, "__self__", None)
        self._websocket: Any = self._owner if isinstance(self._owner, _WEBSOCKETS) else None
        self.sid = sid

    @property
    def _transport(self) -> Any:
        return getattr(self._owner, "transport", None)

    def send_at_once(self) -> None:
        """Small packets must not wait for the peer's acknowledgements (up to 40 ms).

        asyncio sees to that, but not for a listening socket that was made without naming its protocol.
        """
        transport = self._transport
        sock = transport.get_extra_info("socket") if transport is not None else None
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @property
    def writable(self) -> bool:
        """Whether it takes frames that are written at once: an open websocket, uncompressed, whose peer keeps up."""
        owner = self._websocket
        return (
            owner is not None
            and owner.writable.is_set()
            and owner.conn.state is _OPEN
            and not owner.conn.extensions
            and not owner.transport.is_closing()
        )

    def write(self, frames: Iterable[bytes]) -> None:
        """Whole messages, framed already; only while it is ``writable``.

        Straight to the transport: a server's data frames are the same for every peer and change nothing of the
        connection's state, and the way through engine.io and ASGI costs four turns of the event loop.
        """
        # not writelines: in Python 3.12.0-8 and 3.13.0-1 that takes without end and never says that it is full
        self._websocket.transport.write(b"".join(frames))

    def abort(self) -> None:
        """Drop the connection at once, whatever waits in it."""
        transport = self._transport
        if transport is not None:
            transport.abort()


class Peers(Protocol):
    """What the gate asks the door about a connection, by engine.io's id."""

    def max_frame(self, sid: str) -> int:
        """The largest frame that it may send now."""
        ...

    def oversized(self, sid: str, size: int) -> None:
        """It sent more than that; nothing more is read from it."""

    def linked(self, sid: str, link: Link | None) -> None:
        """Its packets go through this websocket from now on, or through none."""


class Engine(engineio.AsyncServer):  # type: ignore[misc]
    """:param make_queue: what keeps the packets of a new connection."""

    def __init__(self, make_queue: Callable[[], object], *, ping_interval_s: float, ping_timeout_s: float) -> None:
        self._make_queue = make_queue
        self._tasks: set[asyncio.Task[Any]] = set()
        self._pings: dict[object, asyncio.Task[Any]] = {}
        """of each connection, the task that waits to ping it"""
        super().__init__(
            async_mode="asgi",
            ping_interval=ping_interval_s,
            ping_timeout=ping_timeout_s,
            max_http_buffer_size=MAX_FRAME_BYTES,
            http_compression=False,
            async_handlers=False,
            cors_allowed_origins=[],
            logger=_engine_logger,
        )

    def create_queue(self, *args: object, **kwargs: object) -> object:
        return self._make_queue()

    def start_background_task(
        self, target: Callable[..., Coroutine[Any, Any, Any]], *args: object, **kwargs: object
    ) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(target(*args, **kwargs), name="engine.io")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        owner = getattr(target, "__self__", self)
        if owner is not self:
            self._pings[owner] = task
            task.add_done_callback(partial(self._pinged, owner))
        return task

    def _pinged(self, owner: object, task: asyncio.Task[Any]) -> None:
        """Also of a connection that was let go of before: its last pong may come behind its end."""
        if self._pings.get(owner) is task:
            del self._pings[owner]

    def let_go(self, peer: object) -> None:
        """A connection has ended: nothing waits for it any more."""
        ping = self._pings.pop(peer, None)
        if ping is not None and ping is not asyncio.current_task():
            ping.cancel()

    async def stop(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def acceptable(frame: str) -> bool:
    """Whether engine.io may see this text frame: a control packet, or a message that holds a Socket.IO packet."""
    if frame[:1] == "4":
        return "0" <= frame[1:2] <= "6"
    return frame in _CONTROL_FRAMES


class _Ended(OSError):
    """A websocket, as engine.io's own error says it."""


class _Incoming:
    """What engine.io reads a request or a websocket from.

    engine.io leaves circles behind: a class that it makes for each request and that holds this, and a frame that holds
    the task that reads, which holds the error with which it ended, which holds the frame. What hangs on them is let go
    of here, or all of a client would stay in memory until Python looks for garbage.

    :param passes: whether a websocket's message is taken; it ends with the first that is not.
    """

    def __init__(self, receive: Receive, passes: Callable[[Message], bool] = lambda _: True) -> None:
        self._receive: Receive | None = receive
        self._passes: Callable[[Message], bool] | None = passes
        self._ends: list[_Ended] = []

    async def __call__(self) -> Message:
        """:raises _Ended: a websocket has."""
        if self._receive is None or self._passes is None:
            raise _Ended
        message = await self._receive()
        ended = message["type"] == "websocket.disconnect"
        if ended or (message["type"] == "websocket.receive" and not self._passes(message)):
            self._ends.append(_Ended())
            raise self._ends[-1]
        return message

    def let_go(self) -> None:
        self._receive = self._passes = None
        for end in self._ends:
            end.__traceback__ = None
        self._ends.clear()


class Gate:
    """The ASGI application."""

    def __init__(self, engine: Engine, guard: Guard, counts: DoorCounts, peers: Peers) -> None:
        self._engine = engine
        self._guard = guard
        self._counts = counts
        self._peers = peers
        self._posting: set[str] = set()
        self._strangers: set[str] = set()
        """origins that the log knows"""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
        sid = query["sid"][0] if "sid" in query else None
        source = Source.of(scope)
        if sid is None:
            self._note(source)
        if scope["type"] == "websocket":
            await self._websocket(scope, receive, send, sid)
            return
        Link(send).send_at_once()
        send = self._with_cors(source, send)
        if sid is not None or scope["method"] not in ("GET", "OPTIONS"):
            # A handshake passes: it is refused where Socket.IO clients can read the reason.
            try:
                self._guard.check(source)
            except Forbidden as error:
                await respond(send, 403, error.payload())
                return
        if scope["method"] == "OPTIONS":
            await respond(send, 204, None)
        elif "j" in query:
            await respond(send, 400, {"code": 3, "message": "JSONP is not served"})
        elif scope["method"] == "POST":
            await self._post(sid, receive, send)
        elif scope["method"] == "GET":
            incoming = _Incoming(receive)
            try:
                await self._engine.handle_request(scope, incoming, send)
            finally:
                incoming.let_go()
        else:
            await respond(send, 405, {"code": 2, "message": "Bad handshake method"})

    def _note(self, source: Source) -> None:
        """A browser keeps the reason from a page that it does not let read the answer: only the log can tell it."""
        origin = source.origin
        if origin is None or self._guard.allows_origin(source):
            return
        shown = repr(origin[:_SHOWN_ORIGIN])
        if shown not in self._strangers and len(self._strangers) < _MOST_STRANGERS:
            self._strangers.add(shown)
            logger.warning("a page of %s was refused; to let it in, add it to server.allowed_origins", shown)

    def _with_cors(self, source: Source, send: Send) -> Send:
        if not self._guard.allows_origin(source):
            return send
        extra = [
            (b"access-control-allow-origin", str(source.origin).encode("latin-1")),
            (b"access-control-allow-credentials", b"true"),
            (b"access-control-allow-methods", b"GET, POST, OPTIONS"),
            (b"access-control-allow-headers", b"content-type"),
            (b"vary", b"Origin"),
        ]

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *extra]}
            await send(message)

        return sending

    # Websocket

    async def _websocket(self, scope: Scope, receive: Receive, send: Send, sid: str | None) -> None:
        known = self._engine.sockets.get(sid) if sid is not None else None
        if sid is not None and known is None:
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": "Session ID unknown"})
            return
        link = Link(send, sid or "")
        link.send_at_once()
        scope[LINK_KEY] = link
        if sid is not None:
            self._peers.linked(sid, link)

        incoming = _Incoming(receive, partial(self._passes, link=link))
        try:
            await self._engine.handle_request(scope, incoming, send)
        finally:
            incoming.let_go()
            del scope[LINK_KEY]  # the link holds the connection, and that its scope
            if known is not None and not known.upgraded:
                # engine.io forgets this where a probe breaks off, and then holds all packets back for ever
                known.upgrading = False
                self._peers.linked(link.sid, None)

    def _passes(self, message: Message, link: Link) -> bool:
        data = message.get("bytes")
        frame: str | bytes = data if data is not None else message["text"]
        if len(frame) > self._peers.max_frame(link.sid):
            self._peers.oversized(link.sid, len(frame))
            return False
        if isinstance(frame, str) and not acceptable(frame):
            self._counts.malformed += 1
            return False
        return True

    # Polling

    async def _post(self, sid: str | None, receive: Receive, send: Send) -> None:
        peer = self._engine.sockets.get(sid)
        if sid is None or peer is None or peer.closed:
            await respond(send, 400, {"code": 1, "message": "Session ID unknown"})
            return
        if not peer.connected or peer.upgraded or sid in self._posting:
            await respond(send, 400, {"code": 3, "message": "Bad request"})
            return
        self._posting.add(sid)
        try:
            status = await self._take_post(sid, peer, receive)
        finally:
            self._posting.discard(sid)
        if status == 200:
            await respond(send, 200, "ok")
        else:
            await respond(send, status, {"code": 3, "message": "Bad request"})

    async def _take_post(self, sid: str, peer: Any, receive: Receive) -> int:
        limit = self._peers.max_frame(sid)
        parts: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return 400
            part = message.get("body", b"")
            size += len(part)
            if size > limit:
                self._peers.oversized(sid, size)
                return 413
            parts.append(part)
            if not message.get("more_body"):
                break
        try:
            packets = [_decode(raw) for raw in b"".join(parts).decode().split(_SEPARATOR)]
        except (UnicodeDecodeError, ValueError):
            self._counts.malformed += 1
            await peer.close(wait=False, abort=True, reason=self._engine.reason.TRANSPORT_ERROR)
            return 400
        for packet in packets:
            if peer.closed:
                return 400
            try:
                await peer.receive(packet)
            except engine_errors.EngineIOError:
                return 400
        return 200


def _decode(raw: str) -> Packet:
    """:raises ValueError: it is no packet."""
    if raw[:1] == "b":
        try:
            return Packet(MESSAGE, base64.b64decode(raw[1:], validate=True))
        except binascii.Error as error:
            raise ValueError(raw[:1]) from error
    if not acceptable(raw):
        raise ValueError(raw[:2])
    return Packet(encoded_packet=raw)


async def respond(send: Send, status: int, data: object) -> None:
    body = b"" if data is None else data.encode() if isinstance(data, str) else json.dumps(data).encode()
    kind = b"text/plain; charset=utf-8" if isinstance(data, str) else b"application/json"
    headers = [(b"content-length", str(len(body)).encode()), (b"x-content-type-options", b"nosniff")]
    if body:
        headers.append((b"content-type", kind))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
