"""Pipes between loops and threads, and the threads of a service."""

import asyncio
import gc
import threading
import weakref
from collections.abc import AsyncIterator, Iterator

import pytest

from fakes.rpc_services import PATIENCE_S
from greenroom.errors import Busy, Internal
from greenroom.rpc.pipe import Pipe, PipeClosed
from greenroom.rpc.streams import Arrivals, Gone, feed, while_connected
from greenroom.rpc.workers import Workers


async def test_what_waits_is_taken_at_once_and_in_order() -> None:
    pipe: Pipe[int] = Pipe(100)
    for number in range(5):
        await pipe.aput(number, 1)
    assert await pipe.atake() == [0, 1, 2, 3, 4]
    await pipe.aput(5, 1)
    pipe.finish()
    pipe.finish(ValueError("too late"))
    assert pipe.is_finished
    assert await pipe.atake() == [5]
    assert await pipe.atake() == []


async def test_a_full_pipe_holds_its_producer_until_something_is_taken() -> None:
    taken: list[int] = []
    pipe: Pipe[int] = Pipe(10, taken.append)
    await pipe.aput(1, 50)
    assert pipe.is_full
    waiting = asyncio.create_task(pipe.aput(2, 1))
    await asyncio.sleep(0)
    assert not waiting.done()
    assert await pipe.atake() == [1]
    await waiting
    assert await pipe.atake() == [2]
    await asyncio.sleep(0)
    assert taken == [50, 1]


async def test_an_error_comes_after_what_waits() -> None:
    pipe: Pipe[int] = Pipe(10)
    await pipe.aput(1, 1)
    pipe.finish(ValueError("broken"))
    pipe.raise_if_failed()
    assert await pipe.atake() == [1]
    with pytest.raises(ValueError, match="broken"):
        await pipe.atake()
    with pytest.raises(ValueError, match="broken"):
        await pipe.ready()


async def test_a_closed_pipe_refuses_its_producer_wherever_it_waits() -> None:
    pipe: Pipe[int] = Pipe(1)
    await pipe.aput(1, 1)
    on_loop = asyncio.create_task(pipe.aput(2, 1))
    in_thread = asyncio.create_task(asyncio.to_thread(pipe.put, 3, 1))
    await asyncio.sleep(0)
    pipe.close()
    for waiting in (on_loop, in_thread):
        with pytest.raises(PipeClosed):
            await waiting
    assert await pipe.atake() == []


async def test_threads_at_both_ends() -> None:
    pipe: Pipe[list[int]] = Pipe(10)

    def produce() -> None:
        for number in range(1000):
            pipe.put([number], 1)
        pipe.finish()

    begun: list[bool] = []
    arrivals = Arrivals(pipe, lambda raw: raw * 2, lambda: begun.append(True))
    producing = asyncio.create_task(asyncio.to_thread(produce))
    assert await asyncio.to_thread(lambda: list(arrivals.here())) == [2 * number for number in range(1000)]
    assert begun == [True]
    await producing


async def test_a_thread_produces_for_the_loop() -> None:
    pipe: Pipe[list[int]] = Pipe(10)

    def produce() -> None:
        for number in range(100):
            pipe.put([number, number], 1)
        pipe.finish()

    producing = asyncio.create_task(asyncio.to_thread(produce))
    assert [item async for item in Arrivals(pipe, str).on_loop()] == [str(n) for n in range(100) for _ in "ab"]
    await producing


async def test_feeding_closes_its_source() -> None:
    closed: list[str] = []

    def plain() -> Iterator[int]:
        try:
            yield from range(1000)
        finally:
            closed.append("plain")

    async def drawn() -> AsyncIterator[int]:
        try:
            for number in range(1000):
                yield number
        finally:
            closed.append("drawn")

    workers = Workers(2, 10, "test")
    for source in (plain(), drawn()):
        pipe: Pipe[bytes] = Pipe(200)
        feeding = asyncio.create_task(feed(source, lambda number: b"x" * number, pipe, workers))
        assert (await pipe.atake())[:1] == [b""]
        pipe.close()
        await feeding
    assert closed == ["plain", "drawn"]
    workers.close()


async def test_work_is_cancelled_when_something_beside_it_ends() -> None:
    async def forever() -> None:
        await asyncio.Event().wait()

    async def at_once() -> None:
        return

    async def broken() -> None:
        raise ValueError("beside")

    async def result() -> int:
        return 7

    assert await while_connected(result(), forever()) == 7
    with pytest.raises(Gone):
        await while_connected(forever(), at_once())
    with pytest.raises(ValueError, match="beside"):
        await while_connected(forever(), broken())


async def test_threads_are_as_many_as_allowed_and_used_again() -> None:
    workers = Workers(2, 10, "test")
    gate = threading.Event()
    names: set[str] = set()
    running = threading.Semaphore(0)

    def job() -> int:
        names.add(str(threading.get_ident()))
        running.release()
        gate.wait(PATIENCE_S)
        return 1

    calls = [asyncio.create_task(workers.run(job)) for _ in range(6)]
    for _ in range(2):
        await asyncio.to_thread(running.acquire)
    assert not running.acquire(blocking=False)
    gate.set()
    assert await asyncio.gather(*calls) == [1] * 6
    assert len(names) == 2
    workers.close()
    assert await workers.run(lambda: 2) == 2
    workers.close()


async def test_too_many_waiting_calls_are_refused_and_cancelled_ones_forgotten() -> None:
    workers = Workers(1, 1, "voice")
    gate = threading.Event()
    first = asyncio.create_task(workers.run(lambda: gate.wait(PATIENCE_S)))
    await asyncio.sleep(0)
    second = asyncio.create_task(workers.run(lambda: True))
    await asyncio.sleep(0)
    with pytest.raises(Busy, match="voice"):
        await workers.run(lambda: True)
    second.cancel()
    gate.set()
    assert await first
    assert await workers.run(lambda: 3) == 3
    workers.close()


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, StopIteration])
async def test_what_would_end_the_thread_is_an_error_of_the_call(kind: type[BaseException]) -> None:
    workers = Workers(1, 1, "test")

    def job() -> None:
        raise kind

    with pytest.raises(Internal, match=kind.__name__):
        await workers.run(job)
    assert await workers.run(lambda: 1) == 1
    workers.close()


async def test_a_worker_keeps_nothing_of_its_last_call() -> None:
    class Big:
        pass

    workers = Workers(1, 1, "test")
    big = Big()
    gone = weakref.ref(big)
    assert await workers.run(lambda kept=big: kept is not None)  # type: ignore[misc]
    del big
    assert await workers.run(lambda: True)
    gc.collect()
    assert gone() is None
    workers.close()
