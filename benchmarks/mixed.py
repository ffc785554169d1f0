"""Clients of every door at once, in several sessions, for two minutes: whether anything is lost or comes in another
order, whether memory grows in the second minute, and how late it all is.

In each session one client of each kind asks in turn, and all that listen there hear every answer. The other streams of
OpenAI's door have no session. Wyoming's clients have all one, and ask for speech while they wait for their turn.
"""

import asyncio
import random
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import httpx
from websockets.asyncio.client import connect

from benchmarks.figures import Figure, Report, spread
from benchmarks.plan import Plan, metronome
from benchmarks.serving import Server, cpu_s, serving, temporary_home, waited_s
from benchmarks.wire import Received, Wire
from fakes.mixed_crowd import Account, FrameAccount, LineClient, Script, SocketAccount, StreamClient, same_order

WORDS: Final = 30
_SENTENCE: Final = (
    " The", " old", " stage", " light", " waits,", " and", " a", " voice", " carries", " far", " tonight.",
)  # fmt: skip
_SPEED: Final = 30.0
_BYTES_PER_S: Final = 48_000
"""of metronome's sound"""
_SLOPE_MB_PER_MIN: Final = 2.0
_SETTLED: Final = 1 / 2
"""share of the time in which caches and replay logs fill, and the allocator finds its shape"""


@dataclass(frozen=True, slots=True)
class Size:
    sessions: int
    sockets: int
    frames: int
    streams: int
    lines: int
    seconds: float

    @property
    def clients(self) -> int:
        return self.sockets + self.frames + self.streams + self.lines


FULL = Size(sessions=10, sockets=80, frames=60, streams=40, lines=20, seconds=120.0)
QUICK = Size(sessions=5, sockets=24, frames=18, streams=12, lines=6, seconds=15.0)


@dataclass(slots=True)
class Room:
    """One session, its listeners, and those of them who ask."""

    name: str
    sockets: list[SocketAccount] = field(default_factory=list)
    frames: list[FrameAccount] = field(default_factory=list)
    wire: Wire | None = None
    last: str = ""
    """the job behind all others"""


class Crowd:
    def __init__(self, size: Size, server: Server, wyoming_port: int, http: httpx.AsyncClient) -> None:
        self.size = size
        self._server = server
        self._wyoming_port = wyoming_port
        self._http = http
        self._script = Script.repeating(_SENTENCE, WORDS - 1, _SPEED)
        self.rooms = [Room("main" if not n else f"room {n}") for n in range(size.sessions)]
        self.streams: list[Account] = []
        self.lines: list[Account] = []
        self._wires: list[Wire] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._listening: list[asyncio.Task[None]] = []

    async def come(self) -> None:
        for n in range(self.size.sockets):
            room = self.rooms[n % len(self.rooms)]
            account = SocketAccount(self._script)
            room.sockets.append(account)
            wire = await Wire.join(self._server.port, {"session": room.name}, _into(account))
            self._wires.append(wire)
            room.wire = room.wire or wire
        for n in range(self.size.frames):
            room = self.rooms[n % len(self.rooms)]
            heard = FrameAccount(self._script)
            room.frames.append(heard)
            ready = asyncio.Event()
            self._listening.append(asyncio.create_task(self._listen(room.name, heard, ready)))
            await ready.wait()

    async def _listen(self, session: str, account: FrameAccount, ready: asyncio.Event) -> None:
        url = f"ws://127.0.0.1:{self._server.port}/?session={session.replace(' ', '%20')}"
        async with connect(url, ping_interval=None, compression=None) as socket:
            ready.set()
            async for text in socket:
                account.heard(str(text), time.monotonic())

    async def talk(self) -> None:
        """Everybody asks until the time is over; then the last answers are waited for."""
        until = time.monotonic() + self.size.seconds
        port = self._server.port
        async with asyncio.TaskGroup() as group:
            for room in self.rooms:
                group.create_task(_repeat(until, partial(self._by_socket, room)))
                group.create_task(_repeat(until, partial(self._by_rest, room)))
            for n in range(self.size.streams):
                bound = self.rooms[n].name if n < len(self.rooms) else None
                self.streams.append(Account(self._script))
                stream = await StreamClient.to(port, self.streams[-1], bound)
                group.create_task(_repeat(until, partial(stream.ask, "Speak."), stream.close))
            for _ in range(self.size.lines):
                self.lines.append(Account(self._script))
                line = await LineClient.to(self._wyoming_port, self.lines[-1])
                group.create_task(_repeat(until, partial(_by_line, line), line.close))
        for room in self.rooms:
            for listener in (*room.sockets, *room.frames):
                await listener.until_ended(await self._final(room))

    async def _by_socket(self, room: Room) -> None:
        assert room.wire is not None
        reply, _ = await room.wire.call("response", {"text": "Speak.", "include_audio": True})
        await room.sockets[0].until_ended(reply["job_id"])

    async def _by_rest(self, room: Room) -> None:
        session = {"session": room.name}
        line = {"user": "Ben", "content": "Speak.", "timestamp": time.time()}
        await self._http.post("/api/context/conversation/text", json=line, params=session)
        answer = await self._http.post("/api/response", json={"include_audio": True}, params=session)
        await room.frames[0].until_ended(answer.json()["response"]["job_id"])
        # jaison's clients are given the sound as fast as it is made, and play it before they ask again.
        await asyncio.sleep(room.frames[0].sound_bytes / _BYTES_PER_S)

    async def _final(self, room: Room) -> str:
        if not room.last:
            answer = await self._http.put("/api/context/config", params={"session": room.name}, json={})
            room.last = str(answer.json()["response"]["job_id"])
        return room.last

    def problems(self) -> list[str]:
        found = [problem for account in self.accounts() for problem in account.wrong]
        for room in self.rooms:
            found += same_order([*room.sockets, *room.frames])
        return found

    def accounts(self) -> list[Account]:
        heard: list[Account] = [*self.streams, *self.lines]
        for room in self.rooms:
            heard += [*room.sockets, *room.frames]
        return heard

    async def leave(self) -> None:
        for wire in self._wires:
            wire.close()
        for task in self._listening:
            task.cancel()
        await asyncio.gather(*self._listening, return_exceptions=True)


