"""What was announced survives SIGKILL, and the dead process holds nothing back."""

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

import pytest

from greenroom.errors import Unavailable
from greenroom.store import Store

CHILD = Path(__file__).with_name("store_child.py")


async def _start(database: Path, round_name: str) -> tuple[Process, asyncio.StreamReader]:
    child = await asyncio.create_subprocess_exec(sys.executable, str(CHILD), str(database), round_name, stdout=PIPE)
    assert child.stdout is not None
    assert (await child.stdout.readline()).strip() == b"ready"
    return child, child.stdout


async def _kill(child: Process, output: asyncio.StreamReader) -> list[str]:
    """The whole lines that it had still said."""
    child.kill()
    rest = await output.read()
    await child.wait()
    said, _, _ = rest.rpartition(b"\n")
    return said.decode().splitlines()


async def test_every_announced_line_is_there_after_sigkill(database: Path) -> None:
    announced: list[str] = []
    for round_name, how_many in (("a", 1), ("b", 157), ("c", 1203)):
        child, output = await _start(database, round_name)
        for _ in range(how_many):
            announced.append((await output.readline()).decode().strip())
        announced += await _kill(child, output)

    store = await Store.open(database)
    try:
        stored = await store.lines("main", 1_000_000)
        ids = [line.line_id for line in stored]
        assert set(announced) <= set(ids)
        assert len(set(ids)) == len(ids)
        for line in stored:
            assert line.content == f"words of {line.line_id} " * 20
        for task in range(4):
            for round_name in "abc":
                numbers = [int(one.rpartition("/")[2]) for one in ids if one.startswith(f"{round_name}/{task}/")]
                assert numbers == list(range(len(numbers)))

        session = await store.load_session("main")
        assert session is not None and session.state == {"round": "c"}
        # A job and its line end together: an unfinished one has no line.
        unfinished = {job.job_id: job.partial for job in await store.unfinished_jobs()}
        assert not {one.removeprefix("job ") for one in unfinished} & set(ids)
        assert {one: text for one, text in unfinished.items() if one.startswith("left")} == {
            "left a": "So far",
            "left b": "So far",
            "left c": "So far",
        }
        for line_id in announced:
            if line_id.endswith("/0"):
                job = await store.job_by_command("main", f"do {line_id}")
                assert job is not None and job.finished is not None
    finally:
        await store.close()


async def test_two_servers_do_not_share_a_file(database: Path) -> None:
    child, output = await _start(database, "a")
    try:
        with pytest.raises(Unavailable, match=rf"greenroom\.db is in use by another Greenroom \(process {child.pid}\)"):
            await Store.open(database)
    finally:
        await _kill(child, output)
    store = await Store.open(database)
    with pytest.raises(Unavailable, match="in use by another Greenroom"):
        await Store.open(f"sqlite:///{database}")
    await store.close()
    again = await Store.open(database)
    await again.close()


async def test_closing_stores_what_was_asked_before(database: Path) -> None:
    store = await Store.open(database)
    saving = [asyncio.ensure_future(store.save_session(f"session {number}", {"n": number})) for number in range(100)]
    await asyncio.sleep(0)
    await store.close()
    await asyncio.gather(*saving)
    with pytest.raises(Unavailable, match="has been closed"):
        await store.list_sessions()
    await store.close()

    again = await Store.open(database)
    assert len(await again.list_sessions()) == 100
    await again.close()
    assert {path.name for path in database.parent.iterdir()} == {"greenroom.db", "greenroom.db.lock"}
