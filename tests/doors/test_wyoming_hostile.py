"""The Wyoming door and those who do as they please: it has bounds, says what is wrong, and nobody else notices."""

import asyncio
import contextlib
import gc
import json
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fakes.wyoming_client import Describe, Event, Ping, heard, wyoming
from greenroom.app import Greenroom, ServeOptions, open_greenroom, prepare
from greenroom.doors.rates import Rates
from greenroom.doors.wyoming.door import WyomingDoor
from greenroom.doors.wyoming.visitor import Visitor
from greenroom.doors.wyoming.wire import Incoming, Outgoing
from greenroom.errors import BadRequest, TooLarge
from greenroom.values import Role
from session.scene import CONFIG, SCRIPTED

PATIENCE_S = 30.0


@asynccontextmanager
async def greenroom_at(home: Path, config: str = CONFIG) -> AsyncGenerator[Greenroom, None]:
    (home / "config.yaml").write_text(config, encoding="utf-8")
    if not (home / "bindings").exists():
        (home / "bindings").symlink_to(SCRIPTED, target_is_directory=True)
    async with open_greenroom(prepare(ServeOptions(home=home), {})) as greenroom:
        yield greenroom
        await greenroom.close()


@asynccontextmanager
async def door_of(
    greenroom: Greenroom, *, send_buffer: int | None = None, rates: Rates | None = None, **limits: float
) -> AsyncGenerator[tuple[WyomingDoor, int], None]:
    """:param send_buffer: bytes of the kernel's buffer for each connection, so that a stalled reader is felt early."""
    listening = socket.socket()
    if send_buffer is not None:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    listening.setblocking(False)
    rooms = replace(greenroom.rooms, rates=rates) if rates else greenroom.rooms
    door = WyomingDoor(rooms, **limits)
    await door.open(listening)
    try:
        yield door, listening.getsockname()[1]
    finally:
        await door.close()
        listening.close()


@pytest.fixture
async def greenroom(tmp_path: Path) -> AsyncGenerator[Greenroom, None]:
    async with greenroom_at(tmp_path) as found:
        yield found


