"""Readers that stop reading, crowds, and closing with both around."""

import asyncio
import socket
import tracemalloc
from types import TracebackType
from typing import Self

import aiohttp
import pytest

from fakes.running_door import Client, RawClient, RunningDoor, running_door
from greenroom.doors.socketio import Limits
from greenroom.protocol.events import AudioChunk

AUDIO = bytes(9600)


class StalledReader:
    """Joins the session and never reads again: soon its TCP window is zero."""

    def __init__(self, server: RunningDoor) -> None:
        self._port = server.port
        self._socket = socket.socket()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._socket.setblocking(False)
        await loop.sock_connect(self._socket, ("127.0.0.1", self._port))
        await loop.sock_sendall(
            self._socket,
            b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\n"
            b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n",
        )
        await self._read_until(b"maxPayload")
        await self.send(b'40{"session":"main"}')
        await self._read_until(b"session_joined")
        return self

    async def _read_until(self, mark: bytes) -> None:
        seen = b""
        while mark not in seen:
            seen += await asyncio.get_running_loop().sock_recv(self._socket, 4096)

    async def send(self, frame: bytes) -> None:
        masked = bytes([0x81, 0x80 | len(frame), 0, 0, 0, 0]) + frame
        await asyncio.get_running_loop().sock_sendall(self._socket, masked)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()


def talk(server: RunningDoor, chunks: int) -> None:
    session = server.sessions.main
    for index in range(chunks):
        session.log.append(
            AudioChunk(
                job_id="j", index=index, part=0, audio=AUDIO, sr=48_000, sw=2, ch=1, t_ms=0, duration_ms=100, volumes=[]
            )
        )


async def follow(client: Client, last_seq: int) -> None:
    """Read up to that event; every number comes once, in order."""
    heard = await client.until(lambda event: event[1].get("seq") == last_seq and event[0] == "audio_chunk")
    numbers = [data["seq"] for name, data in heard if name == "audio_chunk"]
    assert numbers == list(range(numbers[0], last_seq + 1))


async def test_a_reader_that_stops_is_told_to_go_and_hurts_nobody() -> None:
    limits = Limits(close_timeout_s=0.05)
    async with running_door(limits=limits, log_bytes=40_000, send_buffer=16_384) as server, Client(server) as good:
        await good.connect({"session": "main"})
        async with StalledReader(server):
            await good.next("session_joined")
            first = server.sessions.main.forgotten
            for _ in range(250):
                talk(server, 2)
                await follow(good, server.sessions.main.log.seq)
            await first.get()
            assert server.door.counts.too_slow == 1
            assert server.sessions.main.log.listeners == 1
        talk(server, 2)
        await follow(good, server.sessions.main.log.seq)


async def test_a_stalled_reader_costs_little_memory() -> None:
    async with running_door(log_bytes=4 << 20, send_buffer=16_384) as server, StalledReader(server):
        talk(server, 600)
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            for _ in range(60):
                talk(server, 10)
                await asyncio.sleep(0)
            after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert after - before < 10 << 20


async def test_replies_that_nobody_reads_are_bounded() -> None:
    """It sends requests and reads no answer: the worker stops, the inbox fills, then it is closed."""
    limits = Limits(outbox_bytes=50_000, requests_burst=100_000, flood_burst=100_000, close_timeout_s=0.05)
    async with running_door(limits=limits, send_buffer=8192) as server, StalledReader(server) as stalled:
        request = b'421["select_model",{"model_name":"' + b"x" * 80 + b'"}]'
        sending = asyncio.create_task(_send_forever(stalled, request))
        await server.sessions.main.forgotten.get()
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        assert server.door.counts.too_slow == 1


async def _send_forever(stalled: StalledReader, frame: bytes) -> None:
    while True:
        await stalled.send(frame)
        await asyncio.sleep(0)


async def test_a_dead_peer_is_found_by_its_missing_pong() -> None:
    limits = Limits(ping_interval_s=0.05, ping_timeout_s=0.1)
    async with running_door(limits=limits, send_buffer=8192) as server, StalledReader(server):
        talk(server, 20)
        await server.sessions.main.forgotten.get()
        assert server.door.clients == 0


async def test_a_crowd_talks_and_half_of_it_drops_in_the_middle() -> None:
    async with running_door(log_bytes=8 << 20) as server:
        clients = [RawClient(server) for _ in range(100)]
        try:
            await asyncio.gather(*(client.open() for client in clients))
            await asyncio.gather(*(client.join({"session": "main"}) for client in clients))
            assert server.door.clients == 100
            await asyncio.gather(*(client.send('421["response",{"text":"hi"}]') for client in clients))
            for client in clients[::2]:
                await client.ack(1)
                client.drop()
            session = server.sessions.main
            for client in clients[1::2]:
                frame = ""
                while f'"seq":{session.log.seq}}}' not in frame:
                    frame = await client.frame()
            gone: set[str] = set()
            while len(gone) < 50:  # each is forgotten when it is lost, and again when its worker has ended
                gone.add(await session.forgotten.get())
            assert len(session.executed) == 100
            assert len(session.callers) == 50
            assert server.door.clients == 50
        finally:
            await asyncio.gather(*(client.__aexit__(None, None, None) for client in clients))


async def test_closing_does_not_wait_for_those_who_do_not_read() -> None:
    async with running_door(send_buffer=16_384) as server, Client(server) as good:
        await good.connect({"session": "main"})
        async with StalledReader(server), StalledReader(server):
            talk(server, 30)
            await server.door.close("shutdown", "good night", flush_s=0.1)
            assert (await good.next("closing"))[1] == {"code": "shutdown", "message": "good night"}
            assert server.door.clients == 0
        async with RawClient(server) as late:
            with pytest.raises(aiohttp.ClientError):
                await late.open()
            assert server.door.clients == 0
