"""SIGTERM in the middle of an answer, with clients connected: everyone told, everything saved, gone."""

import asyncio
import signal
import time

from benchmarks.figures import Figure, Report, spread
from benchmarks.plan import Plan, metronome
from benchmarks.serving import Server, serving, temporary_home
from benchmarks.wire import Received, Wire

CLIENTS = 20
_QUESTION = "What will be left of this?"


async def run(plan: Plan) -> Report:
    gone: list[float] = []
    untold = unsaved = 0
    for _ in range(plan.choose(10, 3)):
        with temporary_home({"operations": metronome({"tokens": 1_000_000})}, ["metronome"]) as home:
            async with serving(home) as server:
                took, told = await _stopped(server)
            gone.append(took)
            untold += CLIENTS - told
            async with serving(home) as again:
                unsaved += not await _saved(again)
    return Report(
        [
            spread("SIGTERM with a turn running, to the end of the process", "s", gone, {"p99": 2}),
            Figure("clients that were not told", "", {"": untold}, {"": 0}, note=f"{CLIENTS} each time"),
            Figure("restarts without the lines of the conversation", "", {"": unsaved}, {"": 0}),
        ]
    )


async def _stopped(server: Server) -> tuple[float, int]:
    """-> seconds until the process was gone; clients that heard of the turn's end and of the closing"""
    heard: list[list[Received]] = [[] for _ in range(CLIENTS)]
    wires = [await Wire.join(server.port, {"session": "hall"}, events.append) for events in heard]
    wires[0].emit("response", {"text": _QUESTION, "include_audio": True})
    await asyncio.sleep(3)
    begin = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    await asyncio.wait_for(server.process.wait(), 30)
    took = time.monotonic() - begin
    for wire in wires:
        await asyncio.wait_for(wire.closed.wait(), 5)
    return took, sum({"job_finished", "closing"} <= {event.name for event in events} for events in heard)


async def _saved(server: Server) -> bool:
    wire = await Wire.join(server.port, {"session": "hall"}, lambda _: None)
    lines = (await wire.call("history_get", {}))[0]["lines"]
    wire.close()
    return len(lines) == 2 and lines[0]["content"] == _QUESTION and len(lines[1]["content"]) > 20
