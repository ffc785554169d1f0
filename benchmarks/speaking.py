"""What a speaking session costs: CPU, lateness with a hundred at once, memory of one that is idle.

Thirty tokens a second, text and sound (24 kHz, sent in real time behind the three seconds of lead) to one client. The
CPU is all of the server process, measured over whole windows in the middle of an answer. Its peer is a bare
python-socketio server that sends one client as many events of the same sizes: what of the CPU is waking up and sending.
"""

import asyncio
import sys
import time
from collections.abc import Callable
from typing import Any

from benchmarks import ROOT
from benchmarks.figures import Figure, Report, percentile, spread
from benchmarks.plan import SPEED, Plan, default_filters, metronome
from benchmarks.serving import Server, cpu_s, fake_backend, free_port, serving, temporary_home, waited_s
from benchmarks.wire import Received, Wire

SESSIONS = 100
_LEAD_MS = 3000.0
_ENDLESS = {"tokens_per_s": SPEED, "tokens": 1_000_000}


class Lateness:
    """How late each chunk of a metronome's answer comes; milliseconds.

    Text is late against the time at which its word was due at the backend. Sound is late against the time at which the
    playback clock, counted from its first chunk, lets it go.
    """

    def __init__(self) -> None:
        self.text: list[float] = []
        self.audio: list[float] = []
        self.events = 0
        self._begin = 0.0
        self._words = 0
        self._first_audio = 0.0

    def heard(self, event: Received) -> None:
        self.events += 1
        if event.name == "text_chunk":
            chunk: str = event.data["chunk"]
            if not self._begin:
                self._begin = float(chunk.split(" ", 1)[0])
                self._take(event.at)
            for _ in range(chunk.count(" ")):
                self._take(event.at)
        elif event.name == "audio_chunk":
            if not self._first_audio:
                self._first_audio = event.at
            due = self._first_audio + max(0.0, event.data["t_ms"] - _LEAD_MS) / 1000
            self.audio.append((event.at - due) * 1000)

    def _take(self, at: float) -> None:
        self.text.append((at - self._begin - self._words / SPEED) * 1000)
        self._words += 1


async def run(plan: Plan) -> Report:
    report = Report()
    bare = await _bare_cpu(plan)
    with temporary_home({"operations": metronome(_ENDLESS)}, ["metronome"]) as home:
        async with serving(home) as server:
            wire = await Wire.join(server.port, {"session": "one"})
            found = await _cpu(server, wire, {"text": "Speak.", "include_audio": True}, plan)
            report.figures.append(
                _cpu_figure("server CPU of a speaking session, without the backend's client", found, 6)
            )
            report.figures.append(_cpu_figure("the same events from a bare python-socketio server", bare))
            times = percentile(found, 0.5) / percentile(bare, 0.5)
            report.figures.append(
                Figure("a speaking session against bare python-socketio", "times the CPU", {"": times})
            )
            await _silence(wire)
            await _hundred(server, report, plan)
    async with fake_backend() as backend:
        with temporary_home({"operations": [*backend.operations(), *default_filters()]}) as home:
            async with serving(home) as server:
                wire = await Wire.join(server.port, {"session": "one"})
                asked = {"text": "Give me an answer of 100000 tokens, please.", "include_audio": True}
                found = await _cpu(server, wire, asked, plan)
                report.figures.append(_cpu_figure("server CPU of a speaking session, with openai", found, 10))
                await _silence(wire)
    return report


def _cpu_figure(what: str, found: list[float], limit: float | None = None) -> Figure:
    measured = {"p50": percentile(found, 0.5), "max": max(found)}
    return Figure(what, "ms/s", measured, {} if limit is None else {"p50": limit}, note=f"n={len(found)} windows")


async def _bare_cpu(plan: Plan) -> list[float]:
    port = free_port()
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "benchmarks.bare", str(port), cwd=ROOT)
    try:
        while True:
            try:
                wire = await Wire.join(port, {}, lambda _: None)
                break
            except ConnectionRefusedError:
                await asyncio.sleep(0.1)
                if process.returncode is not None:
                    raise RuntimeError("the bare python-socketio server did not start") from None
        found = await _windows(lambda: cpu_s(process.pid), plan)
        wire.close()
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
    return found


async def _cpu(server: Server, wire: Wire, asked: dict[str, Any], plan: Plan) -> list[float]:
    """Milliseconds of CPU for each second, of several windows of one answer."""
    wire.emit("response", asked)
    await wire.until("audio_chunk")
    await asyncio.sleep(4)  # the lead has been sent: from here on sound goes out in real time
    return await _windows(server.cpu_s, plan)


async def _windows(clock: Callable[[], float], plan: Plan) -> list[float]:
    found = []
    for _ in range(plan.choose(6, 2)):
        cpu, at = clock(), time.monotonic()
        await asyncio.sleep(plan.choose(10.0, 5.0))
        found.append((clock() - cpu) * 1000 / (time.monotonic() - at))
    return found


async def _silence(wire: Wire) -> None:
    wire.emit("interrupt", {})
    await wire.until("job_finished")
    wire.close()


async def _hundred(server: Server, report: Report, plan: Plan) -> None:
    seconds = plan.choose(30.0, 10.0)
    before = server.resident_mb()
    ears = [Lateness() for _ in range(SESSIONS)]
    wires = [await Wire.join(server.port, {"session": f"crowd {n}"}, ear.heard) for n, ear in enumerate(ears)]
    idle = (server.resident_mb() - before) / SESSIONS
    for wire in wires:  # spread over two seconds, as people are
        wire.emit("response", {"text": "Speak.", "include_audio": True})
        await asyncio.sleep(2 / SESSIONS)
    await asyncio.sleep(4)
    cpu, at = server.cpu_s(), time.monotonic()
    events = sum(ear.events for ear in ears)
    own_cpu, waited = time.process_time(), waited_s(server.pid)
    await asyncio.sleep(seconds)
    passed = time.monotonic() - at
    each_ms = (server.cpu_s() - cpu) * 1000 / passed / SESSIONS
    rate = (sum(ear.events for ear in ears) - events) / passed
    reader = (time.process_time() - own_cpu) / passed
    waited_at_last = waited_s(server.pid)
    for wire in wires:
        wire.emit("interrupt", {})
    await asyncio.sleep(2)
    after = (server.resident_mb() - before) / SESSIONS
    for wire in wires:
        wire.close()
    text = [value for ear in ears for value in ear.text]
    audio = [value for ear in ears for value in ear.audio]
    report.figures += [
        spread(f"lateness of text, {SESSIONS} speaking sessions", "ms", text, {"p99": 100}),
        spread(f"lateness of sound, {SESSIONS} speaking sessions", "ms", audio, {"p99": 100}),
        Figure(f"server CPU of each of {SESSIONS} speaking sessions", "ms/s", {"": each_ms}, {"": 6}),
        Figure("memory of an idle session with its client", "MB", {"": idle}, {"": 2}),
        Figure(f"the same after {seconds + 6:g} s of speaking", "MB", {"": after}, {"": 2}),
    ]
    report.notes.append(
        f"{SESSIONS} sessions: {rate:.0f} events a second; the reading process used {reader:.0%} of a core"
    )
    if waited is not None and waited_at_last is not None:
        share = (waited_at_last - waited) / passed
        report.notes.append(f"meanwhile the server was ready to run and had no core for {share:.1%} of the time")
