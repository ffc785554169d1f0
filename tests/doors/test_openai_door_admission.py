"""Who may be at work at once, who waits, and who is sent away."""

import asyncio
from pathlib import Path

import httpx
import pytest

from fakes.openai_door import SCRIPTED_OPERATIONS, served
from greenroom.doors.openai import admission
from greenroom.doors.openai.admission import Admission
from greenroom.errors import Busy
from greenroom.values import Role

PATIENCE_S = 20.0


class Worker:
    """A request that is at work until it may end."""

    def __init__(self, place: Admission) -> None:
        self.at_work = asyncio.Event()
        self.may_end = asyncio.Event()
        self.task = asyncio.create_task(self._work(place))

    async def _work(self, place: Admission) -> None:
        async with place.place(Role.T2T):
            self.at_work.set()
            await self.may_end.wait()

    async def end(self) -> None:
        self.may_end.set()
        await asyncio.wait_for(self.task, PATIENCE_S)

    async def working(self) -> None:
        await asyncio.wait_for(self.at_work.wait(), PATIENCE_S)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "PATIENCE_S", PATIENCE_S)


async def settled() -> None:
    """Whatever can go on has gone on."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_whoever_waits_comes_in_turn() -> None:
    places = Admission(lambda: 1)
    first, second, third = workers = [Worker(places) for _ in range(3)]
    await settled()
    assert [worker.at_work.is_set() for worker in workers] == [True, False, False]
    async with places.place(Role.TTS):  # of another kind
        pass
    await first.end()
    await second.working()
    assert not third.at_work.is_set()
    await second.end()
    await third.end()
    async with places.place(Role.T2T):
        pass


async def test_whoever_leaves_the_line_takes_no_place() -> None:
    places = Admission(lambda: 1)
    first, second, third, fourth = [Worker(places) for _ in range(4)]
    await settled()
    second.task.cancel()
    await asyncio.wait({second.task})
    first.may_end.set()
    await asyncio.wait({first.task})
    third.task.cancel()  # its turn has come, and it has not noticed yet
    await asyncio.wait({third.task})
    await fourth.working()
    await fourth.end()


async def test_a_wider_door_lets_in_all_that_fit() -> None:
    limit = 1
    places = Admission(lambda: limit)
    first, *others = [Worker(places) for _ in range(4)]
    await settled()
    limit = 3
    await first.end()
    await asyncio.gather(*(worker.working() for worker in others))
    for worker in others:
        await worker.end()


async def test_the_line_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    places = Admission(lambda: 1)
    monkeypatch.setattr(admission, "MAX_WAITING", 1)
    first, second = Worker(places), Worker(places)
    await settled()
    with pytest.raises(Busy):
        async with places.place(Role.T2T):
            pass
    monkeypatch.setattr(admission, "MAX_WAITING", 2)
    monkeypatch.setattr(admission, "PATIENCE_S", 0.01)
    with pytest.raises(Busy):
        async with places.place(Role.T2T):
            pass
    await first.end()
    await second.end()


async def test_a_burst_is_served(tmp_path: Path) -> None:
    body = {"model": "greenroom", "messages": [{"role": "user", "content": "say hello"}]}
    async with served(tmp_path, SCRIPTED_OPERATIONS, generation={"max_parallel": 2}) as server:

        async def ask() -> httpx.Response:
            return await server.http.post("/v1/chat/completions", json=body)

        answers = await asyncio.gather(*(ask() for _ in range(20)))
    assert [answer.status_code for answer in answers] == [200] * 20
