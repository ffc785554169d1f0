"""``python -m benchmarks [--quick] [--only NAME ...]``: measures the budgets and prints a table of them."""

import argparse
import asyncio
import os
import platform
import sys
import time
from typing import Final

import psutil

from benchmarks import (
    crowd,
    interrupting,
    isolation,
    jaison,
    latency,
    listing,
    mixed,
    openai_door,
    peers,
    rpc,
    shutdown,
    speaking,
    stalled,
    startup,
)
from benchmarks.figures import Figure, Report, table
from benchmarks.plan import Benchmark, Plan, loop_factory

BENCHMARKS: Final[dict[str, Benchmark]] = {
    "startup": startup.run,
    "latency": latency.run,
    "interrupting": interrupting.run,
    "isolation": isolation.run,
    "rpc": rpc.run,
    "openai_door": openai_door.run,
    "jaison": jaison.run,
    "speaking": speaking.run,
    "crowd": crowd.run,
    "mixed": mixed.run,
    "stalled": stalled.run,
    "shutdown": shutdown.run,
    "listing": listing.run,
    "peers": peers.run,
}


def main(arguments: list[str] | None = None) -> int:
    """-> 0 if every budget is kept, 1 if one is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure the budgets of DESIGN.md.")
    parser.add_argument("--quick", action="store_true", help="fewer runs: minutes become a glance, p99 a guess")
    parser.add_argument(
        "--only", action="append", choices=sorted(BENCHMARKS), metavar="NAME", help="one of: %(choices)s"
    )
    options = parser.parse_args(arguments)
    plan = Plan(quick=options.quick)
    print(machine(), flush=True)
    figures: list[Figure] = []
    broken = 0
    for name in options.only or BENCHMARKS:
        begin = time.monotonic()
        others = Others()
        try:
            report = measure(BENCHMARKS[name], plan)
        except (OSError, RuntimeError, TimeoutError) as error:
            broken += 1
            print(f"\n{name}: broke: {type(error).__name__}: {error}", flush=True)
            continue
        took = time.monotonic() - begin
        print(
            f"\n{name} ({took:.0f} s, others used {others.cores(took):.2f} cores)\n{table(report.figures)}", flush=True
        )
        for note in report.notes:
            print(note, flush=True)
        figures += report.figures
    missed = [figure for figure in figures if figure.limits and not figure.passed]
    kept = sum(1 for figure in figures if figure.limits) - len(missed)
    print(f"\n{kept} budgets kept, {len(missed)} missed, {broken} benchmarks broke")
    for figure in missed:
        print("missed:", "  ".join(cell for cell in figure.row() if cell))
    return 1 if missed or broken else 0


def measure(benchmark: Benchmark, plan: Plan) -> Report:
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(_awaited(benchmark, plan))


async def _awaited(benchmark: Benchmark, plan: Plan) -> Report:
    return await benchmark(plan)


class Others:
    """How much CPU other programs use meanwhile: what disturbs the figures."""

    def __init__(self) -> None:
        self._begin = self._used()

    def cores(self, seconds: float) -> float:
        return max(0.0, self._used() - self._begin) / seconds

    @staticmethod
    def _used() -> float:
        whole = psutil.cpu_times()
        mine = os.times()  # with the processes that were started and have ended
        ours = mine.user + mine.system + mine.children_user + mine.children_system
        return float(sum(whole) - whole.idle - getattr(whole, "iowait", 0.0) - ours)


def machine() -> str:
    return f"Python {platform.python_version()}, {platform.system()} {platform.machine()}, {os.cpu_count()} cores"


if __name__ == "__main__":
    sys.exit(main())
