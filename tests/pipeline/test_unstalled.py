"""A stream that may not fall silent."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from greenroom.errors import BindingFailed
from greenroom.pipeline.chain import unstalled


async def two_words(then: asyncio.Event) -> AsyncGenerator[int, None]:
    yield 0
    yield 1
    await then.wait()


async def test_silence_is_a_failure_and_cancels_nobody_else() -> None:
    heard: list[int] = []

    async def hear() -> None:
        async for item in unstalled(two_words(asyncio.Event()), 0.03, "it"):
            heard.append(item)

    with pytest.raises(BindingFailed, match=r"it sent nothing for 0\.03 s"):
        await hear()
    assert heard == [0, 1]
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_the_time_of_whoever_reads_does_not_count() -> None:
    ended, late = asyncio.Event(), asyncio.Event()
    ended.set()
    async with aclosing(unstalled(two_words(ended), 0.01, "it")) as stream:
        assert await anext(stream) == 0
        asyncio.get_running_loop().call_later(0.05, late.set)
        await late.wait()
        assert await anext(stream) == 1
        assert await anext(stream, None) is None


async def test_a_cancellation_of_the_reader_stays_one() -> None:
    begun = asyncio.Event()

    async def silent() -> AsyncGenerator[int, None]:
        begun.set()
        await asyncio.Event().wait()
        yield 0

    async def read() -> None:
        async for _ in unstalled(silent(), 60, "it"):
            pass

    task = asyncio.create_task(read())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_stream_that_breaks_as_its_time_runs_out_leaves_no_cancellation_behind() -> None:
    async def stubborn() -> AsyncGenerator[int, None]:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise OSError("cut off") from None
        yield 0

    with pytest.raises(OSError, match="cut off"):
        async for _ in unstalled(stubborn(), 0.01, "it"):
            pass
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
