"""The websocket at ``/``: who may listen, and the life of each connection."""

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from typing import Final

from starlette.responses import Response
from starlette.routing import BaseRoute, WebSocketRoute
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from greenroom.doors.broadcast.feed import Feed
from greenroom.doors.broadcast.listener import Listener
from greenroom.doors.door import Rooms, grant_of, told
from greenroom.doors.rates import TokenBucket
from greenroom.doors.rest.wire import failure
from greenroom.doors.safety import Source
from greenroom.doors.socketio.engine import Link
from greenroom.errors import Busy, GreenroomError, Unavailable
from greenroom.session.handle import SessionHandle

logger = logging.getLogger(__name__)

_FLUSH_S: Final = 0.3
_CLOSE_S: Final = 1.0
"""how long a peer that is being closed may take before its connection is dropped"""
_HELD: Final = 3
"""times what may wait for a client: a burst that it can still take (12 MB are three minutes of a usual voice)"""
_GOING_AWAY: Final = 1001
_TRY_AGAIN: Final = 1013


class _Connection:
    def __init__(self, websocket: WebSocket, link: Link, listener: Listener) -> None:
        self.websocket = websocket
        self.link = link
        self.listener = listener
        self.gone = asyncio.Event()


class BroadcastDoor:
    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        self._feeds: dict[str, Feed] = {}
        self._connections: set[_Connection] = set()
        self._closing = False

    def routes(self) -> Sequence[BaseRoute]:
        return [WebSocketRoute("/", _Endpoint(self))]

    async def refuse(self, error: GreenroomError, scope: Scope, receive: Receive, send: Send) -> None:
        await _deny(WebSocket(scope, receive, send), error)

    @property
    def clients(self) -> int:
        return len(self._connections)

    async def close(self) -> None:
        """What waits is sent if it can be at once; a peer that does not read is dropped."""
        self._closing = True
        connections = list(self._connections)
        for connection in connections:
            connection.listener.end()
        await _all_gone(connections, _FLUSH_S)
        for connection in connections:
            if not connection.gone.is_set():
                connection.link.abort()
        await _all_gone(connections, _CLOSE_S)

    async def serve(self, websocket: WebSocket, link: Link) -> None:
        """From the handshake to the end of the connection."""
        try:
            listener, handle = await self._admit(websocket)
        except GreenroomError as error:
            logger.info("a websocket was refused: %s", error.code)
            await _deny(websocket, told(self._rooms, websocket, error))
            return
        # It hears from here on, before the handshake is answered: its next request may come right behind.
        connection = _Connection(websocket, link, listener)
        self._connections.add(connection)
        feed = self._feeds[handle.name]
        feed.add(listener)
        if self._closing:  # since it was looked at: whoever closes did not see this one
            listener.end()
        try:
            await websocket.accept()
            link.send_at_once()
            await self._converse(connection)
        except WebSocketDisconnect:
            pass  # it left in the middle of the handshake
        finally:
            feed.remove(listener)
            if feed.empty and self._feeds.get(handle.name) is feed:
                del self._feeds[handle.name]
            self._connections.discard(connection)
            connection.gone.set()

    async def _admit(self, websocket: WebSocket) -> tuple[Listener, SessionHandle]:
        rooms = self._rooms
        rooms.guard.check(Source.of(websocket.scope))
        grant = grant_of(rooms.guard, websocket)
        wanted = websocket.query_params.get("session") or websocket.headers.get("x-greenroom-session")
        default = rooms.default_session
        name = wanted or grant.session_or(default)
        grant.require_session(name)
        config = rooms.house.config.value
        if self._closing:
            raise Unavailable("the server is shutting down")
        if len(self._connections) >= config.server.max_clients:
            raise Busy("too many clients are connected")
        handle = await rooms.sessions.get(name)
        state = await handle.state()
        feed = self._feeds.get(name)
        if feed is None or feed.handle is not handle:
            self._feeds[name] = Feed(handle, state, _HELD * config.limits.outbox_bytes, rooms.discretion)
        order = websocket.query_params.get("order")
        if order not in ("documented", "live"):
            order = config.jaison.order
        listener = Listener(grant.access, documented=order == "documented", limit_chars=config.limits.outbox_bytes)
        return listener, handle

    async def _converse(self, connection: _Connection) -> None:
        loop = asyncio.get_running_loop()
        reading = loop.create_task(_read(connection.websocket, self._rooms.rates.bucket()), name="websocket: read")
        writing = loop.create_task(_write(connection), name="websocket: write")
        slow = loop.create_task(connection.listener.slow.wait(), name="websocket: too slow")
        try:
            await asyncio.wait({reading, writing, slow}, return_when=asyncio.FIRST_COMPLETED)
            if slow.done() and not reading.done():
                # The writer may be stuck in a frame that the peer does not take: then it cannot be told why.
                await asyncio.wait({reading, writing}, timeout=_CLOSE_S, return_when=asyncio.FIRST_COMPLETED)
                if not writing.done():
                    connection.link.abort()
        finally:
            for task in (reading, writing, slow):
                task.cancel()
            await asyncio.gather(reading, writing, slow, return_exceptions=True)


class _Endpoint:
    """An ASGI application of its own: what Starlette wraps around a function hides the connection below."""

    def __init__(self, door: BroadcastDoor) -> None:
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Only ``receive`` is still the server's own.
        link = Link(receive)  # type: ignore[arg-type]
        await self._door.serve(WebSocket(scope, receive, send), link)


async def _read(websocket: WebSocket, rate: TokenBucket) -> None:
    """What clients send is not read; only that they leave, or send too much of it."""
    while (await websocket.receive())["type"] != "websocket.disconnect":
        if not rate.take():
            await websocket.close(_TRY_AGAIN, "too many messages")
            return


async def _write(connection: _Connection) -> None:
    websocket, listener = connection.websocket, connection.listener
    try:
        while (text := await listener.next()) is not None:
            await websocket.send_text(text)
        slow = listener.slow.is_set()
        if slow:
            logger.info("websocket %s is closed: too slow", listener.client_id)
        code, reason = (_TRY_AGAIN, "too slow") if slow else (_GOING_AWAY, "the server is shutting down")
        async with asyncio.timeout(_CLOSE_S):
            await websocket.close(code, reason)
    except TimeoutError:
        connection.link.abort()
    except WebSocketDisconnect:
        pass


async def _all_gone(connections: Sequence[_Connection], seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            for connection in connections:
                await connection.gone.wait()


async def _deny(websocket: WebSocket, error: GreenroomError) -> None:
    """Refuse the handshake, with a reason where the server can say one."""
    response: Response = failure(error)
    if "websocket.http.response" in websocket.scope.get("extensions", {}):
        await websocket.send_denial_response(response)
    elif websocket.application_state is WebSocketState.CONNECTING:
        await websocket.close()
