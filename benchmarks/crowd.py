"""A hundred sessions that speak at once: whether anything comes late, what each costs, and what it leaves in memory."""

import asyncio
import time
from dataclasses import dataclass

from benchmarks.figures import Figure, Report, spread
from benchmarks.lateness import Lateness
from benchmarks.plan import Plan, metronome
from benchmarks.serving import Server, cpu_s, serving, temporary_home, waited_s
from benchmarks.speaking import ENDLESS, bare_server
from benchmarks.wire import Wire

SESSIONS = 100
_BEGINNING_S = 2.0
"""over which the answers begin, as people do not all ask at once"""
_SILENCE_S = 70.0
"""a session in which nothing happens for a minute lets go of its sound, and the server gives the memory back"""
_SETTLED_S = 4.0
"""after which the sound that is sent ahead has been sent"""


@dataclass(frozen=True, slots=True)
class Watched:
    each_ms: float
    """CPU of the server for one client, milliseconds a second"""
    events_per_s: float
    reader_share: float
    """cores that the reading process used"""
    starved_share: float
    """of the time, the server was ready to run and had no core"""


async def run(plan: Plan) -> Report:
    seconds = plan.choose(30.0, 10.0)
    bare = await _bare(seconds)
    with temporary_home({"operations": metronome(ENDLESS)}, ["metronome"]) as home:
        async with serving(home) as server:
            before = server.resident_mb()
            ears = [Lateness() for _ in range(SESSIONS)]
            wires = [await Wire.join(server.port, {"session": f"seat {n}"}, ear.heard) for n, ear in enumerate(ears)]
            idle = (server.resident_mb() - before) / SESSIONS
            watched = await _spoken(server, wires, ears, seconds)
            await asyncio.sleep(_SILENCE_S)
            after = (server.resident_mb() - before) / SESSIONS
            for wire in wires:
                wire.close()
    text = [value for ear in ears for value in ear.text]
    sound = [value for ear in ears for value in ear.sound]
    report = Report(
        [
            spread(f"lateness of text, {SESSIONS} speaking sessions", "ms", text, {"p99": 100}),
            spread(f"lateness of sound, {SESSIONS} speaking sessions", "ms", sound, {"p99": 100}),
            Figure(f"server CPU of each of {SESSIONS} speaking sessions", "ms/s", {"": watched.each_ms}, {"": 6}),
            Figure(f"bare python-socketio, each of {SESSIONS} clients", "ms/s", {"": bare.each_ms}),
            Figure("memory of an idle session with its client", "MB", {"": idle}, {"": 2}),
            Figure(f"the same when it has spoken for {seconds + 6:g} s and is idle again", "MB", {"": after}, {"": 2}),
        ]
    )
    report.notes.append(
        f"{watched.events_per_s:.0f} events a second; the reading process used {watched.reader_share:.0%} of a core; "
        f"the server was ready to run and had no core for {watched.starved_share:.1%} of the time"
    )
    return report


async def _spoken(server: Server, wires: list[Wire], ears: list[Lateness], seconds: float) -> Watched:
    for wire in wires:
        wire.emit("response", {"text": "Speak.", "include_audio": True})
        await asyncio.sleep(_BEGINNING_S / SESSIONS)
    await asyncio.sleep(_SETTLED_S)
    watched = await _watch(server.pid, ears, seconds)
    for wire in wires:
        wire.emit("interrupt", {})
    return watched


async def _bare(seconds: float) -> Watched:
    async with bare_server() as (pid, port):
        wires = [await Wire.join(port, {}, lambda _: None) for _ in range(SESSIONS)]
        watched = await _watch(pid, [], seconds)
        for wire in wires:
            wire.close()
    return watched


async def _watch(pid: int, ears: list[Lateness], seconds: float) -> Watched:
    events, own_cpu, waited = sum(ear.events for ear in ears), time.process_time(), waited_s(pid)
    cpu, at = cpu_s(pid), time.monotonic()
    await asyncio.sleep(seconds)
    passed = time.monotonic() - at
    return Watched(
        (cpu_s(pid) - cpu) * 1000 / passed / SESSIONS,
        (sum(ear.events for ear in ears) - events) / passed,
        (time.process_time() - own_cpu) / passed,
        (waited_s(pid) - waited) / passed,
    )
