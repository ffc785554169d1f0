import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from greenroom.errors import BadRequest, Conflict, NotFound
from greenroom.store import JobRecord, LineRecord, Retention, Store

MakeLine = Callable[..., LineRecord]


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def forgetful(database: Path, clock: Clock) -> AsyncIterator[Store]:
    opened = await Store.open(database, clock=clock, retention=Retention(seconds=60, rows=300))
    yield opened
    await opened.close()


async def _ids(store: Store, limit: int = 100, before: str | None = None, session: str = "main") -> list[str]:
    return [line.line_id for line in await store.lines(session, limit, before)]


async def test_a_session_is_saved_loaded_listed_and_deleted(forgetful: Store, clock: Clock) -> None:
    assert await forgetful.load_session("main") is None
    await forgetful.save_session("main", {"personality": "english/fun/ada", "operations": {"tts": None}})
    clock.now = 1005.5
    await forgetful.save_session("main", {"personality": "other", "nested": [1, 2.5, {"deep": True}]})
    await forgetful.save_session("second", {})

    main = await forgetful.load_session("main")
    assert main is not None
    assert main.state == {"personality": "other", "nested": [1, 2.5, {"deep": True}]}
    assert (main.created, main.updated) == (1000.0, 1005.5)
    assert [session.name for session in await forgetful.list_sessions()] == ["main", "second"]

    assert await forgetful.delete_session("main")
    assert not await forgetful.delete_session("main")
    assert [session.name for session in await forgetful.list_sessions()] == ["second"]


async def test_deleting_a_session_takes_all_of_it(store: Store, make_line: MakeLine) -> None:
    for session in ("main", "other"):
        await store.add_line(make_line("1", session=session))
        await store.add_job(JobRecord(f"job of {session}", session, "response", {}, 1.0, command_id="c1"))
        await store.remember_command(session, "c2", {"success": True})
    await store.delete_session("main")
    assert await _ids(store) == []
    assert await store.job_by_command("main", "c1") is None
    assert await store.command_reply("main", "c2") is None
    assert [job.job_id for job in await store.unfinished_jobs()] == ["job of other"]
    assert await _ids(store, session="other") == ["1"]


async def test_a_state_is_kept_as_it_was_when_it_was_saved(store: Store) -> None:
    state = {"operations": ["espeak"]}
    saving = asyncio.create_task(store.save_session("main", state))
    await asyncio.sleep(0)
    state["operations"].append("later")
    await saving
    loaded = await store.load_session("main")
    assert loaded is not None and loaded.state == {"operations": ["espeak"]}


async def test_lines_come_back_in_order_and_in_pages(store: Store, make_line: MakeLine) -> None:
    for number in range(10):
        await store.add_line(make_line(str(number), timestamp=float(-number)))
    await store.add_line(make_line("elsewhere", session="other"))
    assert await _ids(store) == [str(number) for number in range(10)]
    assert await _ids(store, 3) == ["7", "8", "9"]
    assert await _ids(store, 3, "7") == ["4", "5", "6"]
    assert await _ids(store, 3, "1") == ["0"]
    assert await _ids(store, 3, "0") == []
    assert await _ids(store, 0) == []
    assert await _ids(store, 10**30, "2") == ["0", "1"]
    with pytest.raises(NotFound, match="no line 'elsewhere' in session 'main'"):
        await store.lines("main", 3, "elsewhere")


async def test_lines_are_changed_removed_and_cleared(store: Store, make_line: MakeLine) -> None:
    for name in ("a", "b", "c"):
        await store.add_line(make_line(name, extra={"emotion": "joy"}))
    assert await store.change_line("main", "b", "only what was heard")
    assert not await store.change_line("other", "b", "nothing")
    changed = (await store.lines("main", 10))[1]
    assert changed == make_line("b", "only what was heard", extra={"emotion": "joy"})

    assert await store.remove_line("main", "a")
    assert not await store.remove_line("main", "a")
    await store.add_line(make_line("a"))
    assert await _ids(store) == ["b", "c", "a"]
    assert await store.clear_lines("main") == 3
    assert await store.clear_lines("main") == 0
    await store.add_line(make_line("b"))
    assert await _ids(store) == ["b"]


async def test_a_line_is_added_once(store: Store, make_line: MakeLine) -> None:
    await store.add_line(make_line("1", "first"))
    with pytest.raises(Conflict, match="stored already"):
        await store.add_line(make_line("1", "second"))
    await store.add_line(make_line("1", session="other"))
    assert [line.content for line in await store.lines("main", 10)] == ["first"]


