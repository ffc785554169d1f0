# mypy: disable-error-code="empty-body"
"""``python -m benchmarks.rpc [--quick]``: typed remote calls against what foundation_kaia 5.2 was measured to do.

The server runs in a process of its own, so that each end has a core and its memory can be read. A ratio is ours by the
bound: for times and memory below 1 is better, for rates above.
"""

import argparse
import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import psutil

from benchmarks import ROOT
from benchmarks.figures import Figure, Report, percentile, table
from benchmarks.plan import Plan
from greenroom.rpc import (
    ApiCall,
    ClientOptions,
    FileLike,
    FileLikeHandler,
    Server,
    ServiceComponent,
    endpoint,
    service,
    websocket,
)

MIB: Final = 1024 * 1024
CHUNK: Final = 64 * 1024


@dataclass
class Point:
    text: str
    index: int
    weight: float


@dataclass
class Record:
    name: str
    points: list[Point]


@service
class IBench:
    @endpoint
    def ping(self, number: int) -> str: ...
    @endpoint
    async def aping(self, number: int) -> str: ...
    @endpoint
    def record(self, record: Record) -> Record: ...
    @websocket
    def ws_ping(self, number: int) -> str: ...
    @websocket
    def items(self, count: int) -> Iterable[Point]: ...
    @websocket
    def texts(self, count: int) -> Iterable[str]: ...
    @websocket
    def aitems(self, count: int) -> AsyncIterator[Point]: ...
    @websocket
    def take_items(self, items: Iterable[Point]) -> int: ...
    @websocket(force_json_params=True)
    def speak(self, text: str) -> AsyncIterator[str]: ...
    @endpoint
    def lines(self, count: int) -> Iterable[Point]: ...
    @websocket
    def ws_down(self, mib: int) -> Iterable[bytes]: ...
    @websocket
    def ws_adown(self, mib: int) -> AsyncIterator[bytes]: ...
    @websocket
    def ws_up(self, data: Iterable[bytes]) -> int: ...
    @websocket
    async def ws_aup(self, data: AsyncIterator[bytes]) -> int: ...
    @websocket
    def ws_file(self, data: FileLike) -> int: ...
    @websocket
    def ws_slow(self, seconds: float, data: Iterable[bytes]) -> int: ...
    @websocket
    def endless(self) -> AsyncIterator[int]: ...
    @endpoint
    def ended_at(self) -> float: ...
    @endpoint
    def down(self, mib: int) -> Iterable[bytes]: ...
    @endpoint
    def up(self, data: Iterable[bytes]) -> int: ...
    @endpoint
    def slow(self, seconds: float, data: Iterable[bytes]) -> int: ...
    @endpoint
    def file(self, data: FileLike) -> int: ...
    @endpoint
    def form(self, facts: dict[str, int], data: FileLike) -> int: ...


