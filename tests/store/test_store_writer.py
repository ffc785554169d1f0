"""One thread, group commit: order, durability before the answer, and no neighbour's harm."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text

from greenroom.errors import Busy, NotFound, Unavailable
from greenroom.store import LineRecord, Store
from greenroom.store.database import Database
from greenroom.store.writer import MOST_WAITING, Writer

MakeLine = Callable[..., LineRecord]


class CountingDatabase(Database):
    transactions = 0

    @contextmanager
    def transaction(self, *, writes: bool) -> Iterator[Connection]:
        self.transactions += 1
        with super().transaction(writes=writes) as connection:
            yield connection


@pytest.fixture
def counting(database: Path) -> CountingDatabase:
    return CountingDatabase(database)


@pytest.fixture
async def writer(counting: CountingDatabase) -> AsyncIterator[Writer]:
    made = Writer(counting, asyncio.get_running_loop())
    await made.start()
    await made.submit(lambda c: c.execute(text("CREATE TABLE notes (note INTEGER UNIQUE)")).close(), writes=True)
    counting.transactions = 0
    yield made
    await made.close()


def _note(number: int) -> Callable[[Connection], int]:
    def add(connection: Connection) -> int:
        connection.execute(text("INSERT INTO notes VALUES (:n)"), {"n": number})
        return number

    return add


def _notes(connection: Connection) -> list[int]:
    return list(connection.execute(text("SELECT note FROM notes ORDER BY rowid")).scalars())


async def _outcomes(futures: Iterable["asyncio.Future[Any]"]) -> list[Any]:
    return await asyncio.gather(*futures, return_exceptions=True)


@contextmanager
def _held_up(writer: Writer) -> Iterator["asyncio.Future[None]"]:
    """The thread waits within a transaction of its own while the body queues."""
    inside, go_on = threading.Event(), threading.Event()

    def wait(connection: Connection) -> None:
        inside.set()
        assert go_on.wait(30)

    waiting = writer.submit(wait, writes=False)
    assert inside.wait(30)
    try:
        yield waiting
    finally:
        go_on.set()


async def test_what_waits_shares_one_transaction(writer: Writer, counting: CountingDatabase) -> None:
    with _held_up(writer) as waiting:
        adding = [writer.submit(_note(number), writes=True) for number in range(50)]
    await waiting
    assert await asyncio.gather(*adding) == list(range(50))
    assert counting.transactions == 2


async def test_a_failing_operation_harms_no_neighbour(writer: Writer) -> None:
    def fail(connection: Connection) -> int:
        _note(100)(connection)
        raise KeyError("a mistake of ours")

    def refuse(connection: Connection) -> int:
        raise NotFound("not there")

    with _held_up(writer):
        results: list[asyncio.Future[Any]] = [
            writer.submit(_note(1), writes=True),
            writer.submit(fail, writes=True),
            writer.submit(refuse, writes=False),
            writer.submit(_note(2), writes=True),
            writer.submit(lambda c: c.execute(text("SELECT nonsense")).close(), writes=False),
            writer.submit(_note(1), writes=True),
            writer.submit(_note(3), writes=True),
        ]
    outcomes = await _outcomes(results)
    assert [type(one).__name__ for one in outcomes] == [
        "int",
        "KeyError",
        "NotFound",
        "int",
        "Unavailable",
        "Conflict",
        "int",
    ]
    assert await writer.submit(_notes, writes=False) == [1, 2, 3]


async def test_a_refusal_that_changed_nothing_costs_no_second_transaction(
    writer: Writer, counting: CountingDatabase
) -> None:
    def refuse(connection: Connection) -> int:
        raise NotFound("not there")

    with _held_up(writer):
        results = [writer.submit(_note(1), writes=True), writer.submit(refuse, writes=False)]
    outcomes = await _outcomes(results)
    assert outcomes[0] == 1 and isinstance(outcomes[1], NotFound)
    assert counting.transactions == 2


async def test_cancelling_a_caller_stops_nothing_else(writer: Writer) -> None:
    async def add(number: int) -> int:
        return await writer.submit(_note(number), writes=True)

    with _held_up(writer):
        tasks = [asyncio.create_task(add(number)) for number in range(3)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        await asyncio.wait([tasks[1]])
    assert (await tasks[0], await tasks[2]) == (0, 2)
    assert tasks[1].cancelled()
    assert await writer.submit(_notes, writes=False) == [0, 1, 2]


async def test_too_much_waiting_is_refused(writer: Writer) -> None:
    with _held_up(writer):
        queued = [writer.submit(lambda connection: None, writes=False) for _ in range(MOST_WAITING - 1)]
        with pytest.raises(Busy, match="does not keep up"):
            writer.submit(lambda connection: None, writes=False)
    await asyncio.gather(*queued)
    await writer.submit(lambda connection: None, writes=False)


async def test_an_answer_comes_after_its_commit(store: Store, database: Path, make_line: MakeLine) -> None:
    other = sqlite3.connect(database)
    try:
        for number in range(20):
            await store.add_line(make_line(str(number)))
            assert other.execute("SELECT count(*) FROM lines").fetchone() == (number + 1,)
    finally:
        other.close()


async def test_many_tasks_keep_their_own_order(store: Store, make_line: MakeLine) -> None:
    async def talk(task: int) -> None:
        for number in range(20):
            await store.add_line(make_line(f"{task}/{number}", user=str(task)))

    async with asyncio.TaskGroup() as tasks:
        for task in range(50):
            tasks.create_task(talk(task))
    stored = await store.lines("main", 2000)
    assert len(stored) == 1000
    for task in range(50):
        assert [line.line_id for line in stored if line.user == str(task)] == [f"{task}/{n}" for n in range(20)]


async def test_the_log_is_merged_in_idle_moments(database: Path) -> None:
    tidied = threading.Event()

    class TidiedDatabase(Database):
        def tidy(self) -> None:
            super().tidy()
            tidied.set()

    writer = Writer(TidiedDatabase(database), asyncio.get_running_loop(), tidy_after_s=0.01)
    await writer.start()
    for _ in range(200):
        await writer.submit(lambda connection: None, writes=False)
    assert await asyncio.to_thread(tidied.wait, 30)
    await writer.close()


async def test_an_open_that_is_cancelled_lets_go_of_the_file(database: Path) -> None:
    opening = asyncio.create_task(Store.open(database))
    await asyncio.sleep(0)
    opening.cancel()
    await asyncio.wait([opening])
    assert opening.cancelled()
    while True:  # the thread may still be closing what it has opened
        try:
            store = await Store.open(database)
        except Unavailable:
            continue
        break
    await store.close()