async def test_a_job_from_its_queueing_to_its_end(forgetful: Store, clock: Clock, make_line: MakeLine) -> None:
    job = JobRecord(
        "j1",
        "main",
        "response",
        {"include_audio": True},
        999.0,
        command_id="c1",
        reply={"success": True, "job_id": "j1"},
    )
    await forgetful.add_job(job)
    await forgetful.add_job(JobRecord("j2", "main", "say", {"text": "Hi"}, 999.5))
    await forgetful.add_job(JobRecord("j3", "other", "say", {}, 999.5, command_id="c1"))
    assert await forgetful.job_by_command("main", "c1") == job
    assert await forgetful.job_by_command("main", "c2") is None
    assert await forgetful.command_reply("main", "c1") == {"success": True, "job_id": "j1"}
    with pytest.raises(Conflict):
        await forgetful.add_job(JobRecord("j4", "main", "say", {}, 1.0, command_id="c1"))
    with pytest.raises(Conflict):
        await forgetful.add_job(JobRecord("j2", "main", "say", {}, 1.0))

    assert await forgetful.save_partial("j1", "So")
    assert await forgetful.save_partial("j1", "So far")
    assert not await forgetful.save_partial("unknown", "So far")
    assert [(one.job_id, one.partial) for one in await forgetful.unfinished_jobs("main")] == [
        ("j1", "So far"),
        ("j2", ""),
    ]
    assert [one.job_id for one in await forgetful.unfinished_jobs()] == ["j1", "j2", "j3"]

    clock.now = 1010.0
    await forgetful.finish_job("j1", make_line("answer", "So far so good."))
    await forgetful.finish_job("j2")
    assert await _ids(forgetful) == ["answer"]
    assert [one.job_id for one in await forgetful.unfinished_jobs()] == ["j3"]
    finished = await forgetful.job_by_command("main", "c1")
    assert finished == JobRecord(
        "j1", "main", "response", {}, 999.0, command_id="c1", reply=job.reply, partial="", finished=1010.0
    )
    assert not await forgetful.save_partial("j1", "too late")
    for gone in ("j1", "j2", "unknown"):
        with pytest.raises(NotFound, match="no unfinished job"):
            await forgetful.finish_job(gone, make_line(f"late line of {gone}"))
    assert await _ids(forgetful) == ["answer"]


async def test_a_job_whose_line_is_refused_does_not_end(store: Store, make_line: MakeLine) -> None:
    await store.add_line(make_line("1"))
    await store.add_job(JobRecord("j1", "main", "response", {}, 1.0))
    with pytest.raises(Conflict):
        await store.finish_job("j1", make_line("1"))
    assert [job.job_id for job in await store.unfinished_jobs()] == ["j1"]


async def test_the_first_answer_to_a_command_stands(store: Store) -> None:
    assert await store.command_reply("main", "c1") is None
    await store.remember_command("main", "c1", {"success": True, "id": 3})
    await store.remember_command("main", "c1", {"success": False})
    assert await store.command_reply("main", "c1") == {"success": True, "id": 3}
    assert await store.command_reply("other", "c1") is None
    with pytest.raises(BadRequest, match="command_id is empty"):
        await store.remember_command("main", "", {})


async def test_commands_are_forgotten_after_their_time(forgetful: Store, clock: Clock) -> None:
    await forgetful.remember_command("main", "old", {"n": 1})
    for job_id in ("old job", "running"):
        await forgetful.add_job(JobRecord(job_id, "main", "say", {}, 1.0, command_id=f"do {job_id}"))
    await forgetful.finish_job("old job")
    clock.now += 61
    for number in range(256):
        await forgetful.remember_command("main", str(number), {})
    assert await forgetful.command_reply("main", "old") is None
    assert await forgetful.job_by_command("main", "do old job") is None
    assert await forgetful.job_by_command("main", "do running") is not None
    assert await forgetful.command_reply("main", "0") == {}


async def test_no_more_commands_are_kept_than_allowed(forgetful: Store) -> None:
    await forgetful.add_job(JobRecord("running", "main", "say", {}, 1.0, command_id="do running"))
    for number in range(513):
        await forgetful.remember_command("main", f"c{number}", {})
        await forgetful.add_job(JobRecord(f"j{number}", "main", "say", {}, 1.0, command_id=f"do {number}"))
        await forgetful.finish_job(f"j{number}")
    replies = [await forgetful.command_reply("main", f"c{number}") for number in range(513)]
    jobs = [await forgetful.job_by_command("main", f"do {number}") for number in range(513)]
    for kept in (replies, jobs):
        count = sum(one is not None for one in kept)
        assert 300 <= count <= 300 + 256
        assert all(one is None for one in kept[:-count])
    assert [job.job_id for job in await forgetful.unfinished_jobs()] == ["running"]


async def test_finished_jobs_without_a_command_leave_nothing(store: Store) -> None:
    await store.add_job(JobRecord("j1", "main", "say", {}, 1.0))
    await store.finish_job("j1")
    await store.add_job(JobRecord("j1", "main", "say", {}, 1.0))


@pytest.mark.parametrize("timestamp", [float("nan"), float("inf")])
async def test_times_are_finite(store: Store, make_line: MakeLine, timestamp: float) -> None:
    with pytest.raises(BadRequest, match="timestamp is"):
        await store.add_line(make_line("1", timestamp=timestamp))
    with pytest.raises(BadRequest, match="created is"):
        await store.add_job(JobRecord("j1", "main", "say", {}, timestamp))


async def test_a_job_and_the_line_with_which_it_begins_come_together_or_not_at_all(
    store: Store, make_line: MakeLine
) -> None:
    line = make_line("l1")
    await store.add_job(JobRecord("j1", line.session, "response", {}, 1.0), line)
    assert await store.lines(line.session, 10) == [line]
    with pytest.raises(Conflict):
        await store.add_job(JobRecord("j2", line.session, "response", {}, 1.0), line)
    assert [job.job_id for job in await store.unfinished_jobs()] == ["j1"]
