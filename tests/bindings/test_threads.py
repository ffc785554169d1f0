"""Threads behind the event loop: order, back pressure, errors, cancellation, and nothing left behind."""

import asyncio
import contextvars
import gc
import threading
import weakref
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from greenroom.bindings.threads import Emit, Worker, stream_from_thread
from greenroom.errors import BindingFailed

WAIT_S = 20


async def happened(event: threading.Event) -> None:
    assert await asyncio.to_thread(event.wait, WAIT_S)


def threads_named(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == f"greenroom-{name}"]


async def all_ended(name: str) -> None:
    for thread in threads_named(name):
        await asyncio.to_thread(thread.join, WAIT_S)
    assert not threads_named(name)


async def test_items_keep_their_order() -> None:
    def produce(emit: Emit[int]) -> None:
        assert all(emit(number) for number in range(5000))

    async with aclosing(stream_from_thread(produce, limit=7, name="order")) as items:
        assert [item async for item in items] == list(range(5000))
    await all_ended("order")


async def test_no_thread_starts_before_the_first_item_is_asked_for() -> None:
    started = threading.Event()
    items: AsyncGenerator[int, None] = stream_from_thread(lambda _emit: started.set())
    await items.aclose()
    assert not started.is_set()


async def test_a_slow_consumer_holds_the_producer_back() -> None:
    emitted = 0
    full = threading.Event()

    def produce(emit: Emit[int]) -> None:
        nonlocal emitted
        for number in range(100):
            if number == 5:
                full.set()
            emit(number)
            emitted += 1

    async with aclosing(stream_from_thread(produce, limit=5, name="slow")) as items:
        first = await anext(items)
        await happened(full)
        assert first == 0
        assert emitted <= 6
        rest = [item async for item in items]
    assert rest == list(range(1, 100))


async def test_closing_early_ends_a_blocked_producer() -> None:
    refused = threading.Event()

    def produce(emit: Emit[bytes]) -> None:
        while emit(b"x"):
            pass
        refused.set()

    async with aclosing(stream_from_thread(produce, limit=2, name="early")) as items:
        assert await anext(items) == b"x"
    await happened(refused)
    await all_ended("early")


async def test_cancelling_the_consumer_ends_the_producer() -> None:
    first_taken = asyncio.Event()
    refused = threading.Event()
    go = threading.Event()

    def produce(emit: Emit[int]) -> None:
        emit(1)
        go.wait(WAIT_S)
        if not emit(2):
            refused.set()

    async def consume() -> None:
        async with aclosing(stream_from_thread(produce)) as items:
            async for _ in items:
                first_taken.set()

    task = asyncio.create_task(consume())
    await first_taken.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go.set()
    await happened(refused)


async def test_an_error_comes_after_what_was_emitted_before_it() -> None:
    def produce(emit: Emit[int]) -> None:
        emit(1)
        emit(2)
        raise ValueError("broken")

    async with aclosing(stream_from_thread(produce)) as items:
        got = [await anext(items), await anext(items)]
        with pytest.raises(ValueError, match="broken"):
            await anext(items)
    assert got == [1, 2]


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()])
async def test_what_would_stop_the_server_becomes_a_failure_of_the_binding(error: BaseException) -> None:
    def produce(emit: Emit[int]) -> None:
        raise error

    with pytest.raises(BindingFailed, match=type(error).__name__):
        async with aclosing(stream_from_thread(produce)) as items:
            await anext(items)
    worker = Worker("exit")
    with pytest.raises(BindingFailed, match=type(error).__name__):
        await worker.call(lambda: produce(lambda _: True))
    worker.close()


async def test_context_variables_reach_the_thread() -> None:
    job: contextvars.ContextVar[str] = contextvars.ContextVar("job")
    job.set("seven")

    def produce(emit: Emit[str]) -> None:
        emit(job.get())

    async with aclosing(stream_from_thread(produce)) as items:
        assert [item async for item in items] == ["seven"]
    worker = Worker("context")
    assert await worker.call(job.get) == "seven"
    worker.close()


