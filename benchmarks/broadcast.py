"""One event to 100 websocket clients: the door's way of sending against python-socketio's emit to a room.

Both servers run in this process, one after the other, over the same uvicorn settings; the clients run in a process of
their own, read everything and do nothing with it. What is compared is the server's CPU time and the wall time for the
same events, text chunks and 9.6 kB of audio. Run: ``python benchmarks/broadcast.py [--clients 100] [--events 400]``
"""

import argparse
import asyncio
import json
import multiprocessing
import socket
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import socketio
import uvicorn

from greenroom.doors.safety import Guard
from greenroom.doors.socketio import SocketDoor
from greenroom.doors.web import uvicorn_settings
from greenroom.protocol.commands import Command
from greenroom.protocol.events import AudioChunk, Event, TextChunk, payload
from greenroom.session.handle import Caller, Reply
from greenroom.session.replay import ReplayLog

BUDGET_RATIO = 1.3
BUDGET_DELAY_MS = 1.0
BUDGET_EVENT_US = 60.0
WINDOW = 20
"""events on their way at once: as a turn sends them, no avalanche"""
Emit = Callable[[Event], Awaitable[None]]


class Stage:
    """The least that a session can be."""

    name = "main"

    def __init__(self) -> None:
        self.log = ReplayLog(8 << 20)

    async def execute(self, command: Command, caller: Caller) -> Reply:
        return {}

    async def state(self) -> Mapping[str, Any]:
        return {}

    def join(self, caller: Caller, *, plays: bool) -> None: ...
    def leave(self, client_id: str) -> None: ...
    def forget(self, client_id: str) -> None: ...


class Stages:
    def __init__(self) -> None:
        self.stage = Stage()

    async def get(self, name: str) -> Stage:
        return self.stage

    async def listing(self) -> list[dict[str, Any]]:
        return []


@dataclass(frozen=True)
class Figures:
    cpu_us: float
    """server CPU for one event to one client, microseconds"""
    wall_us: float


def read_frames(port: int, clients: int, pipe: "Connection[Any, Any]") -> None:
    asyncio.run(_read_frames(port, clients, pipe))


async def _read_frames(port: int, clients: int, pipe: "Connection[Any, Any]") -> None:
    """Bare sockets that look at frame lengths only, so that the readers cost the machine as little as can be."""
    streams = [await _join(port) for _ in range(clients)]
    pipe.send("ready")
    loop = asyncio.get_running_loop()
    while (task := await loop.run_in_executor(None, pipe.recv)) is not None:
        await asyncio.gather(*(_count(reader, task) for reader, _ in streams))
        pipe.send("done")
    for _, writer in streams:
        writer.close()


async def _join(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 22)
    writer.write(
        b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\n"
        b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
    )
    await reader.readuntil(b"\r\n\r\n")
    writer.write(_masked(b'40{"session":"main"}'))
    while not (await _frame(reader)).startswith(b"40"):
        pass
    return reader, writer


async def _count(reader: asyncio.StreamReader, events: int) -> None:
    while events:
        frame = await _frame(reader)
        if frame[:2] == b"42" or frame[:2] == b"45":
            events -= b"_chunk" in frame[:40]


