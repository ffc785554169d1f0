"""``list_available_personalities`` on a folder of 500 characters, as a client that opens its menu feels it."""

import shutil
import time
from pathlib import Path

from benchmarks import ROOT
from benchmarks.figures import Figure, Report, spread
from benchmarks.plan import Plan
from benchmarks.serving import serving, temporary_home
from benchmarks.wire import Wire

CHARACTERS = 500


def make_characters(home: Path) -> None:
    """Copies of the shipped characters under other names, spread over ten categories."""
    shipped = sorted(path.parent for path in (ROOT / "personalities").glob("*/*/*/config.yaml"))
    for number in range(CHARACTERS):
        source = shipped[number % len(shipped)]
        target = home / "personalities" / "english" / f"crowd_{number % 10}" / f"character_{number}"
        shutil.copytree(source, target)


async def run(plan: Plan) -> Report:
    with temporary_home({}) as home:
        make_characters(home)
        async with serving(home) as server:
            wire = await Wire.join(server.port, {})
            cold = await _ask(wire)
            begin = server.cpu_s()
            warm = [await _ask(wire) for _ in range(plan.choose(200, 30))]
            cpu_ms = (server.cpu_s() - begin) * 1000 / len(warm)
            wire.close()
    return Report(
        [
            Figure(f"listing {CHARACTERS} personalities, the first time", "ms", {"": cold}),
            spread(f"listing {CHARACTERS} personalities, warm", "ms", warm, {"p99": 50}),
            Figure("server CPU of one such listing", "ms", {"": cpu_ms}),
        ]
    )


async def _ask(wire: Wire) -> float:
    begin = time.monotonic()
    reply, at = await wire.call("list_available_personalities")
    listed = sum(len(names) for categories in reply["personalities"].values() for names in categories.values())
    if listed < CHARACTERS:
        raise RuntimeError(f"only {listed} personalities were listed")
    return (at - begin) * 1000
