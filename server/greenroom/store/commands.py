"""Answers to commands that carried a ``command_id``, so that a repeat gets the first answer and does nothing."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, select

from greenroom.store import sessions
from greenroom.store.encoding import decode_object
from greenroom.store.records import Retention
from greenroom.store.tables import commands, jobs

_ADD = insert(commands).inline()
_REPLY = (
    select(commands.c.reply)
    .where(commands.c.session == bindparam("wanted_session"), commands.c.command_id == bindparam("wanted_command"))
    .union_all(
        select(jobs.c.reply).where(
            jobs.c.session == bindparam("wanted_session"), jobs.c.command_id == bindparam("wanted_command")
        )
    )
)
_PRUNE_OLD = delete(commands).where(commands.c.created < bindparam("oldest"))
_PRUNE_MANY = delete(commands).where(
    commands.c.position
    <= select(commands.c.position)
    .order_by(commands.c.position.desc())
    .limit(1)
    .offset(bindparam("rows"))
    .scalar_subquery()
)


def remember(connection: Connection, session: str, command_id: str, reply: str, now: float) -> None:
    """The first answer stands: remembering another one for the same id changes nothing."""
    if _stored_reply(connection, session, command_id) is not None:
        return
    sessions.ensure(connection, session, now)
    connection.execute(_ADD, {"session": session, "command_id": command_id, "reply": reply, "created": now})


def reply(connection: Connection, session: str, command_id: str) -> Mapping[str, Any] | None:
    found = _stored_reply(connection, session, command_id)
    return None if found is None else decode_object(found, "reply")


def prune(connection: Connection, now: float, retention: Retention) -> None:
    connection.execute(_PRUNE_OLD, {"oldest": now - retention.seconds})
    connection.execute(_PRUNE_MANY, {"rows": retention.rows})


def _stored_reply(connection: Connection, session: str, command_id: str) -> str | None:
    values = {"wanted_session": session, "wanted_command": command_id}
    return connection.execute(_REPLY, values).scalars().first()