async def _frame(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readexactly(2)
    size = head[1] & 127
    if size == 126:
        size = int.from_bytes(await reader.readexactly(2))
    elif size == 127:
        size = int.from_bytes(await reader.readexactly(8))
    return await reader.readexactly(size)


def _masked(data: bytes) -> bytes:
    return bytes([0x81, 0x80 | len(data), 0, 0, 0, 0]) + data


@asynccontextmanager
async def serving(app: Any) -> AsyncIterator[int]:
    # with its protocol named, since only then asyncio lets small packets out at once
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    listening.listen(1024)
    settings = {**uvicorn_settings(), "log_level": "warning"}
    server = uvicorn.Server(uvicorn.Config(app, **settings))
    task = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        await task


async def measure(port: int, clients: int, rounds: list[list[Event]], emit: Emit) -> list[Figures]:
    """Each round is a list of events of one kind."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=read_frames, args=(port, clients, there), daemon=True)
    process.start()
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, here.recv)
    found = []
    for events in rounds:
        cpu, wall = time.process_time(), time.perf_counter()
        for start in range(0, len(events), WINDOW):
            window = events[start : start + WINDOW]
            here.send(len(window))
            for event in window:
                await emit(event)
            await loop.run_in_executor(None, here.recv)
        sent = len(events) * clients
        found.append(Figures((time.process_time() - cpu) * 1e6 / sent, (time.perf_counter() - wall) * 1e6 / sent))
    here.send(None)
    await loop.run_in_executor(None, process.join)
    return found


def make_events(kind: str, count: int) -> list[Event]:
    if kind == "text":
        return [TextChunk(job_id="j" * 36, chunk="word ", index=index) for index in range(count)]
    pcm = bytes(range(256)) * 38
    return [
        AudioChunk(
            job_id="j" * 36, index=index, part=0, audio=pcm[:9600], sr=48_000, sw=2, ch=1, t_ms=100.0 * index,
            duration_ms=100.0, volumes=[0.25] * 5,
        )
        for index in range(count)
    ]  # fmt: skip


async def door_figures(clients: int, rounds: list[list[Event]]) -> list[Figures]:
    stages = Stages()
    door = SocketDoor(stages, Guard())

    async def emit(event: Event) -> None:
        stages.stage.log.append(event)
        await asyncio.sleep(0)

    async with door, serving(door.asgi) as port:
        return await measure(port, clients, rounds, emit)


async def door_delays(events: list[Event]) -> list[float]:
    """From the log to the client that reads it, one event at a time, milliseconds; the reading is in it."""
    stages = Stages()
    found = []
    door = SocketDoor(stages, Guard())
    async with door, serving(door.asgi) as port:
        reader, writer = await _join(port)
        for event in events:
            begun = time.perf_counter()
            stages.stage.log.append(event)
            await _count(reader, 1)
            found.append((time.perf_counter() - begun) * 1000)
            await asyncio.sleep(0.001)
        writer.close()
    return sorted(found)


async def peer_figures(clients: int, rounds: list[list[Event]]) -> list[Figures]:
    peer = socketio.AsyncServer(async_mode="asgi", cors_allowed_origins="*")
    numbers = iter(range(1, 1 << 30))

    async def connected(sid: str, environ: dict[str, Any], auth: Any = None) -> None:
        await peer.enter_room(sid, "main")

    async def emit(event: Event) -> None:
        await peer.emit(event.name, {**payload(event), "session": "main", "seq": next(numbers)}, room="main")

    peer.on("connect", connected)
    async with serving(socketio.ASGIApp(peer)) as port:
        found = await measure(port, clients, rounds, emit)
    await peer.shutdown()
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--events", type=int, default=400)
    options = parser.parse_args()
    kinds = ("text", "audio")
    warm_up = [make_events("text", WINDOW)]
    rounds = warm_up + [make_events(kind, options.events) for kind in kinds]
    ours = asyncio.run(door_figures(options.clients, rounds))[1:]
    peers = asyncio.run(peer_figures(options.clients, rounds))[1:]
    alone = asyncio.run(door_figures(1, [make_events("text", WINDOW), make_events("text", 2000)]))[1]
    delays = asyncio.run(door_delays(make_events("text", 500)))
    result = {}
    for kind, our, peer in zip(kinds, ours, peers, strict=True):
        result[kind] = {"wall": round(peer.wall_us / our.wall_us, 2), "cpu": round(peer.cpu_us / our.cpu_us, 2)}
        print(
            f"{kind:5}  {options.clients} clients, {options.events} events: "
            f"door {our.wall_us:.1f} us ({our.cpu_us:.1f} us CPU), "
            f"emit to a room {peer.wall_us:.1f} us ({peer.cpu_us:.1f} us CPU) for each event and client: "
            f"{result[kind]['wall']:.2f} times faster, {result[kind]['cpu']:.2f} by CPU (budget {BUDGET_RATIO})"
        )
    p50, p99 = statistics.median(delays), delays[int(len(delays) * 0.99)]
    print(
        f"one client: {alone.cpu_us:.1f} us CPU an event "
        f"({alone.cpu_us / BUDGET_EVENT_US:.2f} of {BUDGET_EVENT_US:g} us); "
        f"log to client p50 {p50:.3f} ms ({p50 / BUDGET_DELAY_MS:.2f} of {BUDGET_DELAY_MS:g} ms), p99 {p99:.3f} ms"
    )
    print(
        json.dumps(
            {
                "broadcast_ratio": result,
                "broadcast_budget": BUDGET_RATIO,
                "event_cpu_of_budget": round(alone.cpu_us / BUDGET_EVENT_US, 3),
                "chunk_delay_of_budget": round(p50 / BUDGET_DELAY_MS, 3),
            }
        )
    )


if __name__ == "__main__":
    main()
