"""Jobs that were acknowledged: what a restart has to end, and what a repeated command is answered with."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from greenroom.errors import NotFound
from greenroom.store import sessions
from greenroom.store.encoding import decode_object
from greenroom.store.records import JobRecord, Retention
from greenroom.store.tables import jobs

_unfinished = jobs.c.finished.is_(None)
_one_unfinished = (jobs.c.job_id == bindparam("wanted")) & _unfinished
_ADD = insert(jobs).inline()
_SELECT = select(
    jobs.c.job_id,
    jobs.c.session,
    jobs.c.job_type,
    jobs.c.args,
    jobs.c.created,
    jobs.c.command_id,
    jobs.c.reply,
    jobs.c.partial,
    jobs.c.finished,
)
_BY_COMMAND = _SELECT.where(
    jobs.c.session == bindparam("wanted_session"), jobs.c.command_id == bindparam("wanted_command")
)
_UNFINISHED = _SELECT.where(_unfinished).order_by(jobs.c.position)
_UNFINISHED_OF = _UNFINISHED.where(jobs.c.session == bindparam("wanted_session"))
_SAVE_PARTIAL = update(jobs).where(_one_unfinished).values(partial=bindparam("new_partial"))
_FORGET = delete(jobs).where(_one_unfinished, jobs.c.command_id.is_(None))
_FINISH = update(jobs).where(_one_unfinished).values(finished=bindparam("now"), args="{}", partial="")
_PRUNE_OLD = delete(jobs).where(jobs.c.finished < bindparam("oldest"))
_PRUNE_MANY = delete(jobs).where(
    jobs.c.finished.is_not(None),
    jobs.c.position
    <= select(jobs.c.position)
    .where(jobs.c.finished.is_not(None))
    .order_by(jobs.c.position.desc())
    .limit(1)
    .offset(bindparam("rows"))
    .scalar_subquery(),
)


def add(connection: Connection, job: JobRecord, args: str, reply: str, now: float) -> None:
    sessions.ensure(connection, job.session, now)
    connection.execute(
        _ADD,
        {
            "job_id": job.job_id,
            "session": job.session,
            "job_type": job.job_type,
            "args": args,
            "created": job.created,
            "command_id": job.command_id or None,
            "reply": reply,
            "partial": job.partial,
            "finished": job.finished,
        },
    )


def by_command(connection: Connection, session: str, command_id: str) -> JobRecord | None:
    values = {"wanted_session": session, "wanted_command": command_id}
    row = connection.execute(_BY_COMMAND, values).one_or_none()
    return None if row is None else _record(row)


def unfinished(connection: Connection, session: str | None) -> list[JobRecord]:
    if session is None:
        rows = connection.execute(_UNFINISHED)
    else:
        rows = connection.execute(_UNFINISHED_OF, {"wanted_session": session})
    return [_record(row) for row in rows]


def save_partial(connection: Connection, job_id: str, text: str) -> bool:
    return connection.execute(_SAVE_PARTIAL, {"wanted": job_id, "new_partial": text}).rowcount > 0


def finish(connection: Connection, job_id: str, now: float) -> None:
    if connection.execute(_FORGET, {"wanted": job_id}).rowcount > 0:
        return
    if connection.execute(_FINISH, {"wanted": job_id, "now": now}).rowcount == 0:
        raise NotFound(f"there is no unfinished job {job_id!r}")


def prune(connection: Connection, now: float, retention: Retention) -> None:
    connection.execute(_PRUNE_OLD, {"oldest": now - retention.seconds})
    connection.execute(_PRUNE_MANY, {"rows": retention.rows})


def _record(row: Sequence[Any]) -> JobRecord:
    job_id, session, job_type, args, created, command_id, reply, partial, finished = row
    return JobRecord(
        job_id,
        session,
        job_type,
        decode_object(args, "job"),
        created,
        command_id or "",
        decode_object(reply, "job"),
        partial,
        finished,
    )