class Raw:
    """A connection on which a test writes what it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def answer(self, *pieces: bytes) -> tuple[dict[str, Any], bool]:
        """The data of the ``error`` that comes of these bytes, and whether the connection is closed behind it."""
        self.writer.write(b"".join(pieces))
        async with asyncio.timeout(PATIENCE_S):
            header = json.loads(await self.reader.readline())
            assert header["type"] == "error", header
            data: dict[str, Any] = json.loads(await self.reader.readexactly(header["data_length"]))
            return data, await self.ended()

    async def ended(self) -> bool:
        try:
            return await self.reader.read() == b""
        except ConnectionError:
            return True

    def close(self) -> None:
        self.writer.transport.abort()


@asynccontextmanager
async def raw(port: int, **socket_options: Any) -> AsyncGenerator[Raw, None]:
    connection = Raw(*await asyncio.open_connection("127.0.0.1", port, **socket_options))
    try:
        yield connection
    finally:
        connection.close()


CHUNK = {"rate": 16000, "width": 2, "channels": 1}


def line(kind: Any, data: Any = None, payload: bytes = b"", **more: Any) -> bytes:
    header = {"type": kind, **({} if data is None else {"data": data}), **more}
    if payload:
        header["payload_length"] = len(payload)
    return json.dumps(header).encode() + b"\n" + payload


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "bad_request"),
        (b"\n", "bad_request"),
        (b"[1, 2]\n", "bad_request"),
        (b"[" * 60_000 + b"\n", "bad_request"),
        (b'{"type": 7}\n', "bad_request"),
        (b"\xff\xfe\x00\n", "bad_request"),
        (b"x" * 70_000, "too_large"),
        (line("describe", data=[1]), "bad_request"),
        (line("describe", data_length=-1), "bad_request"),
        (line("describe", data_length=True), "bad_request"),
        (line("describe", data_length="9"), "bad_request"),
        (line("describe", data_length=10**12), "too_large"),
        (line("audio-chunk", CHUNK, payload_length=10**12), "too_large"),
        (line("describe", data_length=2) + b"{]", "bad_request"),
        (line("describe", data_length=2) + b"[]", "bad_request"),
        (line("ping", {"text": {"a": 1}}), "bad_request"),
        (line("audio-start", {"rate": "fast", "width": 2, "channels": 1}), "bad_request"),
        (line("audio-start", {"rate": 16000, "width": 2}), "bad_request"),
        (line("audio-chunk", {**CHUNK, "rate": 0}, b"xx"), "bad_request"),
        (line("audio-chunk", CHUNK, b"odd"), "bad_request"),
        (line("audio-start", CHUNK) + line("audio-start", CHUNK), "bad_request"),
        (line("audio-start", CHUNK) + line("audio-chunk", {**CHUNK, "rate": 8000}, b"xx"), "bad_request"),
        (line("synthesize", {"text": 5}), "bad_request"),
        (line("synthesize", {}), "bad_request"),
        (line("synthesize", {"text": "Hello", "voice": "bob"}), "bad_request"),
        (line("synthesize-chunk", {"text": "Hello"}), "bad_request"),
        (line("synthesize-start") + line("synthesize-start"), "bad_request"),
        (line("select-program", {"name": "x" * 300}), "bad_request"),
        (line("transcribe", {"transcript_names": ["x"] * 201}), "bad_request"),
    ],
    ids=lambda value: repr(value[:40]) if isinstance(value, bytes) else value,
)
async def test_what_is_no_request_is_told_and_ends_the_connection(greenroom: Greenroom, sent: bytes, code: str) -> None:
    async with door_of(greenroom) as (door, port), raw(port) as bad, wyoming(f"tcp://127.0.0.1:{port}") as good:
        answer, closed = await bad.answer(sent)
        assert answer["code"] == code and answer["text"] and closed
        await good.write_event(Ping(text="still here").event())
        assert (await heard(good, "pong")).data["text"] == "still here"
        assert door.clients == 1


async def test_what_is_too_long_is_refused(greenroom: Greenroom) -> None:
    async with door_of(greenroom) as (_, port):
        async with raw(port) as bad:
            answer, _ = await bad.answer(
                line("synthesize", data_length=70_021), json.dumps({"text": "x" * 70_009}).encode()
            )
            assert answer["code"] == "too_large"
        async with raw(port) as bad:
            pieces = [line("synthesize-chunk", {"text": "x" * 40_000})] * 2
            answer, _ = await bad.answer(line("synthesize-start"), *pieces)
            assert answer["code"] == "too_large"
        async with raw(port) as bad:
            answer, _ = await bad.answer(*[line("audio-chunk", CHUNK, b"x" * 1_000_000)] * 16)
            assert answer["code"] == "too_large"


async def test_what_is_not_known_is_passed_over(greenroom: Greenroom) -> None:
    async with door_of(greenroom) as (_, port), wyoming(f"tcp://127.0.0.1:{port}") as client:
        await client.write_event(Event("run-satellite", {"a": 1}, b"payload"))
        await client.write_event(Event("audio-stop"))
        await client.write_event(Event("synthesize-stop"))
        await client.write_event(Event("ping", {"text": "hi", "of tomorrow": True}))
        assert (await heard(client, "pong")).data["text"] == "hi"
        await client.write_event(Event("transcript", {"text": "  "}))
        await heard(client, "not-handled")


async def test_a_client_that_leaves_stops_its_work(greenroom: Greenroom) -> None:
    session = await greenroom.sessions.get("main")
    async with door_of(greenroom) as (door, port):
        async with raw(port) as leaving:
            leaving.writer.write(line("transcript", {"text": "hang"}))
            async with asyncio.timeout(PATIENCE_S):
                await leaving.reader.readuntil(b"hanging")
        async with asyncio.timeout(PATIENCE_S), wyoming(f"tcp://127.0.0.1:{port}") as other:
            while session.jobs.running is not None or door.clients > 1:
                await other.write_event(Ping().event())
                await heard(other, "pong")
    assert not session.in_use
    held = await session.operations.hold(Role.T2T)
    assert len(held.operation.engine.cancelled) == 1
    await held.release()


async def test_what_fails_halfway_may_be_sent_to_its_end(tmp_path: Path) -> None:
    """Its client has the error and the end of the answers, however much it goes on sending."""
    config = "operations: [{role: t2t, id: scripted}, {role: tts, id: scripted, broken: true}]\n"
    async with greenroom_at(tmp_path, config) as greenroom, door_of(greenroom) as (door, port):
        uri = f"tcp://127.0.0.1:{port}"
        async with wyoming(uri) as client:
            await client.write_event(Event("synthesize-start"))
            await client.write_event(Event("synthesize-chunk", {"text": "This is a sentence. And "}))
            assert "out of order" in (await heard(client, "error")).data["text"]
            await client.write_event(Event("synthesize-chunk", {"text": "another."}))
            await client.write_event(Event("synthesize-stop"))
            assert await client.read_event() is None
        async with wyoming(uri) as client:
            await client.write_event(Event("audio-chunk", CHUNK, b"xx"))
            assert "stt" in (await heard(client, "error")).data["text"]
            await client.write_event(Event("audio-chunk", CHUNK, bytes(64_000)))
            await client.write_event(Event("audio-stop"))
            assert await client.read_event() is None
        async with wyoming(uri) as client:
            await client.write_event(Event("synthesize", {"text": "Hello."}))
            await client.write_event(Event("transcript", {"text": "say on"}))
            assert "out of order" in (await heard(client, "error")).data["text"]
            assert await client.read_event() is None
        async with wyoming(uri) as client, asyncio.timeout(PATIENCE_S):
            while door.clients > 1:
                await client.write_event(Event("ping"))
                await heard(client, "pong")


async def test_requests_of_one_connection_are_answered_in_order_and_bounded(greenroom: Greenroom) -> None:
    async with door_of(greenroom) as (_, port):
        async with wyoming(f"tcp://127.0.0.1:{port}") as client:
            for text in ("say one", "say two", "say three"):
                await client.write_event(Event("transcript", {"text": text}))
            answers = [(await heard(client, "handled")).data["text"].strip() for _ in range(3)]
            assert answers == ["one", "two", "three"]
        async with raw(port) as flooding:
            flooding.writer.write(line("transcript", {"text": "hang"}) * 20)
            async with asyncio.timeout(PATIENCE_S):
                rest = await flooding.reader.read()
            assert b'"code": "busy"' in rest


async def test_a_client_that_does_not_read_is_let_go(greenroom: Greenroom) -> None:
    """It asked for minutes of speech, and reads nothing of them."""
    async with door_of(greenroom, send_buffer=8192, patience_s=0.2, rates=Rates(10**6, 10**6)) as (door, port):
        stalled = socket.socket()
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stalled.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(stalled, ("127.0.0.1", port))
        text = "These are many words that nobody will ever hear. " * 400
        await loop.sock_sendall(stalled, line("synthesize", data_length=len(json.dumps({"text": text}))))
        await loop.sock_sendall(stalled, json.dumps({"text": text}).encode())
        async with wyoming(f"tcp://127.0.0.1:{port}") as other, asyncio.timeout(PATIENCE_S):
            while True:
                await other.write_event(Ping().event())
                await heard(other, "pong")
                if door.clients == 1:
                    break
        stalled.close()


async def test_to_one_that_has_gone_nothing_is_written() -> None:
    """uvloop's transport raises ``RuntimeError`` for whatever is asked of it then."""

    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("the handler is closed")

    transport = SimpleNamespace(is_closing=lambda: True, set_write_buffer_limits=refuse)
    writer = SimpleNamespace(transport=transport, write=refuse, can_write_eof=refuse, write_eof=refuse)
    out = Outgoing(cast(Any, writer), patience_s=PATIENCE_S)
    with pytest.raises(ConnectionError):
        await out.send("pong")
    with pytest.raises(ConnectionError):
        out.end()


