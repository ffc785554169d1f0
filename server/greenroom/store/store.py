"""Conversations on disk. Every call returns after its transaction is committed: what is announced next is durable."""

import asyncio
import math
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

from sqlalchemy import Connection

from greenroom.errors import BadRequest
from greenroom.store import commands, jobs, lines, sessions
from greenroom.store.database import Database
from greenroom.store.encoding import encode_object
from greenroom.store.records import JobRecord, LineRecord, Retention, SessionRecord
from greenroom.store.writer import Writer

T = TypeVar("T")
_PRUNE_EVERY = 256


class Store:
    """What one task asks is done in the order asked; what several ask at once shares a transaction.

    Every method raises ``Unavailable`` with a sentence for the user when the database cannot be used (disk full, file
    damaged ...): nothing of that call is stored, and the next call works as soon as the cause is gone. ``Busy``: too
    many calls wait already. A call that is cancelled may have been carried out all the same. A session that was never
    saved comes into being, with an empty state, with its first line, job or command.
    """

    def __init__(self, writer: Writer, clock: Callable[[], float], retention: Retention) -> None:
        self._writer = writer
        self._clock = clock
        self._retention = retention
        self._since_pruned = _PRUNE_EVERY  # the first command after a start forgets what is past

    @classmethod
    async def open(
        cls,
        url: str | Path,
        synchronous: str = "normal",
        *,
        clock: Callable[[], float] = time.time,
        retention: Retention | None = None,
    ) -> Self:
        """Open or create the database, upgraded to the newest format, and keep others from it.

        ``url`` is a file's path or an SQLAlchemy URL with a synchronous driver (``sqlite:///file``,
        ``postgresql+psycopg://...``; ``:memory:`` keeps nothing). ``synchronous`` is SQLite's: with ``normal`` all that
        was announced survives the death of the process, with ``full`` also that of the machine, at the price of a
        disk flush for each transaction.

        :raises Unavailable: with a sentence that says why the database cannot be used and what to do.
        :raises BadRequest: for a URL or a value that cannot be meant.
        """
        writer = Writer(Database(url, synchronous), asyncio.get_running_loop())
        await writer.start()
        return cls(writer, clock, retention or Retention())

    async def close(self) -> None:
        """Store what was asked so far, then let go of the database."""
        await self._writer.close()

    async def load_session(self, name: str) -> SessionRecord | None:
        return await self._read(partial(sessions.load, name=name))

    async def save_session(self, name: str, state: Mapping[str, Any]) -> None:
        """:raises BadRequest: if JSON cannot hold ``state``."""
        text = encode_object(state, "state")
        await self._write(partial(sessions.save, name=name, state=text, now=self._clock()))

    async def list_sessions(self) -> list[SessionRecord]:
        """Oldest first."""
        return await self._read(sessions.list_all)

    async def delete_session(self, name: str) -> bool:
        """Its lines, jobs and commands go with it. False if there was none."""
        return await self._write(partial(sessions.remove, name=name))

    async def add_line(self, line: LineRecord) -> None:
        """:raises Conflict: if the session has a line of that id. :raises BadRequest: if JSON cannot hold ``extra``."""
        await self._write(self._adding(line))

    async def change_line(self, session: str, line_id: str, content: str) -> bool:
        """False if there is no such line."""
        return await self._write(partial(lines.change, session=session, line_id=line_id, content=content))

    async def remove_line(self, session: str, line_id: str) -> bool:
        """False if there is no such line."""
        return await self._write(partial(lines.remove, session=session, line_id=line_id))

    async def clear_lines(self, session: str) -> int:
        """How many lines there were."""
        return await self._write(partial(lines.clear, session=session))

    async def lines(self, session: str, limit: int, before: str | None = None) -> list[LineRecord]:
        """The last ``limit`` lines, oldest first; with ``before``, the last of those that stand before that line.

        :raises NotFound: if there is no line ``before``.
        """
        if limit <= 0:
            return []
        return await self._read(partial(lines.last, session=session, limit=limit, before=before))

    async def add_job(self, job: JobRecord, line: LineRecord | None = None) -> None:
        """The job, and the line with which it begins, both or none.

        :raises Conflict: if its id is used, or its command id in that session, or the line's id.
        :raises BadRequest: if JSON cannot hold ``args`` or ``reply``.
        """
        _check_time(job.created, "created")
        args, reply = encode_object(job.args, "args"), encode_object(job.reply, "reply")
        adding = partial(jobs.add, job=job, args=args, reply=reply, now=self._clock())
        if line is None:
            await self._write(adding)
        else:
            await self._write(partial(_both, adding, self._adding(line)))

    async def job_by_command(self, session: str, command_id: str) -> JobRecord | None:
        return await self._read(partial(jobs.by_command, session=session, command_id=command_id))

    async def save_partial(self, job_id: str, text: str) -> bool:
        """Keep what there is of the answer so far (the whole of it). False if no such job is unfinished."""
        return await self._write(partial(jobs.save_partial, job_id=job_id, text=text))

    async def finish_job(self, job_id: str, line: LineRecord | None = None) -> None:
        """End the job and add the line that it brought, both or none.

        :raises NotFound: if no such job is unfinished. :raises Conflict, BadRequest: as ``add_line`` does.
        """
        await self._write(self._finishing(job_id, None if line is None else self._adding(line)))

    async def unfinished_jobs(self, session: str | None = None) -> list[JobRecord]:
        """Of one session or of all, in the order in which they were added."""
        return await self._read(partial(jobs.unfinished, session=session))

    async def remember_command(self, session: str, command_id: str, reply: Mapping[str, Any]) -> None:
        """Keep the answer to a command that is no job. The first answer for an id stands.

        :raises BadRequest: if JSON cannot hold ``reply``, or for an empty id.
        """
        if not command_id:
            raise BadRequest("command_id is empty; leave it out, or give each command an id of its own")
        text, now = encode_object(reply, "reply"), self._clock()

        def remember(connection: Connection) -> None:
            commands.remember(connection, session, command_id, text, now)

        await self._write(self._pruning(remember))

    async def command_reply(self, session: str, command_id: str) -> Mapping[str, Any] | None:
        """The first answer to this command, a job's too; ``None`` if it is new or long past."""
        return await self._read(partial(commands.reply, session=session, command_id=command_id))

    def _adding(self, line: LineRecord) -> Callable[[Connection], None]:
        _check_time(line.timestamp, "timestamp")
        return partial(lines.add, line=line, extra=encode_object(line.extra, "extra"), now=self._clock())

    def _finishing(self, job_id: str, adding: Callable[[Connection], None] | None) -> Callable[[Connection], None]:
        now = self._clock()

        def finish(connection: Connection) -> None:
            jobs.finish(connection, job_id, now)
            if adding is not None:
                adding(connection)

        return self._pruning(finish)

    def _pruning(self, run: Callable[[Connection], None]) -> Callable[[Connection], None]:
        """``run``, and now and then the forgetting of old commands along with it."""
        self._since_pruned += 1
        if self._since_pruned < _PRUNE_EVERY:
            return run
        self._since_pruned = 0

        def run_and_prune(connection: Connection) -> None:
            run(connection)
            self._prune(connection)

        return run_and_prune

    def _prune(self, connection: Connection) -> None:
        now = self._clock()
        jobs.prune(connection, now, self._retention)
        commands.prune(connection, now, self._retention)

    async def _read(self, run: Callable[[Connection], T]) -> T:
        return await self._writer.submit(run, writes=False)

    async def _write(self, run: Callable[[Connection], T]) -> T:
        return await self._writer.submit(run, writes=True)


def _both(first: Callable[[Connection], None], second: Callable[[Connection], None], connection: Connection) -> None:
    first(connection)
    second(connection)


def _check_time(seconds: float, name: str) -> None:
    if not math.isfinite(seconds):
        raise BadRequest(f"{name} is {seconds}; it must be a finite number of seconds")
