"""Full disks, damaged files, missing permission: a sentence that says what to do, nothing lost, no restart."""

import asyncio
import contextlib
import os
import random
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection

from greenroom.errors import BadRequest, Unavailable
from greenroom.store import JobRecord, LineRecord, Store

MakeLine = Callable[..., LineRecord]
LONG = "word " * 2000


async def _pragma(store: Store, pragma: str) -> object:
    def run(connection: Connection) -> object:
        answer = connection.exec_driver_sql(f"PRAGMA {pragma}")
        return answer.scalar() if answer.returns_rows else None

    return await store._writer.submit(run, writes=False)


async def _add_until_full(store: Store, make_line: MakeLine) -> tuple[set[str], set[str]]:
    """Several tasks add lines until none can any more; what was announced, and what was refused."""
    announced: set[str] = set()
    refused: dict[str, str] = {}

    async def add(task: int) -> None:
        for number in range(10_000):
            line_id = f"{task}/{number}"
            try:
                await store.add_line(make_line(line_id, LONG))
            except Unavailable as error:
                refused[line_id] = error.message
                return
            announced.add(line_id)

    async with asyncio.TaskGroup() as tasks:
        for task in range(8):
            tasks.create_task(add(task))
    for message in refused.values():
        assert "disk that holds" in message and "no restart is needed" in message
    return announced, set(refused)


async def _stored(store: Store) -> set[str]:
    return {line.line_id for line in await store.lines("main", 100_000)}


async def test_a_full_database_works_again_once_there_is_room(
    store: Store, make_line: MakeLine, database: Path
) -> None:
    await store.add_job(JobRecord("j1", "main", "response", {}, 1.0))
    await _pragma(store, f"max_page_count = {int(str(await _pragma(store, 'page_count'))) + 100}")
    announced, refused = await _add_until_full(store, make_line)
    assert announced and len(refused) == 8
    assert await _stored(store) == announced

    with pytest.raises(Unavailable, match="full: nothing was stored"):
        await store.finish_job("j1", make_line("answer", LONG * 10))
    assert [job.job_id for job in await store.unfinished_jobs()] == ["j1"]
    # With nothing in it that needs a new page a change still goes through, however full it is.
    assert await store.change_line("main", next(iter(announced)), "short")

    await _pragma(store, "max_page_count = 1000000")
    await store.finish_job("j1", make_line("answer", LONG * 10))
    for line_id in refused:
        await store.add_line(make_line(line_id))
    assert await _stored(store) == announced | refused | {"answer"}


