"""What a stranger can make the HTTP server hold, or wait for, before anybody has looked at a token."""

import asyncio
import gc
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn

from greenroom.doors.asgi import Receive, Scope, Send
from greenroom.http_bounds import MAX_FIELDS, MAX_HEAD_BYTES, MAX_IN_LINE, BoundedHttp, bounded_http
from greenroom.serving.descriptors import connections_for, raise_limit

PATIENCE_S = 20


class Application:
    """Answers once it may."""

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.asked = 0
        self.came = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked += 1
        self.came.set()
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            await receive()
            return
        await self.may_answer.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


class Peer:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, data: bytes) -> None:
        """As much of it as the server takes."""
        try:
            self.writer.write(data)
            await self.writer.drain()
        except ConnectionError:
            return

    async def rest(self) -> bytes:
        """All that is said until the server closes."""
        said = b""
        async with asyncio.timeout(PATIENCE_S):
            try:
                while piece := await self.reader.read(65_536):
                    said += piece
            except ConnectionError:
                pass
        return said

    async def answer(self) -> bytes:
        async with asyncio.timeout(PATIENCE_S):
            return await self.reader.readuntil(b"ok")


@asynccontextmanager
async def served(app: Any, kind: type[Any] = BoundedHttp) -> AsyncGenerator[Any, None]:
    """-> what opens a connection"""
    config = uvicorn.Config(app, http=kind, port=0, log_config=None, lifespan="off", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    opened: list[Peer] = []

    async def connect() -> Peer:
        port = server.servers[0].sockets[0].getsockname()[1]
        opened.append(Peer(*await asyncio.open_connection("127.0.0.1", port)))
        return opened[-1]

    if not config.loaded:
        config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    try:
        yield connect
    finally:
        for peer in opened:
            peer.writer.close()
        server.should_exit = True
        await server.shutdown()


HEAD = b"GET / HTTP/1.1\r\nHost: localhost\r\n"


async def test_a_usual_request_and_the_next_on_the_same_connection() -> None:
    async with served(Application()) as connect:
        peer = await connect()
        for _ in range(3):
            await peer.send(HEAD + b"X-Long: " + b"a" * 30_000 + b"\r\n\r\n")
            assert (await peer.answer()).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "endless",
    [
        b"X-Long: " + b"a" * 4 * MAX_HEAD_BYTES,
        b"".join(b"X-%d: %s\r\n" % (number, b"a" * 1000) for number in range(MAX_FIELDS - 10)),
        b"a: b\r\n" * (MAX_FIELDS + 1),
    ],
    ids=["one field", "many fields", "tiny fields"],
)
async def test_a_head_has_its_bounds(endless: bytes) -> None:
    app = Application()
    async with served(app) as connect:
        peer = await connect()
        await peer.send(HEAD)
        await peer.send(endless)
        said = await peer.rest()
        assert said == b"" or said.startswith(b"HTTP/1.1 400")
    assert app.asked == 0


async def test_an_endless_address() -> None:
    async with served(Application()) as connect:
        peer = await connect()
        await peer.send(b"GET /" + b"a" * 8 * MAX_HEAD_BYTES)
        said = await peer.rest()
        assert said == b"" or said.startswith(b"HTTP/1.1 4")


async def test_endless_trailers_behind_a_body() -> None:
    app = Application()
    app.may_answer.clear()
    async with served(app) as connect:
        peer = await connect()
        await peer.send(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX: ")
        await app.came.wait()
        await peer.send(b"a" * 8 * MAX_HEAD_BYTES)
        assert await peer.rest() == b""


class Hasty(BoundedHttp):
    head_s = 0.1


@pytest.mark.parametrize("begun", [b"", b"GET /", HEAD, b"\r\n"])
async def test_who_does_not_ask_is_let_go(begun: bytes) -> None:
    async with served(Application(), Hasty) as connect:
        peer = await connect()
        await peer.send(begun)
        assert await peer.rest() == b""


async def test_who_waits_for_its_answer_is_not() -> None:
    app = Application()
    app.may_answer.clear()
    async with served(app, Hasty) as connect:
        peer, idle = await connect(), await connect()
        await peer.send(HEAD + b"\r\n")
        await app.came.wait()
        assert await idle.rest() == b""  # the clock of this one, which began later, has run out
        app.may_answer.set()
        assert (await peer.answer()).startswith(b"HTTP/1.1 200")


async def test_what_is_left_of_a_body_must_come_in_time() -> None:
    async with served(Application(), Hasty) as connect:
        peer = await connect()
        await peer.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nx")
        assert (await peer.answer()).startswith(b"HTTP/1.1 200")
        await peer.send(b"x")
        assert await peer.rest() == b""


async def test_a_websocket_is_not_timed() -> None:
    app = Application()
    async with served(app, Hasty) as connect:
        peer, idle = await connect(), await connect()
        await peer.send(
            HEAD + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
        )
        async with asyncio.timeout(PATIENCE_S):
            assert (await peer.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
        assert await idle.rest() == b""
        gc.collect()
        assert not [one for one in gc.get_objects() if isinstance(one, Hasty)], (
            "the connection is the websocket's alone"
        )
        await peer.send(b"\x89\x80\0\0\0\0")  # a ping
        async with asyncio.timeout(PATIENCE_S):
            assert await peer.reader.readexactly(2) == b"\x8a\0"


async def test_few_requests_stand_in_line() -> None:
    app = Application()
    app.may_answer.clear()
    async with served(app) as connect:
        peer = await connect()
        await peer.send((HEAD + b"\r\n") * (MAX_IN_LINE + 2))
        assert await peer.rest() == b""
    assert app.asked == 1


async def test_no_more_connections_than_there_may_be() -> None:
    app = Application()
    async with served(app, bounded_http(2)) as connect:
        peers = [await connect() for _ in range(2)]
        for peer in peers:
            await peer.send(HEAD + b"\r\n")
            await peer.answer()
        assert await (await connect()).rest() == b""


def test_room_for_what_lasts() -> None:
    assert raise_limit() == raise_limit() >= 256
    assert connections_for(65_536) == 32_640
    assert connections_for(100) == 64
