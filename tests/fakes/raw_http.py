"""A small HTTP/1.1 server for fakes: little CPU, exact control over every byte and its time, and it notices a client
that hangs up the moment it does, which a framework would only see at its next write.

    bytes --Connection--> Request --handler(request, reply)--> bytes
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

_TLS_HANDSHAKE = 0x16
REASONS = {200: "OK", 302: "Found", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found"}


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    headers: Mapping[str, str]
    """names in lower case"""
    body: bytes
    connection: int
    """which connection of the server it came on, counted from 1"""
    query: str = ""

    def json(self) -> dict[str, Any]:
        value = json.loads(self.body or b"{}")
        return value if isinstance(value, dict) else {}


class Reply:
    """What a handler answers with: :meth:`whole`; or :meth:`start`, any number of :meth:`write`, and :meth:`end`."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self.room = asyncio.Event()
        self.room.set()

    def whole(self, body: bytes, content_type: str = "application/json", status: int = 200, **headers: str) -> None:
        more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        head = f"HTTP/1.1 {status} {REASONS.get(status, 'Error')}\r\ncontent-type: {content_type}\r\n{more}"
        self.transport.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)

    def json(self, value: Any, status: int = 200, **headers: str) -> None:
        self.whole(json.dumps(value).encode(), status=status, **headers)

    def start(self, content_type: str) -> None:
        head = f"HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ntransfer-encoding: chunked\r\n\r\n"
        self.transport.write(head.encode())

    def write(self, data: bytes) -> None:
        """One chunk, one write: sent at once."""
        self.transport.write(b"%x\r\n%b\r\n" % (len(data), data))

    def end(self) -> None:
        self.transport.write(b"0\r\n\r\n")

    def drop(self) -> None:
        """Hang up in the middle of what was begun."""
        self.transport.close()


Handler = Callable[[Request, Reply], Awaitable[None]]


class _Connection(asyncio.Protocol):
    def __init__(self, server: "RawHttpServer") -> None:
        self._server = server
        self._buffer = bytearray()
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._reply = Reply(transport)
        self._server.connections.add(self)
        self._server.empty.clear()
        self._server.connection_count += 1
        self._number = self._server.connection_count

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._buffer[0] == _TLS_HANDSHAKE:
            self._transport.close()
        else:
            self._next()

    def pause_writing(self) -> None:
        self._reply.room.clear()

    def resume_writing(self) -> None:
        self._reply.room.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.connections.discard(self)
        if not self._server.connections:
            self._server.empty.set()
        if self._task is not None:
            self._task.cancel()

    def close(self) -> None:
        self._transport.abort()

    def _next(self) -> None:
        if self._task is not None:
            return
        head_end = self._buffer.find(b"\r\n\r\n")
        if head_end < 0:
            return
        first, *lines = self._buffer[:head_end].decode("latin-1").split("\r\n")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        end = head_end + 4 + int(headers.get("content-length", "0"))
        if len(self._buffer) < end:
            return
        body = bytes(self._buffer[head_end + 4 : end])
        del self._buffer[:end]
        method, path, _ = first.split(" ", 2)
        path, _, query = path.partition("?")
        request = Request(method, path, headers, body, self._number, query)
        self._task = asyncio.get_running_loop().create_task(self._serve(request))

    async def _serve(self, request: Request) -> None:
        try:
            await self._server.handler(request, self._reply)
        finally:
            self._task = None
        self._next()


class RawHttpServer:
    """``async with RawHttpServer(handler) as server: server.port``"""

    def __init__(self, handler: Handler, port: int = 0) -> None:
        self.handler = handler
        self.port = port
        self.connections: set[_Connection] = set()
        self.connection_count = 0
        self.empty = asyncio.Event()
        self.empty.set()

    async def __aenter__(self) -> "RawHttpServer":
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for connection in list(self.connections):
            connection.close()
        await self.empty.wait()
        await self._server.wait_closed()
