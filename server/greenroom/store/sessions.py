"""Sessions: a name and the state behind it."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Double, Text, bindparam, delete, exists, insert, literal, select, update

from greenroom.store.encoding import decode_object
from greenroom.store.records import SessionRecord
from greenroom.store.tables import LosslessText, sessions

_NOW = bindparam("now", type_=Double)
_COLUMNS = (sessions.c.name, sessions.c.state, sessions.c.created, sessions.c.updated)
_LOAD = select(*_COLUMNS).where(sessions.c.name == bindparam("wanted"))
_LIST = select(*_COLUMNS).order_by(sessions.c.created, sessions.c.name)
_ADD = insert(sessions).inline()
_CHANGE = (
    update(sessions)
    .where(sessions.c.name == bindparam("wanted"))
    .values(state=bindparam("new_state"), updated=bindparam("now"))
)
_ADD_MISSING = (
    insert(sessions)
    .from_select(
        ["name", "state", "created", "updated"],
        select(bindparam("wanted", type_=LosslessText), literal("{}", Text), _NOW, _NOW).where(
            ~exists().where(sessions.c.name == bindparam("wanted"))
        ),
    )
    .inline()
)
_DELETE = delete(sessions).where(sessions.c.name == bindparam("wanted"))


def load(connection: Connection, name: str) -> SessionRecord | None:
    row = connection.execute(_LOAD, {"wanted": name}).one_or_none()
    return None if row is None else _record(row)


def list_all(connection: Connection) -> list[SessionRecord]:
    return [_record(row) for row in connection.execute(_LIST)]


def save(connection: Connection, name: str, state: str, now: float) -> None:
    changed = connection.execute(_CHANGE, {"wanted": name, "new_state": state, "now": now})
    if changed.rowcount == 0:
        connection.execute(_ADD, {"name": name, "state": state, "created": now, "updated": now})


def ensure(connection: Connection, name: str, now: float) -> None:
    """A line or job may come before its session's first save, or after a save that a full disk refused."""
    connection.execute(_ADD_MISSING, {"wanted": name, "now": now})


def remove(connection: Connection, name: str) -> bool:
    return connection.execute(_DELETE, {"wanted": name}).rowcount > 0


def _record(row: Sequence[Any]) -> SessionRecord:
    name, state, created, updated = row
    return SessionRecord(name, decode_object(state, "session state"), created, updated)
