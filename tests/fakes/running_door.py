"""A Socket.IO door over fake sessions behind a real uvicorn, and clients that do as they please."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import socketio
import uvicorn
from prometheus_client import CollectorRegistry

from fakes.session import FakeSessions
from fakes.started import started
from greenroom.doors.safety import Guard
from greenroom.doors.socketio import Limits, SocketDoor
from greenroom.doors.web import create_asgi_app, create_web_app, uvicorn_settings

Event = tuple[str, dict[str, Any]]


class Folders:
    """Assets of one personality and one binding."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root

    def personality_folder(self, language: str, category: str, name: str) -> Path | None:
        if self.root is None or (language, category, name) != ("english", "tests", "c# & co"):
            return None
        return self.root / "personality"

    def binding_folder(self, binding_id: str) -> Path | None:
        if self.root is None or binding_id not in ("eliza", "plain"):
            return None
        return self.root / binding_id


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()


@dataclass
class RunningDoor:
    door: SocketDoor
    sessions: FakeSessions
    registry: CollectorRegistry
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@asynccontextmanager
async def running_door(
    *,
    guard: Guard | None = None,
    limits: Limits | None = None,
    log_bytes: int = 1 << 20,
    folders: Path | None = None,
    send_buffer: int | None = None,
) -> AsyncIterator[RunningDoor]:
    """:param send_buffer: bytes of the kernel's buffer for each connection, so that a stalled reader is felt early."""
    guard = guard or Guard()
    sessions = FakeSessions(log_bytes)
    registry = CollectorRegistry()

    async def health() -> Mapping[str, Any]:
        return {"uptime_s": 1.0, "sessions": len(sessions.known)}

    listening = socket.socket()
    if send_buffer is not None:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", 0))
    async with SocketDoor(sessions, guard, limits=limits) as door:
        registry.register(door.collector())
        app = create_asgi_app(door.asgi, create_web_app(guard, Folders(folders), registry, health))
        server = _Server(
            uvicorn.Config(
                app,
                log_level="warning",
                timeout_graceful_shutdown=1,
                **uvicorn_settings(),
            )
        )
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        await started(server.ready, serving)
        try:
            yield RunningDoor(door, sessions, registry, listening.getsockname()[1])
        finally:
            await door.close("shutdown", "the test is over")
            server.should_exit = True
            await serving
            listening.close()


class Client:
    """python-socketio's client, with everything that it hears in one queue."""

    def __init__(self, server: RunningDoor, *, transports: list[str] | None = None) -> None:
        self._url = server.url
        self._transports = transports or ["websocket"]
        self._http = aiohttp.ClientSession()
        self.sio = socketio.AsyncClient(reconnection=False, http_session=self._http)
        self.heard: asyncio.Queue[Event] = asyncio.Queue()
        self.gone = asyncio.Event()
        self.refusal: Any = None
        self.sio.on("*", self._heard)
        self.sio.on("disconnect", self._disconnected)
        self.sio.on("connect_error", self._refused)

    async def _heard(self, event: str, data: Any = None) -> None:
        self.heard.put_nowait((event, data))

    async def _disconnected(self, *_: object) -> None:
        self.gone.set()

    async def _refused(self, data: Any = None) -> None:
        self.refusal = data

    async def connect(self, auth: Any = None, headers: dict[str, str] | None = None) -> Self:
        await self.sio.connect(self._url, headers=headers or {}, auth=auth, transports=self._transports)
        return self

    async def call(self, event: str, data: Any = None) -> Any:
        return await self.sio.call(event, data, timeout=60)

    async def next(self, *names: str) -> Event:
        """The next event of these names; others are passed over."""
        while True:
            event, data = await self.heard.get()
            if not names or event in names:
                return event, data

    async def until(self, end: Callable[[Event], bool]) -> list[Event]:
        found: list[Event] = []
        while True:
            found.append(await self.heard.get())
            if end(found[-1]):
                return found

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.sio.disconnect()
        await self.sio.shutdown()
        if self.sio.eio.ws is not None:
            await self.sio.eio.ws.close()
        await self._http.close()


class RawClient:
    """A websocket on which a test writes what it likes."""

    def __init__(self, server: RunningDoor) -> None:
        self._url = server.url
        self._http = aiohttp.ClientSession()
        self.ws: aiohttp.ClientWebSocketResponse

    async def open(self, headers: dict[str, str] | None = None) -> Self:
        url = f"{self._url}/socket.io/?EIO=4&transport=websocket"
        self.ws = await self._http.ws_connect(url, headers=headers, max_msg_size=0)
        opened = await self.ws.receive_str()
        assert opened[0] == "0"
        return self

    async def join(self, auth: Any = None) -> Self:
        await self.send("40" + ("" if auth is None else json.dumps(auth)))
        assert (await self.frame()).startswith("40{")
        return self

    def drop(self) -> None:
        """End the TCP connection without a word."""
        connection = self.ws._conn  # aiohttp has no public way to be rude
        assert connection is not None and connection.transport is not None
        connection.transport.abort()

    async def send(self, *frames: str | bytes) -> None:
        for frame in frames:
            if isinstance(frame, bytes):
                await self.ws.send_bytes(frame)
            else:
                await self.ws.send_str(frame)

    async def frame(self) -> str:
        """The next text frame; pings are answered, attachments passed over. Empty when the server has closed."""
        while True:
            message = await self.ws.receive()
            if message.type is aiohttp.WSMsgType.TEXT:
                if message.data == "2":
                    await self.ws.send_str("3")
                else:
                    return str(message.data)
            elif message.type is not aiohttp.WSMsgType.BINARY:
                return ""

    async def ack(self, number: int) -> dict[str, Any]:
        """The acknowledgement of that number."""
        prefix = f"43{number}["
        while True:
            frame = await self.frame()
            assert frame, "the server closed the connection"
            if frame.startswith(prefix):
                return dict(json.loads(frame[len(prefix) - 1 :])[0])

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if hasattr(self, "ws"):
            await self.ws.close()
        await self._http.close()
