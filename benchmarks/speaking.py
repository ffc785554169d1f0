"""What a speaking session costs: the server's CPU for each second of it.

Thirty tokens a second, text and sound (24 kHz, in real time behind the three seconds of lead) to one client; all of
the server process, over whole windows in the middle of an answer. The peer is a bare python-socketio server that sends
one client as many events of the same sizes: what of the CPU is waking up and sending. On a machine that sleeps between
two events, that is most of it.
"""

import asyncio
import sys
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

from benchmarks import ROOT
from benchmarks.figures import Figure, Report, percentile
from benchmarks.plan import SPEED, Plan, default_filters, metronome
from benchmarks.serving import Server, cpu_s, fake_backend, free_port, serving, temporary_home
from benchmarks.wire import Wire

ENDLESS = {"tokens_per_s": SPEED, "tokens": 1_000_000}


async def run(plan: Plan) -> Report:
    async with bare_server() as (pid, port):
        wire = await Wire.join(port, {}, lambda _: None)
        bare = await _windows(lambda: cpu_s(pid), plan)
        wire.close()
    with temporary_home({"operations": metronome(ENDLESS)}, ["metronome"]) as home:
        async with serving(home) as server:
            alone = await _speaking(server, "Speak.", plan)
    async with fake_backend() as backend:
        with temporary_home({"operations": [*backend.operations(), *default_filters()]}) as home:
            async with serving(home) as server:
                with_openai = await _speaking(server, "Give me an answer of 100000 tokens, please.", plan)
    return Report(
        [
            _figure("server CPU of a speaking session, without the backend's client", alone, {"p50": 6}),
            _figure("server CPU of a speaking session, with openai", with_openai, {"p50": 10}),
            _figure("the same events from a bare python-socketio server", bare, {}),
            _against("without the backend's client", alone, bare),
            _against("with openai", with_openai, bare),
        ]
    )


def _figure(what: str, found: list[float], limits: dict[str, float]) -> Figure:
    measured = {"p50": percentile(found, 0.5), "max": max(found)}
    return Figure(what, "ms/s", measured, limits, note=f"n={len(found)} windows")


def _against(what: str, found: list[float], bare: list[float]) -> Figure:
    times = percentile(found, 0.5) / percentile(bare, 0.5)
    return Figure(f"a speaking session against bare python-socketio, {what}", "times the CPU", {"p50": times})


@asynccontextmanager
async def bare_server() -> AsyncGenerator[tuple[int, int], None]:
    """-> process id and port of ``benchmarks.bare``, which sends to whoever connects"""
    port = free_port()
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "benchmarks.bare", str(port), cwd=ROOT)
    try:
        while True:
            try:
                (await Wire.join(port, {}, lambda _: None)).close()
                break
            except ConnectionRefusedError:
                await asyncio.sleep(0.1)
                if process.returncode is not None:
                    raise RuntimeError("the bare python-socketio server did not start") from None
        yield process.pid, port
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _speaking(server: Server, text: str, plan: Plan) -> list[float]:
    wire = await Wire.join(server.port, {"session": "one"})
    asked: dict[str, Any] = {"text": text, "include_audio": True}
    wire.emit("response", asked)
    await wire.until("audio_chunk")
    await asyncio.sleep(4)  # the lead has been sent: from here on sound goes out in real time
    found = await _windows(server.cpu_s, plan)
    wire.close()
    return found


async def _windows(clock: Callable[[], float], plan: Plan) -> list[float]:
    """Milliseconds of CPU for each second, window by window."""
    found = []
    for _ in range(plan.choose(6, 2)):
        cpu, at = clock(), time.monotonic()
        await asyncio.sleep(plan.choose(10.0, 5.0))
        found.append((clock() - cpu) * 1000 / (time.monotonic() - at))
    return found