async def test_one_that_leaves_while_its_answer_fails_leaves_no_failure_unheard() -> None:
    unheard: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unheard.append(context))

    class Leaving:
        async def next(self) -> None:
            visitor._break(BrokenPipeError())
            raise ConnectionResetError

    visitor = Visitor(cast(Any, None), cast(Any, Leaving()), cast(Any, None), lambda: 0, 0, lambda: None)
    await visitor.run()
    gc.collect()
    assert not unheard


async def test_an_event_that_does_not_arrive_and_silence_end_the_connection(greenroom: Greenroom) -> None:
    async with door_of(greenroom, part_s=0.05) as (_, port), raw(port) as slow:
        answer, closed = await slow.answer(b'{"type": "des')
        assert answer["code"] == "too_slow" and closed
    async with door_of(greenroom, idle_s=0.05) as (_, port), raw(port) as silent, asyncio.timeout(PATIENCE_S):
        assert await silent.ended()


async def test_only_so_many_at_once(tmp_path: Path) -> None:
    async with (
        greenroom_at(tmp_path, f"{CONFIG}wyoming: {{max_clients: 1}}\n") as greenroom,
        door_of(greenroom) as (_, port),
        wyoming(f"tcp://127.0.0.1:{port}") as first,
    ):
        await first.write_event(Ping().event())
        await heard(first, "pong")
        async with raw(port) as second:
            answer, closed = await second.answer(b"")
            assert answer["code"] == "busy" and closed


async def test_closing_tells_everybody_and_ends_their_work(greenroom: Greenroom) -> None:
    async with door_of(greenroom) as (door, port):
        uri = f"tcp://127.0.0.1:{port}"
        async with wyoming(uri) as busy, wyoming(uri) as idle:
            await busy.write_event(Event("transcript", {"text": "hang"}))
            await heard(busy, "handled-chunk")
            await idle.write_event(Describe().event())
            await heard(idle, "info")
            await door.close()
            for client in (busy, idle):
                assert (await heard(client, "error")).data["code"] == "unavailable"
                assert await client.read_event() is None
            assert door.clients == 0


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=300), st.lists(st.integers(1, 40), max_size=6))
async def test_any_bytes_give_an_event_or_an_error(noise: bytes, cuts: list[int]) -> None:
    reader = asyncio.StreamReader(limit=128)
    for cut in cuts:
        reader.feed_data(noise[:cut])
        noise = noise[cut:]
    reader.feed_data(noise)
    reader.feed_eof()
    incoming = Incoming(reader, idle_s=5, part_s=5)
    with contextlib.suppress(BadRequest, TooLarge):
        while await incoming.next() is not None:
            pass