class SmallDisk:
    """A file system of 2 MB where mounting one is permitted, else a plain folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
        try:
            self.mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
        except OSError:
            self.mounted = False

    def fill(self) -> None:
        if self.mounted:
            with (self.folder / "ballast").open("wb", buffering=0) as ballast, contextlib.suppress(OSError):
                while True:
                    ballast.write(bytes(4096))

    def make_room(self) -> None:
        (self.folder / "ballast").unlink(missing_ok=True)

    def remove(self) -> None:
        if self.mounted:
            subprocess.run(["umount", str(self.folder)], capture_output=True, check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    disk = SmallDisk(tmp_path / "disk")
    yield disk
    disk.remove()


async def test_a_full_disk_loses_nothing_that_was_announced(small_disk: SmallDisk, make_line: MakeLine) -> None:
    database = small_disk.folder / "greenroom.db"
    store = await Store.open(database)
    await store.add_line(make_line("before"))
    (small_disk.folder / "ballast").write_bytes(bytes(500_000))
    if not small_disk.mounted:
        await _pragma(store, "max_page_count = 100")
    announced, refused = await _add_until_full(store, make_line)
    assert announced and refused
    announced.add("before")
    assert await _stored(store) == announced

    small_disk.make_room()
    await _pragma(store, "max_page_count = 1000000")
    await store.add_line(make_line("after"))
    await store.close()

    again = await Store.open(database)
    assert await _stored(again) == announced | {"after"}
    await again.close()


async def test_a_disk_that_is_full_from_the_start_is_said_to_be(small_disk: SmallDisk) -> None:
    if not small_disk.mounted:
        small_disk.folder.rmdir()
        small_disk.folder.write_bytes(b"a file stands where the folder should be")
    small_disk.fill()
    with pytest.raises(Unavailable, match=r"room|full"):
        await Store.open(small_disk.folder / "greenroom.db")
    if not small_disk.mounted:
        small_disk.folder.unlink()
        small_disk.folder.mkdir()
    small_disk.make_room()
    store = await Store.open(small_disk.folder / "greenroom.db")
    await store.save_session("main", {})
    await store.close()


async def test_a_database_that_may_not_be_written_any_more(store: Store, make_line: MakeLine) -> None:
    await store.add_line(make_line("1"))
    await _pragma(store, "query_only = ON")
    with pytest.raises(Unavailable, match="cannot be written: give the server write permission"):
        await store.add_line(make_line("2"))
    assert await _stored(store) == {"1"}
    await store.add_line(make_line("3"))  # the connection was made anew
    assert await _stored(store) == {"1", "3"}


@contextlib.contextmanager
def _unprivileged() -> Iterator[None]:
    """Permissions do not bind root: be somebody else for a while."""
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


async def test_no_permission() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        database = Path(folder) / "greenroom.db"
        store = await Store.open(database)
        await store.close()
        for path in (database, Path(folder) / "greenroom.db.lock"):
            path.chmod(0o400)
        with _unprivileged(), pytest.raises(Unavailable, match="Permission denied; check that the server may write"):
            await Store.open(database)
        for path in (database, Path(folder) / "greenroom.db.lock"):
            path.chmod(0o600)
        again = await Store.open(database)
        await again.close()


async def test_conversations_are_private(store: Store, database: Path, make_line: MakeLine) -> None:
    await store.add_line(make_line("1"))
    if os.name == "posix":
        assert {path.stat().st_mode & 0o077 for path in database.parent.iterdir()} == {0}
    assert database.with_name("greenroom.db-wal").exists()


async def test_a_folder_in_place_of_the_file(database: Path) -> None:
    database.mkdir()
    with pytest.raises(Unavailable, match="is a folder: name a file in it"):
        await Store.open(database)


async def test_a_file_that_is_no_database(database: Path) -> None:
    database.write_bytes(b"These are my notes, not a database.\n" * 100)
    with pytest.raises(Unavailable, match=r"greenroom\.db is not a database: move the file away"):
        await Store.open(database)
    assert database.read_bytes().startswith(b"These are my notes")
    database.unlink()
    store = await Store.open(database)
    await store.close()


async def test_an_empty_file_is_a_new_database(database: Path) -> None:
    database.touch()
    store = await Store.open(database)
    assert await store.list_sessions() == []
    await store.close()


async def test_another_programs_database_is_left_alone(database: Path) -> None:
    with contextlib.closing(sqlite3.connect(database)) as other:
        other.execute("CREATE TABLE bookmarks (url TEXT)")
        other.commit()
    before = database.read_bytes()
    with pytest.raises(Unavailable, match=r"belongs to another program .*'bookmarks'"):
        await Store.open(database)
    with contextlib.closing(sqlite3.connect(database)) as other:
        assert other.execute("SELECT name FROM sqlite_master").fetchall() == [("bookmarks",)]
    assert len(database.read_bytes()) == len(before)


@pytest.mark.parametrize("seed", range(8))
async def test_a_damaged_file_gives_sentences_and_no_crash(database: Path, make_line: MakeLine, seed: int) -> None:
    store = await Store.open(database)
    async with asyncio.TaskGroup() as tasks:
        for number in range(200):
            tasks.create_task(store.add_line(make_line(str(number), LONG[:1000])))
    await store.close()

    chance = random.Random(seed)
    content = bytearray(database.read_bytes())
    for _ in range(40):
        start = chance.randrange(0 if seed % 2 else 4096, len(content) - 200)
        content[start : start + 200] = chance.randbytes(200)
    database.write_bytes(content)

    refusals = []
    try:
        store = await Store.open(database)
    except Unavailable as error:
        refusals.append(error.message)
    else:
        for ask in (store.lines("main", 1000), store.add_line(make_line("new", LONG)), store.unfinished_jobs()):
            try:
                await ask
            except Unavailable as error:
                refusals.append(error.message)
        await store.close()
    assert refusals
    for message in refusals:
        assert "restore" in message or "not a database" in message or "another program" in message


async def test_text_that_is_no_text(store: Store, database: Path, make_line: MakeLine) -> None:
    await store.add_line(make_line("1"))
    with contextlib.closing(sqlite3.connect(database)) as other:
        other.execute("UPDATE lines SET content = CAST(x'ff00fe' AS TEXT)")
        other.commit()
    with pytest.raises(Unavailable, match="restore a backup"):
        await store.lines("main", 10)
    with contextlib.closing(sqlite3.connect(database)) as other:
        other.execute("UPDATE lines SET content = 'mended', extra = '[1]'")
        other.commit()
    with pytest.raises(Unavailable, match="damaged line: not an object"):
        await store.lines("main", 10)
    assert await store.remove_line("main", "1")


async def test_another_program_holds_the_file_locked(store: Store, database: Path, make_line: MakeLine) -> None:
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as other:
        await _pragma(store, "busy_timeout = 10")
        other.execute("BEGIN IMMEDIATE")
        results = await asyncio.gather(
            *(store.add_line(make_line(str(number))) for number in range(20)), return_exceptions=True
        )
        assert all(isinstance(one, Unavailable) and "another program holds" in one.message for one in results)
        assert await store.list_sessions() == []
    await store.add_line(make_line("1"))


async def test_a_refusal_tells_neither_what_people_said_nor_where_the_file_lies(
    store: Store, database: Path, make_line: MakeLine, caplog: pytest.LogCaptureFixture
) -> None:
    await _pragma(store, "query_only = ON")
    with pytest.raises(Unavailable) as refused:
        await store.add_line(make_line("1", "a secret"))
    assert "a secret" not in f"{refused.value.message} {refused.value.__cause__}"
    assert "a secret" not in caplog.text
    assert "the database greenroom.db " in refused.value.message
    assert str(database.parent) not in refused.value.message


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("://nowhere", "URL cannot be read"),
        ("oddbase://host/name", "of a kind that SQLAlchemy does not know"),
        ("postgresql+asyncpg://user:word@host/name", r"user:\*\*\*@host/name names an asyncio driver"),
    ],
)
async def test_a_url_that_cannot_be_meant(url: str, problem: str) -> None:
    with pytest.raises(BadRequest, match=problem):
        await Store.open(url)


async def test_synchronous_is_normal_or_full(database: Path) -> None:
    with pytest.raises(BadRequest, match="synchronous is 'off'; it can be normal or full"):
        await Store.open(database, "off")
    store = await Store.open(f"sqlite+aiosqlite:///{database}", "full")
    assert await _pragma(store, "synchronous") == 2
    await store.close()


async def test_a_database_in_memory() -> None:
    store = await Store.open(":memory:")
    await store.save_session("main", {})
    assert [session.name for session in await store.list_sessions()] == ["main"]
    await store.close()
