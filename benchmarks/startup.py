"""From nothing to an answered ``response``: time, memory, and what was imported on the way.

The home is empty, so the configuration is the shipped one. The clock starts before the process does. The client
connects as soon as the port takes connections, asks at once, and asks again until an answer's first text has come
within its budget; then the clock stops. What the very first answer took is shown, too.
"""

import asyncio
import re
import time
from dataclasses import dataclass

from benchmarks.figures import Figure, Report, percentile
from benchmarks.plan import Plan
from benchmarks.serving import Server, free_port, ready, spawn, temporary_home
from benchmarks.wire import Received, Wire

HEAVY = ("openai", "numpy", "torch")
_IMPORT = re.compile(r"^import time:\s*(\d+) \|\s*(\d+) \|( *)(\S+)$", re.MULTILINE)
_POLL_S = 0.002
_BUDGET_MS = 20.0
"""of a first text, at p99"""
_START_S = 30.0


@dataclass(frozen=True, slots=True)
class Start:
    served_s: float
    """from the process's start to the first text of the first response that came within its budget"""
    cpu_s: float
    """CPU time until the very first text: what the start takes on a machine that has nothing else to do"""
    first_ms: float
    """from the very first response to its first text, eliza's own time in it"""
    served_ms: float
    """the same of the one that came within its budget"""
    audio_ms: float
    """from that response to its first sound"""
    resident_mb: float


async def run(plan: Plan) -> Report:
    await _once()  # writes the byte code, fills the page cache
    starts = [await _once() for _ in range(plan.choose(15, 4))]
    log = await _import_log()
    imported = sorted({name for name in HEAVY if re.search(rf"\| +{name}(\.|$)", log, re.MULTILINE)})
    served = [start.served_s for start in starts]
    figures = [
        Figure(
            "process start to a response served within its latency budget",
            "s",
            {"p50": percentile(served, 0.5), "max": max(served)},
            {"max": 1.0},
            note=f"default config, n={len(served)}",
        ),
        Figure(
            "CPU time of the server until its very first text",
            "s",
            {"p50": percentile([start.cpu_s for start in starts], 0.5), "min": min(start.cpu_s for start in starts)},
        ),
        _shown("that response to its first text, eliza's own time in it", [start.served_ms for start in starts]),
        _shown("the very first response to its first text", [start.first_ms for start in starts]),
        _shown(
            "that response to its first sound, eliza's pace and espeak's own time in it",
            [start.audio_ms for start in starts],
        ),
        Figure("resident after it", "MB", {"max": max(start.resident_mb for start in starts)}, {"max": 110}),
        Figure(f"heavy packages imported ({', '.join(HEAVY)})", "", {"": len(imported)}, {"": 0}),
    ]
    report = Report(figures)
    if not all(figure.passed for figure in figures):
        report.notes.append(import_breakdown(log))
    return report


def _shown(what: str, values: list[float]) -> Figure:
    return Figure(what, "ms", {"p50": percentile(values, 0.5), "max": max(values)})


async def _once() -> Start:
    with temporary_home() as home:
        begin = time.monotonic()
        server = await spawn(home, free_port())
        try:
            wire = await _first_connection(server, begin)
            text, first_ms = await _ask(wire)
            cpu = server.cpu_s()
            served_ms = first_ms
            while served_ms > _BUDGET_MS and time.monotonic() - begin < _START_S:
                wire.emit("interrupt", {})
                await wire.until("job_finished")
                text, served_ms = await _ask(wire)
            audio = await wire.until("audio_chunk")
            resident = server.resident_mb()
            wire.close()
        finally:
            await server.stop()
    audio_ms = served_ms + (audio.at - text.at) * 1000
    return Start(text.at - begin, cpu, first_ms, served_ms, audio_ms, resident)


async def _ask(wire: Wire) -> tuple[Received, float]:
    """-> the first text, and milliseconds to it"""
    asked = wire.emit("response", {"text": "Hello, who are you?", "include_audio": True})
    text = await wire.until("text_chunk")
    return text, (text.at - asked) * 1000


async def _first_connection(server: Server, begin: float) -> Wire:
    while True:
        try:
            return await Wire.join(server.port, {"session": "main"})
        except ConnectionRefusedError:
            if server.process.returncode is not None or time.monotonic() - begin > _START_S:
                raise RuntimeError(f"the server did not start: {server.logged()}") from None
            await asyncio.sleep(_POLL_S)


async def _import_log() -> str:
    """What Python says of every import from the start to an answered response."""
    with temporary_home() as home:
        server = await spawn(home, 0, "-X", "importtime")
        try:
            await ready(server)
            wire = await Wire.join(server.port, {"session": "main"})
            wire.emit("response", {"text": "Hello, who are you?", "include_audio": True})
            await wire.until("audio_chunk")
            wire.close()
        finally:
            await server.stop()
        return server.logged()


def import_breakdown(log: str, longest: int = 25) -> str:
    """The packages that cost most, each with all that it brought in, slowest first."""
    own: dict[str, int] = {}
    for self_us, _, _, name in _IMPORT.findall(log):
        package = ".".join(name.split(".")[: 2 if name.startswith("greenroom") else 1])
        own[package] = own.get(package, 0) + int(self_us)
    total = sum(own.values())
    lines = [f"imports: {total / 1000:.0f} ms in all (measured with -X importtime, which slows them); by package:"]
    for package in sorted(own, key=lambda name: -own[name])[:longest]:
        lines.append(f"  {own[package] / 1000:7.1f} ms  {package}")
    return "\n".join(lines)