async def test_thousands_of_short_streams_leave_nothing() -> None:
    class Item:
        pass

    worker = Worker("many")
    kept: list[weakref.ref[Item]] = []

    def produce(emit: Emit[Item]) -> None:
        for _ in range(3):
            item = Item()
            kept.append(weakref.ref(item))
            emit(item)

    def fail(emit: Emit[Item]) -> None:
        produce(emit)
        raise ValueError("broken")

    async def one(number: int) -> None:
        make = fail if number % 5 == 0 else produce
        stream = worker.stream(make) if number % 2 else stream_from_thread(make, name="many")
        try:
            async with aclosing(stream) as items:
                async for _ in items:
                    if number % 3 == 0:
                        break
        except ValueError:
            pass

    for number in range(2000):
        await one(number)
    await worker.call(lambda: None)
    worker.close()
    await all_ended("many")
    gc.collect()
    assert len(kept) >= 4000
    assert not [ref for ref in kept if ref() is not None]


async def test_a_worker_serves_all_from_one_thread_in_order() -> None:
    worker = Worker("one")
    assert not worker.alive
    idents: set[int] = set()
    done: list[int] = []

    async def ask(number: int) -> list[str]:
        def produce(emit: Emit[str]) -> None:
            idents.add(threading.get_ident())
            done.append(number)
            emit(f"{number}a")
            emit(f"{number}b")

        async with aclosing(worker.stream(produce)) as items:
            return [item async for item in items]

    answers = await asyncio.gather(*(ask(number) for number in range(50)))
    assert answers == [[f"{number}a", f"{number}b"] for number in range(50)]
    assert done == list(range(50))
    assert len(idents) == 1
    assert worker.alive
    worker.close()
    await all_ended("one")
    assert not worker.alive


async def test_a_consumer_that_does_not_read_holds_up_nobody_else() -> None:
    worker = Worker("stuck")

    def produce(emit: Emit[int]) -> None:
        for number in range(1000):
            emit(number)

    async with aclosing(worker.stream(produce)) as unread:
        assert await anext(unread) == 0
        assert await worker.call(lambda: 5) == 5
    worker.close()


async def test_a_job_closed_before_its_turn_never_runs() -> None:
    worker = Worker("turn")
    gate, ran = threading.Event(), threading.Event()
    busy = asyncio.create_task(worker.call(lambda: gate.wait(WAIT_S)))
    stream: AsyncGenerator[int, None] = worker.stream(lambda _emit: ran.set())
    asking = asyncio.ensure_future(anext(stream))
    calling = asyncio.create_task(worker.call(ran.set))
    await asyncio.sleep(0)
    for waiting in (asking, calling):
        waiting.cancel()
    await asyncio.gather(asking, calling, return_exceptions=True)
    gate.set()
    assert await busy
    assert await worker.call(lambda: "next") == "next"
    assert not ran.is_set()
    worker.close()


async def test_a_worker_survives_a_failing_job_and_refuses_jobs_once_closed() -> None:
    worker = Worker("fail")
    with pytest.raises(ZeroDivisionError):
        await worker.call(lambda: 1 // 0)
    assert await worker.call(lambda: 4) == 4
    worker.close()
    worker.close()
    with pytest.raises(RuntimeError, match="closed"):
        await worker.call(lambda: 4)
    with pytest.raises(RuntimeError, match="closed"):
        await anext(worker.stream(lambda _emit: None))


@pytest.mark.parametrize("used", [False, True])
async def test_a_worker_cleans_up_when_it_is_done(used: bool) -> None:
    worker = Worker("tidy")
    began, go, done = threading.Event(), threading.Event(), threading.Event()
    order: list[str] = []

    def work() -> None:
        began.set()
        go.wait(WAIT_S)
        order.append("work")

    if used:
        working = asyncio.create_task(worker.call(work))
        await happened(began)
        working.cancel()

    def tidy() -> None:
        order.append("tidy")
        done.set()

    worker.close(tidy)
    go.set()
    await happened(done)
    assert order == (["work", "tidy"] if used else ["tidy"])
    await all_ended("tidy")


def test_a_loop_that_closed_meanwhile_does_no_harm() -> None:
    go, ended = threading.Event(), threading.Event()
    answers: list[bool] = []

    def produce(emit: Emit[int]) -> None:
        emit(1)
        go.wait(WAIT_S)
        answers.append(emit(2) and emit(3))
        ended.set()

    async def leave() -> None:
        items = stream_from_thread(produce, limit=1, name="loop")
        assert await anext(items) == 1
        # The generator is left to the loop's own shutdown, as a crashed caller would leave it.

    asyncio.run(leave())
    go.set()
    assert ended.wait(WAIT_S)
    assert answers == [False]
