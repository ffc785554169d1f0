"""What a process of its own costs a binding: the same streams, in this process and in a child.

``first item`` is the whole way there and back: call, prompt, one delta. ``cancel`` is counted from the moment in which
the consumer closes the stream to the moment in which the backend's generator has heard of it.
"""

import asyncio
import statistics
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any, Final

from benchmarks import ROOT
from benchmarks.figures import Figure, Report, spread
from benchmarks.plan import Plan
from greenroom.bindings.discovery import BindingShelf, FoundBinding
from greenroom.bindings.engines import Engines
from greenroom.bindings.isolation.isolation import Isolation, IsolationSettings
from greenroom.bindings.roles import Place
from greenroom.values import Audio, Message, Prompt, Role, SpeechText, TextDelta

FIRST_ITEM_MS: Final = 1.0
ITEMS_PER_S: Final = 50_000
AUDIO_MIB_PER_S: Final = 400
CROSSES_MS: Final = 20
CANCEL_MS: Final = 100
MIB: Final = 1 << 20
PROMPT: Final = Prompt(system="You are short.", messages=(Message("user", "Hello there."),))


class _Places:
    def place(self, found: FoundBinding) -> Place:
        return Place(found.id, found.folder, found.folder / "models")


@asynccontextmanager
async def _engines(mode: str) -> AsyncIterator[Engines]:
    isolation = Isolation(IsolationSettings({"tap": mode}, 0))
    engines = Engines(BindingShelf((ROOT / "benchmarks" / "bindings",), isolation), _Places())
    try:
        yield engines
    finally:
        await engines.close()
        await isolation.close()


async def run(plan: Plan) -> Report:
    report = Report()
    async with _engines("none") as inside, _engines("process") as outside:
        await _first_items(report, inside, outside, plan.choose(1000, 200))
        await _items(report, inside, outside, plan.choose(200_000, 50_000))
        await _sound(report, inside, outside, plan.choose(1024, 256))
        await _cancels(report, outside, plan.choose(100, 20))
    return report


async def _first_items(report: Report, inside: Engines, outside: Engines, count: int) -> None:
    here, there = [await _first_item(engines, count) for engines in (inside, outside)]
    added = [value - statistics.median(here) for value in there]
    report.figures += [
        spread("isolation: a stream's first item, in this process", "ms", here, {}),
        spread("isolation: what a child adds to it", "ms", added, {"p50": FIRST_ITEM_MS}),
    ]


async def _first_item(engines: Engines, count: int) -> list[float]:
    loaded = await engines.load("tap", Role.T2T, {})
    taken = []
    for number in range(count + 20):
        begin = time.perf_counter()
        async with aclosing(loaded.operation.generate(PROMPT)) as deltas:  # type: ignore[attr-defined]
            async for _ in deltas:
                if number >= 20:
                    taken.append(1000 * (time.perf_counter() - begin))
    await loaded.release()
    return taken


async def _items(report: Report, inside: Engines, outside: Engines, count: int) -> None:
    for ticks, how in ((False, "in one go"), (True, "one a turn of the loop")):
        options = {"items": count if not ticks else count // 4, "ticks": ticks}
        here, there = [await _rate(engines, Role.T2T, options) for engines in (inside, outside)]
        report.figures.append(
            Figure(
                f"isolation: small items, {how}",
                "items/s",
                {"": there},
                {"": ITEMS_PER_S},
                at_least=True,
                note=f"{here / there:.1f} times slower than in this process",
            )
        )


async def _sound(report: Report, inside: Engines, outside: Engines, mib: int) -> None:
    for item_bytes in (9_600, 65_536):
        options = {"items": mib * MIB // item_bytes, "item_bytes": item_bytes}
        there = await _rate(outside, Role.TTS, options) * item_bytes / MIB
        limit = {"": float(AUDIO_MIB_PER_S)} if item_bytes > 60_000 else {}
        report.figures.append(
            Figure(f"isolation: sound in pieces of {item_bytes} bytes", "MiB/s", {"": there}, limit, at_least=True)
        )


async def _rate(engines: Engines, role: Role, options: dict[str, Any]) -> float:
    """Items a second, the best of three."""
    loaded = await engines.load("tap", role, options)
    rates = []
    for _ in range(3):
        begin, count = time.perf_counter(), 0
        async with aclosing(_stream(loaded.operation, role)) as items:
            async for item in items:
                count += isinstance(item, TextDelta | Audio)
        rates.append(count / (time.perf_counter() - begin))
    await loaded.release()
    return max(rates)


def _stream(operation: Any, role: Role) -> AsyncGenerator[Any, None]:
    async def one() -> AsyncGenerator[SpeechText, None]:
        yield SpeechText("go")

    return operation.generate(PROMPT) if role is Role.T2T else operation.speak(one())  # type: ignore[no-any-return]


async def _cancels(report: Report, engines: Engines, count: int) -> None:
    told: asyncio.Queue[float] = asyncio.Queue()

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        told.put_nowait(float(await reader.readline()))
        writer.close()

    taken = []
    async with await asyncio.start_server(hear, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        loaded = await engines.load("tap", Role.T2T, {"items": 1, "hangs": True, "tell": port})
        for _ in range(count):
            async with aclosing(_stream(loaded.operation, Role.T2T)) as deltas:
                await anext(deltas)
                closed = time.monotonic()
            taken.append(1000 * (await told.get() - closed))
        await loaded.release()
    report.figures.append(
        spread(
            "isolation: cancelled, until the backend heard of it", "ms", taken, {"p50": CROSSES_MS, "p99": CANCEL_MS}
        )
    )
