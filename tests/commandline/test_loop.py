import _thread
import asyncio
import threading

import pytest

from greenroom.commandline.loop import LoopThread


async def answer(value: int) -> int:
    await asyncio.sleep(0)
    return value


async def fail() -> None:
    raise TimeoutError("its own")


def test_work_runs_and_its_error_is_raised() -> None:
    with LoopThread() as loop:
        assert loop.run(answer(3)) == 3
        with pytest.raises(TimeoutError, match="its own"):
            loop.run(fail())
        assert loop.run(answer(4)) == 4


def test_the_loop_lives_between_two_pieces_of_work() -> None:
    async def begin() -> asyncio.Task[int]:
        return asyncio.create_task(answer(5))

    async def end(task: asyncio.Task[int]) -> int:
        return await task

    with LoopThread() as loop:
        assert loop.run(end(loop.run(begin()))) == 5


class Held:
    """Work that lasts until it is told to end, and presses Ctrl-C once it has begun."""

    def __init__(self) -> None:
        self.end = asyncio.Event()
        self.interrupted = 0
        self.cancelled = threading.Event()

    async def work(self) -> str:
        self._press()
        try:
            await self.end.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return "ended by itself"

    async def soften(self) -> None:
        self.interrupted += 1
        self.end.set()

    async def refuse(self) -> None:
        self.interrupted += 1
        self._press()

    def _press(self) -> None:
        _thread.interrupt_main()


def test_ctrl_c_may_end_it_gently() -> None:
    held = Held()
    with LoopThread() as loop:
        assert loop.run(held.work(), held.soften) == "ended by itself"
    assert held.interrupted == 1


def test_the_second_ctrl_c_cancels_it() -> None:
    held = Held()
    with LoopThread() as loop, pytest.raises(KeyboardInterrupt):
        loop.run(held.work(), held.refuse)
    assert held.interrupted == 1
    assert held.cancelled.is_set()


def test_without_a_gentle_way_the_first_one_cancels_it() -> None:
    held = Held()
    with LoopThread() as loop, pytest.raises(KeyboardInterrupt):
        loop.run(held.work())
    assert held.cancelled.is_set()
