"""A client that stops reading: what it costs the server, and whether the others notice.

One session sends sound as fast as its voice makes it, about ten times real time in 48 kHz stereo (1.8 MB/s), to five
clients that read; half of the time a sixth one has stopped reading, its window zero.
"""

import asyncio

from benchmarks.figures import Figure, Report, percentile
from benchmarks.lateness import Lateness
from benchmarks.plan import SPEED, Plan, metronome
from benchmarks.serving import serving, temporary_home
from benchmarks.wire import Wire

READERS = 5


async def run(plan: Plan) -> Report:
    seconds = plan.choose(60.0, 10.0)
    text = {"tokens_per_s": SPEED, "tokens": 1_000_000}
    config = {
        "operations": metronome(text, {"sample_rate": 48_000, "channels": 2}),
        "turn": {"audio_lead_ms": 0},
    }
    with temporary_home(config, ["metronome"]) as home:
        async with serving(home) as server:
            ears = [Lateness() for _ in range(READERS)]
            wires = [await Wire.join(server.port, {"session": "hall"}, ear.heard) for ear in ears]
            wires[0].emit("response", {"text": "Speak.", "include_audio": True})
            await asyncio.sleep(5)  # the replay log has filled to its bound
            begin = server.resident_mb()
            before = await _p99(ears, seconds)
            control = server.resident_mb()
            stalled = await Wire.join(server.port, {"session": "hall"}, lambda _: None)
            stalled.stop_reading()
            during = await _p99(ears, seconds)
            after = server.resident_mb()
            closed = (await wires[0].call("session_state"))[0]["state"]["clients"] == READERS
            for wire in (*wires, stalled):
                wire.close()
    note = f"{seconds:g} s, {control - begin:.1f} MB in as long without it"
    return Report(
        [
            Figure("a client that stops reading: more resident", "MB", {"": after - control}, {"": 10}, note=note),
            Figure(
                "the other clients' lateness of text meanwhile",
                "ms",
                {"p99": during},
                {"p99": max(1.25 * before, before + 1)},
                note=f"without it p99 {before:.2f} ms",
            ),
        ],
        ["the client that stopped reading was closed as too slow" if closed else "the stalled client was kept"],
    )


async def _p99(ears: list[Lateness], seconds: float) -> float:
    for ear in ears:
        ear.text.clear()
    await asyncio.sleep(seconds)
    return percentile([value for ear in ears for value in ear.text], 0.99)
