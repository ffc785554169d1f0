"""Barge-in: how long sound still comes after ``interrupt``, and how long the backend is still kept busy.

The audio is sent as fast as it is made (no lead limit), so that there is always some on its way when the interruption
comes, at a random moment. All times count from when the client gave ``interrupt`` to its socket.
"""

import asyncio
import random
import time

from benchmarks.figures import Figure, Report, spread
from benchmarks.plan import Plan, default_filters
from benchmarks.serving import Backend, fake_backend, serving, temporary_home
from benchmarks.wire import Wire

_AFTERMATH_S = 0.2
_CLOSED_S = 0.1
"""what the backend has finished by then, it may have"""


async def run(plan: Plan) -> Report:
    turns = plan.choose(150, 10)
    quiet: list[float] = []
    closed: list[float] = []
    ended: list[float] = []
    missed = 0
    async with fake_backend() as backend:
        config = {"operations": [*backend.operations(), *default_filters()], "turn": {"audio_lead_ms": 0}}
        with temporary_home(config) as home:
            async with serving(home) as server:
                wire = await Wire.join(server.port, {"session": "rig"})
                await _turn(wire, backend)
                for _ in range(turns):
                    last_audio_ms, closed_ms, ended_ms, open_still = await _turn(wire, backend)
                    quiet.append(last_audio_ms)
                    closed += closed_ms
                    ended.append(ended_ms)
                    missed += open_still
                wire.close()
    return Report(
        [
            spread("interrupt to the last audio chunk", "ms", quiet, {"p99": 20}),
            spread("interrupt to the backend's connections closed", "ms", closed, {"p99": 100}),
            spread("interrupt to the end of the job", "ms", ended, {"p99": 100}),
            Figure("requests that the backend still served", "", {"": missed}, {"": 0}),
        ]
    )


async def _turn(wire: Wire, backend: Backend) -> tuple[float, list[float], float, int]:
    """-> milliseconds to the last audio, to each connection's end and to the job's; requests that were not ended"""
    await backend.clear()
    wire.emit("response", {"text": "Give me an answer of 3000 tokens, please.", "include_audio": True})
    await wire.until("audio_chunk")
    await asyncio.sleep(random.uniform(0.05, 1.0))
    while not wire.events.empty():
        wire.events.get_nowait()
    at = wire.emit("interrupt", {})
    last_audio, ended = at, 0.0
    until = time.monotonic() + _AFTERMATH_S
    while (left := until - time.monotonic()) > 0 or not ended:
        try:
            event = await asyncio.wait_for(wire.events.get(), max(left, 10.0 if not ended else 0.0))
        except TimeoutError:
            break
        if event.name == "audio_chunk":
            last_audio = event.at
        elif event.name == "job_finished":
            ended = event.at
    log = await backend.log()
    cut = [exchange for exchange in log if exchange.finished is None or exchange.finished > at + _CLOSED_S]
    lost = [(exchange.lost - at) * 1000 for exchange in cut if exchange.lost is not None]
    return (last_audio - at) * 1000, lost, (ended - at) * 1000, len(cut) - len(lost)