def _into(account: SocketAccount) -> Callable[[Received], None]:
    def heard(event: Received) -> None:
        account.heard(event.name, event.data, event.at)

    return heard


async def _repeat(until: float, ask: Callable[[], Awaitable[None]], close: Callable[[], None] = lambda: None) -> None:
    await asyncio.sleep(random.random())
    while time.monotonic() < until:
        await ask()
    close()


async def _by_line(line: LineClient) -> None:
    await line.speak("The curtain rises.")
    await line.ask("Speak.")


async def run(plan: Plan) -> Report:
    size = plan.choose(FULL, QUICK)
    config: dict[str, Any] = {
        "operations": metronome({"tokens": WORDS, "tokens_per_s": _SPEED}, {"ms_per_character": 3}),
        "session": {"replay_log_bytes": 256 << 10, "history_length": 20},
        "generation": {"max_parallel": max(1, size.streams)},
        "server": {"max_clients": 1000},
        "wyoming": {"max_clients": 1000},
        "limits": {"requests_per_s": 10_000, "requests_burst": 10_000},  # they come from one address
    }
    with temporary_home(config, ["metronome"]) as home:
        async with serving(home, "--wyoming", "tcp://127.0.0.1:0") as server:
            port = await _wyoming_port(server)
            async with httpx.AsyncClient(
                base_url=f"http://127.0.0.1:{server.port}",
                timeout=120,
                limits=httpx.Limits(max_connections=None, keepalive_expiry=2.0),
            ) as http:
                crowd = Crowd(size, server, port, http)
                try:
                    return await _measured(crowd, server)
                finally:
                    await crowd.leave()


async def _wyoming_port(server: Server) -> int:
    assert server.process.stdout is not None
    line = (await asyncio.wait_for(server.process.stdout.readline(), 30)).decode()
    found = re.search(r"tcp://[^:]+:(\d+) for wyoming", line)
    if found is None:
        raise RuntimeError(f"no address of Wyoming's door: {line}")
    return int(found[1])


async def _measured(crowd: Crowd, server: Server) -> Report:
    size = crowd.size
    await crowd.come()
    resident: list[tuple[float, float]] = []
    sampling = asyncio.create_task(_sample(server, resident))
    cpu, waited, own, at = cpu_s(server.pid), waited_s(server.pid), time.process_time(), time.monotonic()
    try:
        await crowd.talk()
    finally:
        sampling.cancel()
        await asyncio.gather(sampling, return_exceptions=True)
    passed = time.monotonic() - at
    accounts = crowd.accounts()
    problems = crowd.problems()
    turns = sum(len(room.sockets[0].ended) for room in crowd.rooms)
    slope = slope_per_min([one for one in resident if _SETTLED * size.seconds < one[0] - at < size.seconds])
    # In a quarter of a minute it is still filling its caches.
    slope_limits = {"": _SLOPE_MB_PER_MIN} if size.seconds >= FULL.seconds else {}
    late = {
        "Socket.IO, a word": [ms for room in crowd.rooms for one in room.sockets for ms in one.late_ms],
        "jaison's websocket, a sentence": [ms for room in crowd.rooms for one in room.frames for ms in one.late_ms],
        "OpenAI streams, a word": [ms for one in crowd.streams for ms in one.late_ms],
        "Wyoming, a word": [ms for one in crowd.lines for ms in one.late_ms],
    }
    report = Report(
        [
            Figure(f"{size.clients} clients: events lost, twice or in another order", "", {"": len(problems)}, {"": 0}),
            Figure("growth of the resident memory, warm", "MB/min", {"": slope}, slope_limits),
            *(spread(f"{name}, late by", "ms", values, {}) for name, values in late.items()),
            Figure("server CPU", "cores", {"": (cpu_s(server.pid) - cpu) / passed}),
            Figure("resident memory at the end", "MB", {"": resident[-1][1]}),
        ]
    )
    report.notes += [f"wrong: {problem}" for problem in problems[:10]]
    report.notes.append(
        f"{size.sockets} by Socket.IO, {size.frames} by jaison's websocket, {size.streams} streams of OpenAI's door, "
        f"{size.lines} by Wyoming, {size.sessions} sessions, {passed:.0f} s: {turns} jobs, "
        f"{sum(one.events for one in accounts) / passed:.0f} events a second; the reading process used "
        f"{(time.process_time() - own) / passed:.0%} of a core; the server was ready to run and had no core for "
        f"{(waited_s(server.pid) - waited) / passed:.1%} of the time"
    )
    return report


async def _sample(server: Server, resident: list[tuple[float, float]]) -> None:
    while True:
        resident.append((time.monotonic(), server.resident_mb()))
        await asyncio.sleep(1.0)


def slope_per_min(samples: list[tuple[float, float]]) -> float:
    """Least squares, of (seconds, value)."""
    mean_at = sum(at for at, _ in samples) / len(samples)
    mean = sum(value for _, value in samples) / len(samples)
    spread_at = sum((at - mean_at) ** 2 for at, _ in samples)
    return 60 * sum((at - mean_at) * (value - mean) for at, value in samples) / spread_at if spread_at else 0.0
