"""Old databases are brought up to date after a copy was made; newer ones are refused; nothing is half done."""

import contextlib
import re
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from sqlalchemy import ClauseElement, Connection, Executable, create_engine, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from greenroom.errors import Unavailable
from greenroom.store import LineRecord, Store, commands, jobs, lines, sessions
from greenroom.store import migrations as migrations_package
from greenroom.store.database import Database
from greenroom.store.migrations import MIGRATIONS, Migration
from greenroom.store.tables import metadata

MakeLine = Callable[..., LineRecord]
SNAPSHOT = Path(__file__).with_name("snapshot_0001.sql")


def _restore_snapshot(database: Path) -> None:
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.executescript(SNAPSHOT.read_text(encoding="utf-8"))


def _open(database: Path, migrations: Sequence[Migration]) -> None:
    opened = Database(database, migrations=migrations)
    opened.open()
    opened.close()


def _query(database: Path, sql: str) -> list[tuple[object, ...]]:
    with contextlib.closing(sqlite3.connect(database)) as connection:
        return connection.execute(sql).fetchall()


def _schema(database: Path) -> set[str]:
    """Every table and index, as SQLite wrote it down."""
    return {re.sub(r"\s+", " ", str(sql)) for (sql,) in _query(database, "SELECT sql FROM sqlite_master") if sql}


def _rebuild_lines(connection: Connection) -> None:
    """A change of a table as SQLite needs it: copy, drop, rename; the references to it must not cascade."""
    connection.execute(
        text("CREATE TABLE new_sessions (name TEXT PRIMARY KEY, state TEXT, created, updated, mood TEXT)")
    )
    connection.execute(text("INSERT INTO new_sessions SELECT name, state, created, updated, 'calm' FROM sessions"))
    connection.execute(text("DROP TABLE sessions"))
    connection.execute(text("ALTER TABLE new_sessions RENAME TO sessions"))


SECOND = Migration(2, "moods", _rebuild_lines)


def test_every_migration_is_listed_and_numbered() -> None:
    assert migrations_package.__file__ is not None
    files = sorted(path.stem for path in Path(migrations_package.__file__).parent.glob("m*.py"))
    assert files == [f"m{migration.number:04d}_{migration.name}" for migration in MIGRATIONS]
    assert [migration.number for migration in MIGRATIONS] == list(range(1, len(MIGRATIONS) + 1))


def test_the_migrations_lead_to_the_tables_of_today(database: Path, tmp_path: Path) -> None:
    _open(database, MIGRATIONS)
    wanted = tmp_path / "wanted.db"
    engine = create_engine(f"sqlite:///{wanted}")
    metadata.create_all(engine)
    engine.dispose()
    assert _schema(database) == _schema(wanted)
    assert _query(database, "SELECT number, name FROM greenroom_migrations") == [(1, "conversations")]


async def test_the_first_format_is_still_read(database: Path, make_line: MakeLine) -> None:
    _restore_snapshot(database)
    store = await Store.open(database)
    main = await store.load_session("main")
    assert main is not None and main.state == {"binding": "eliza", "said": "Grüße\ud800"} and main.created == 1000.5
    assert await store.lines("main", 10) == [
        LineRecord("l1", "main", "chat", "Ada", 1001.25, "Hello, 漢字 😀\x00\x1a\ud800", {"emotion": "joy"}),
        LineRecord("l2", "main", "raw", "Eliza", 1002.0, "How do you do?", {}),
    ]
    assert [(job.job_id, job.args, job.partial) for job in await store.unfinished_jobs()] == [
        ("j2", {"include_audio": True}, "So far")
    ]
    done = await store.job_by_command("main", "c1")
    assert done is not None and done.job_id == "j1" and done.finished is not None
    assert await store.command_reply("main", "c3") == {"success": True}
    await store.add_line(make_line("l3"))
    await store.close()


def test_an_older_database_is_copied_then_upgraded(database: Path) -> None:
    _restore_snapshot(database)
    before = _query(database, "SELECT * FROM lines")
    _open(database, [*MIGRATIONS, SECOND])
    assert _query(database, "SELECT name, mood FROM sessions") == [("main", "calm")]
    assert _query(database, "SELECT * FROM lines") == before
    assert _query(database, "SELECT number, name FROM greenroom_migrations") == [(1, "conversations"), (2, "moods")]

    backup = database.with_name("greenroom.db.0001.bak")
    assert _query(backup, "SELECT * FROM lines") == before
    assert _query(backup, "SELECT max(number) FROM greenroom_migrations") == [(1,)]
    backup.unlink()
    _open(database, [*MIGRATIONS, SECOND])
    assert not backup.exists()


def test_a_new_database_needs_no_backup(database: Path) -> None:
    _open(database, [*MIGRATIONS, SECOND])
    assert {path.name for path in database.parent.iterdir()} == {"greenroom.db", "greenroom.db.lock"}


async def test_a_newer_database_is_refused(database: Path) -> None:
    _open(database, [*MIGRATIONS, SECOND])
    with pytest.raises(Unavailable, match=r"later Greenroom \(its format is 2, this one knows 1\): update Greenroom"):
        await Store.open(database)
    assert _query(database, "SELECT max(number) FROM greenroom_migrations") == [(2,)]


def test_a_migration_that_fails_changes_nothing(database: Path) -> None:
    def fail(connection: Connection) -> None:
        _rebuild_lines(connection)
        connection.execute(text("SELECT nonsense"))

    def lose(connection: Connection) -> None:
        connection.execute(text("DELETE FROM sessions"))

    _restore_snapshot(database)
    before = _schema(database)
    with pytest.raises(Unavailable, match="nonsense"):
        _open(database, [*MIGRATIONS, Migration(2, "fails", fail)])
    with pytest.raises(Unavailable, match="cannot be upgraded: the table"):
        _open(database, [*MIGRATIONS, Migration(2, "loses", lose)])
    assert _schema(database) == before
    assert _query(database, "SELECT max(number) FROM greenroom_migrations") == [(1,)]
    assert _query(database, "SELECT count(*) FROM lines") == [(2,)]
    _open(database, [*MIGRATIONS, SECOND])


def test_no_upgrade_without_a_backup(database: Path) -> None:
    _restore_snapshot(database)
    database.with_name("greenroom.db.0001.bak").mkdir()
    with pytest.raises(Unavailable, match=r"no backup greenroom\.db\.0001\.bak can be made"):
        _open(database, [*MIGRATIONS, SECOND])
    assert _query(database, "SELECT max(number) FROM greenroom_migrations") == [(1,)]
    assert not database.with_name("greenroom.db.0001.bak.part").exists()


@pytest.mark.parametrize("module", [sessions, lines, jobs, commands])
def test_the_statements_are_portable(module: object) -> None:
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    statements = [
        value for value in vars(module).values() if isinstance(value, ClauseElement) and isinstance(value, Executable)
    ]
    assert len(statements) > 3
    for statement in statements:
        assert str(statement.compile(dialect=dialect))
    for table in metadata.sorted_tables:
        assert "CREATE TABLE" in str(CreateTable(table).compile(dialect=dialect))