def chunks(mib: int) -> Iterator[bytes]:
    piece = bytes(CHUNK)
    for _ in range(mib * MIB // CHUNK):
        yield piece


async def achunks(mib: int) -> AsyncIterator[bytes]:
    for piece in chunks(mib):
        yield piece


def points(count: int) -> Iterator[Point]:
    return (Point("a small item", index, 0.5) for index in range(count))


async def apoints(count: int) -> AsyncIterator[Point]:
    for point in points(count):
        yield point


class Bench(IBench):
    def __init__(self) -> None:
        self._ended_at = 0.0

    def ping(self, number: int) -> str:
        return str(number)

    async def aping(self, number: int) -> str:
        return str(number)

    def record(self, record: Record) -> Record:
        return record

    def ws_ping(self, number: int) -> str:
        return str(number)

    def items(self, count: int) -> Iterable[Point]:
        return points(count)

    def texts(self, count: int) -> Iterable[str]:
        return (f"line {index}" for index in range(count))

    def aitems(self, count: int) -> AsyncIterator[Point]:
        return apoints(count)

    def take_items(self, items: Iterable[Point]) -> int:
        return sum(1 for _ in items)

    async def speak(self, text: str) -> AsyncIterator[str]:
        for word in text.split():
            yield word

    def lines(self, count: int) -> Iterable[Point]:
        return points(count)

    def ws_down(self, mib: int) -> Iterable[bytes]:
        return chunks(mib)

    def ws_adown(self, mib: int) -> AsyncIterator[bytes]:
        return achunks(mib)

    def ws_up(self, data: Iterable[bytes]) -> int:
        return sum(map(len, data))

    async def ws_aup(self, data: AsyncIterator[bytes]) -> int:
        size = 0
        async for piece in data:
            size += len(piece)
        return size

    def ws_file(self, data: FileLike) -> int:
        return len(FileLikeHandler.to_bytes(data))

    def ws_slow(self, seconds: float, data: Iterable[bytes]) -> int:
        time.sleep(seconds)
        return sum(map(len, data))

    async def endless(self) -> AsyncIterator[int]:
        try:
            yield 0
            await asyncio.Event().wait()
        finally:
            self._ended_at = time.monotonic()

    def ended_at(self) -> float:
        """CLOCK_MONOTONIC, which all processes of a machine share."""
        return self._ended_at

    def down(self, mib: int) -> Iterable[bytes]:
        return chunks(mib)

    def up(self, data: Iterable[bytes]) -> int:
        return sum(map(len, data))

    def slow(self, seconds: float, data: Iterable[bytes]) -> int:
        time.sleep(seconds)
        return sum(map(len, data))

    def file(self, data: FileLike) -> int:
        return len(FileLikeHandler.to_bytes(data))

    def form(self, facts: dict[str, int], data: FileLike) -> int:
        return len(FileLikeHandler.to_bytes(data)) + len(facts)


class Api(IBench):
    def __init__(self, base_url: str) -> None:
        self.client = ApiCall.define_endpoints(self, base_url, IBench)


class AsyncApi:
    """The same endpoints, awaited."""

    def __init__(self, base_url: str) -> None:
        options = ClientOptions(spare_sockets=1)
        self.client = ApiCall.define_endpoints(self, base_url, IBench, asynchronous=True, options=options)

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...


@dataclass
class Served:
    base_url: str
    process: psutil.Process

    def resident_mib(self) -> float:
        return float(self.process.memory_info().rss) / MIB


@asynccontextmanager
async def serving() -> AsyncGenerator[Served, None]:
    command = (sys.executable, "-m", "benchmarks.rpc", "--serve")
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        base_url = (await asyncio.to_thread(process.stdout.readline)).strip()
        if not base_url:
            raise RuntimeError("the server did not start")
        yield Served(base_url, psutil.Process(process.pid))
    finally:
        process.stdin.close()
        process.stdout.close()
        await asyncio.to_thread(process.wait)


def serve() -> None:
    with Server(0, ServiceComponent(Bench())).running() as base_url:
        print(base_url, flush=True)
        sys.stdin.read()


class Peak:
    """The most memory that a process holds while the block runs, beyond what it held before. MiB."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.before = self.most = served.resident_mib()

    @property
    def added(self) -> float:
        return self.most - self.before

    def __enter__(self) -> "Peak":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.005):
            self.most = max(self.most, self._served.resident_mib())


async def run(plan: Plan) -> Report:
    report = Report()
    async with serving() as served:
        api = Api(served.base_url)
        for part in (latencies, items, transfers):
            await asyncio.to_thread(part, plan, api, report)
        api.client.close()
        await as_bindings_call(plan, served, report)
    for what, bound, held in HELD:
        async with serving() as served:
            await asyncio.to_thread(warm_up, served)
            with Peak(served) as peak:
                await asyncio.to_thread(held, plan, Api(served.base_url))
            report.figures.append(Figure(f"{what}: more resident", "MiB", {"": peak.added}, {"": bound}))
    return report


def latencies(plan: Plan, api: Api, report: Report) -> None:
    record = Record("record", list(points(100)))
    calls: tuple[tuple[str, Callable[[], object], float], ...] = (
        ("HTTP call", lambda: api.ping(1), 1.26),
        ("HTTP call with 100 nested items, both ways", lambda: api.record(record), 4.4),
        ("WS call, plain result", lambda: api.ws_ping(1), 1.17),
    )
    for what, call, bound in calls:
        times = [seconds(call) * 1000 for _ in range(plan.choose(2000, 200))]
        report.figures.append(Figure(what, "ms", {"p50": percentile(times, 0.5)}, {"p50": bound}))
    count = plan.choose(4000, 400)
    with ThreadPoolExecutor(8) as threads:
        took = seconds(lambda: list(threads.map(api.ping, range(count))))
    report.figures.append(rate("8 client threads", "calls/s", count / took, 1010))


def items(plan: Plan, api: Api, report: Report) -> None:
    count = plan.choose(50_000, 10_000)
    calls: tuple[tuple[str, Callable[[], object], float], ...] = (
        ("WS items, server to client", lambda: drain(api.items(count)), 50_000),
        ("WS texts, server to client", lambda: drain(api.texts(count)), 50_000),
        ("WS items, client to server", lambda: api.take_items(points(count)), 50_000),
        ("HTTP JSON lines", lambda: drain(api.lines(count)), 10_000),
    )
    for what, call, bound in calls:
        report.figures.append(rate(what, "items/s", count / best(call), bound))


def transfers(plan: Plan, api: Api, report: Report) -> None:
    mib = plan.choose(100, 25)
    content = bytes(mib * MIB)
    calls: tuple[tuple[str, Callable[[], object], float], ...] = (
        ("WS down", lambda: drain(api.ws_down(mib)), 589),
        ("WS up", lambda: api.ws_up(chunks(mib)), 258),
        ("WS as a file", lambda: api.ws_file(content), 220),
        ("HTTP down", lambda: drain(api.down(mib)), 683),
        ("HTTP up", lambda: api.up(chunks(mib)), 528),
        ("HTTP single file", lambda: api.file(content), 379),
        ("HTTP form, JSON and a file", lambda: api.form({"a": 1}, content), 62),
    )
    for what, call, bound in calls:
        report.figures.append(rate(f"{what}, {mib} MiB", "MiB/s", mib / best(call), bound))


async def as_bindings_call(plan: Plan, served: Served, report: Report) -> None:
    """From a loop, over connections that are kept: what the isolated bindings do."""
    api = AsyncApi(served.base_url)
    count, mib = plan.choose(50_000, 10_000), plan.choose(400, 50)
    calls: tuple[tuple[str, int, str, float, Callable[[], Any]], ...] = (
        ("async items down", count, "items/s", 50_000, lambda: drained(api.aitems(count))),
        ("async items up", count, "items/s", 50_000, lambda: api.take_items(apoints(count))),
        ("async bytes down", mib, "MiB/s", 400, lambda: drained(api.ws_adown(mib))),
        ("async bytes up", mib, "MiB/s", 400, lambda: api.ws_aup(achunks(mib))),
    )
    try:
        first = [await first_item_ms(api) for _ in range(plan.choose(1000, 200))]
        report.figures.append(Figure("first item, open connection", "ms", {"p50": percentile(first, 0.5)}, {"p50": 1}))
        crossed = [await cancel_ms(api) for _ in range(plan.choose(200, 40))]
        report.figures.append(Figure("cancelling crosses", "ms", {"p99": percentile(crossed, 0.99)}, {"p99": 20}))
        for what, amount, unit, bound, call in calls:
            took = min([await aseconds(call) for _ in range(3)])
            report.figures.append(rate(what, unit, amount / took, bound))
    finally:
        await api.client.aclose()


async def first_item_ms(api: AsyncApi) -> float:
    begin = time.perf_counter()
    stream = await api.speak("three short words")
    await anext(stream)
    took = time.perf_counter() - begin
    async for _ in stream:
        pass
    return took * 1000


async def cancel_ms(api: AsyncApi) -> float:
    stream = await api.endless()
    await anext(stream)
    begin = time.monotonic()
    await stream.aclose()
    while (ended := await api.ended_at()) < begin:
        pass
    return float(ended - begin) * 1000


def warm_up(served: Served) -> None:
    """So that what a first call allocates for good is not counted."""
    api = Api(served.base_url)
    drain(api.ws_down(4))
    drain(api.down(4))
    api.ws_up(chunks(4))
    api.up(chunks(4))
    api.client.close()


def stalled_reader(plan: Plan, api: Api) -> None:
    stream = iter(api.ws_down(400))
    next(stream)
    time.sleep(plan.choose(5, 1))
    api.client.close()


def stalled_http_reader(plan: Plan, api: Api) -> None:
    stream = iter(api.down(400))
    next(stream)
    time.sleep(plan.choose(5, 1))
    api.client.close()


def slow_method(plan: Plan, api: Api) -> None:
    api.ws_slow(plan.choose(5, 1), chunks(400))
    api.client.close()


def slow_http_method(plan: Plan, api: Api) -> None:
    api.slow(plan.choose(5, 1), chunks(400))
    api.client.close()


def whole_file(_: Plan, api: Api) -> None:
    api.ws_file(bytes(100 * MIB))
    api.client.close()


def whole_form(_: Plan, api: Api) -> None:
    api.form({"a": 1}, bytes(100 * MIB))
    api.client.close()


HELD: Final[tuple[tuple[str, float, Callable[[Plan, Api], None]], ...]] = (
    ("WS: the reader stops on a 400 MiB stream", 16, stalled_reader),
    ("HTTP: the reader stops on a 400 MiB stream", 16, stalled_http_reader),
    ("WS: the method sleeps on a 400 MiB upload", 16, slow_method),
    ("HTTP: the method sleeps on a 400 MiB upload", 16, slow_http_method),
    ("WS: a file of 100 MiB", 311, whole_file),
    ("HTTP: a form with a file of 100 MiB", 1237, whole_form),
)


def seconds(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


async def aseconds(call: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    await call()
    return time.perf_counter() - begin


def best(call: Callable[[], object]) -> float:
    return min(seconds(call) for _ in range(3))


def drain(stream: Iterable[object]) -> None:
    for _ in stream:
        pass


async def drained(opening: Any) -> None:
    async for _ in await opening:
        pass


def rate(what: str, unit: str, measured: float, bound: float) -> Figure:
    return Figure(what, unit, {"": measured}, {"": bound}, at_least=True)


def main(arguments: list[str] | None = None) -> int:
    """-> 0 if every bound is kept"""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rpc", description="Measure typed remote calls.")
    parser.add_argument("--quick", action="store_true", help="fewer and smaller calls")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.serve:
        serve()
        return 0
    report = asyncio.run(run(Plan(quick=options.quick)))
    print(table(report.figures))
    return 0 if all(figure.passed for figure in report.figures) else 1


if __name__ == "__main__":
    sys.exit(main())
