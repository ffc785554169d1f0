"""SQLite: one file, a write-ahead log, one server at a time."""

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection
from sqlalchemy.exc import IntegrityError

from greenroom.errors import GreenroomError, Unavailable
from greenroom.store.backend import Backend, DriverError
from greenroom.store.lock import FileLock, FileLocked

SYNCHRONOUS: Final = ("normal", "full")
_BUSY_TIMEOUT_S = 2
_CHECKPOINT_PAGES = 4000
"""The log is merged into the file in idle moments (``tidy``); past this many pages of 4 kB a commit does it itself."""

_SENTENCES = {
    sqlite3.SQLITE_FULL: "the disk that holds {label} is full: nothing was stored; free some space and try again, "
    "no restart is needed",
    sqlite3.SQLITE_READONLY: "{label} cannot be written: give the server write permission on the file and its folder",
    sqlite3.SQLITE_PERM: "{label} cannot be used: give the server read and write permission on the file",
    sqlite3.SQLITE_AUTH: "{label} cannot be used: give the server read and write permission on the file",
    sqlite3.SQLITE_CANTOPEN: "{label} cannot be opened: check that its folder exists, that the server may write there, "
    "and that the disk has room",
    sqlite3.SQLITE_BUSY: "another program holds {label} locked: close it, then try again",
    sqlite3.SQLITE_LOCKED: "another program holds {label} locked: close it, then try again",
    sqlite3.SQLITE_NOTADB: "{label} is not a database: move the file away or name another one",
    sqlite3.SQLITE_CORRUPT: "{label} is damaged: move the file away and restore a backup of it, or start afresh",
    sqlite3.SQLITE_IOERR: "the disk that holds {label} failed ({detail}): check the disk and the room on it, "
    "then try again",
}
_KEEP_CONNECTION = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


class SqliteBackend(Backend):
    def __init__(self, url: URL, synchronous: str) -> None:
        in_file = bool(url.database) and url.database != ":memory:" and not str(url.database).startswith("file:")
        self._path = Path(str(url.database)).expanduser().resolve() if in_file else None
        super().__init__(url if self._path is None else url.set(database=str(self._path)))
        self._synchronous = synchronous
        self._lock: FileLock | None = None
        self.label = f"the database {self._path or url.database or 'in memory'}"
        if self._path is not None:
            self.short_label = f"the database {self._path.name}"

    @property
    def connect_arguments(self) -> dict[str, Any]:
        # Without an isolation level of its own the driver leaves BEGIN and COMMIT to us, also around DDL.
        return {"isolation_level": None, "timeout": _BUSY_TIMEOUT_S}

    def acquire(self) -> None:
        path = self._path
        if path is None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                raise Unavailable(f"{self.label} is a folder: name a file in it instead")
            lock = FileLock(path.with_name(path.name + ".lock"))
            lock.acquire()
            self._lock = lock
            # Conversations are private: SQLite gives the log and its index the permissions of the file.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        except FileLocked as error:
            holder = f" (process {error.holder})" if error.holder else ""
            raise Unavailable(
                f"{self.label} is in use by another Greenroom{holder}: stop that one or name another file"
            ) from error
        except OSError as error:
            self.release()
            raise Unavailable(
                f"{self.label} cannot be opened: {error.strerror or error}; check that the server may write the file "
                "and its folder and that the disk has room"
            ) from error

    def release(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def configure(self, connection: Connection) -> None:
        for pragma in (
            "journal_mode=WAL",
            f"synchronous={self._synchronous}",
            "foreign_keys=ON",
            f"wal_autocheckpoint={_CHECKPOINT_PAGES}",
        ):
            connection.exec_driver_sql(f"PRAGMA {pragma}")

    def begin(self, connection: Connection, *, writes: bool) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    @contextmanager
    def migrating(self, connection: Connection) -> Iterator[None]:
        # A table is changed by copying it into a new one, which must not set off the cascades of the old one.
        self._pragma(connection, "foreign_keys=OFF")
        try:
            yield
        finally:
            self._pragma(connection, "foreign_keys=ON")

    def check_migrated(self, connection: Connection) -> None:
        broken = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
        if broken is not None:
            raise Unavailable(f"{self.label} cannot be upgraded: the table {broken[0]} refers to rows that are missing")

    def back_up(self, connection: Connection, number: int) -> None:
        if self._path is None:
            return
        copy = self._path.with_name(f"{self._path.name}.{number:04d}.bak")
        unfinished = copy.with_name(copy.name + ".part")
        try:
            unfinished.unlink(missing_ok=True)
            os.close(os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
            connection.exec_driver_sql("VACUUM INTO ?", (str(unfinished),))
            connection.rollback()
            with unfinished.open("rb+") as file:
                os.fsync(file.fileno())
            unfinished.replace(copy)
        except OSError as error:
            problem = f"{self.label} needs an upgrade, but no backup {copy.name} can be made: {error.strerror or error}"
            raise Unavailable(f"{problem}; free some space or permit writing there") from error
        finally:
            with contextlib.suppress(OSError):
                unfinished.unlink(missing_ok=True)

    def tidy(self, connection: Connection) -> None:
        self._pragma(connection, "wal_checkpoint(PASSIVE)")

    def explain(self, error: DriverError) -> tuple[GreenroomError, bool]:
        if isinstance(error, IntegrityError):
            return super().explain(error)
        problem = getattr(error, "orig", error)
        # Above the lowest byte stand details; text that is no UTF-8 is reported by the driver, without a code.
        code = getattr(problem, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT if problem is error else -1) & 0xFF
        sentence = _SENTENCES.get(code, "{label} cannot be used: {detail}; restore a backup of it if this goes on")
        return Unavailable(sentence.format(label=self.label, detail=problem)), code not in _KEEP_CONNECTION

    @staticmethod
    def _pragma(connection: Connection, pragma: str) -> None:
        connection.exec_driver_sql(f"PRAGMA {pragma}")
        connection.rollback()  # ends what SQLAlchemy takes for a transaction; SQLite has begun none
