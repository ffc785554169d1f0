"""The lines of a session's context, in the order in which they were added."""

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from greenroom.errors import NotFound
from greenroom.store import sessions
from greenroom.store.encoding import decode_object
from greenroom.store.records import LineRecord
from greenroom.store.tables import lines

_ROW_LIMIT = 2**31 - 1

_of_session = lines.c.session == bindparam("wanted_session")
_one_line = _of_session & (lines.c.line_id == bindparam("wanted_line"))
_ADD = insert(lines).inline()
_CHANGE = update(lines).where(_one_line).values(content=bindparam("new_content"))
_REMOVE = delete(lines).where(_one_line)
_CLEAR = delete(lines).where(_of_session)
_POSITION = select(lines.c.position).where(_one_line)
_LAST = (
    select(
        lines.c.line_id,
        lines.c.session,
        lines.c.kind,
        lines.c.user_name,
        lines.c.timestamp,
        lines.c.content,
        lines.c.extra,
    )
    .where(_of_session)
    .order_by(lines.c.position.desc())
    .limit(bindparam("row_limit"))
)
_LAST_BEFORE = _LAST.where(lines.c.position < bindparam("position"))


def add(connection: Connection, line: LineRecord, extra: str, now: float) -> None:
    sessions.ensure(connection, line.session, now)
    connection.execute(
        _ADD,
        {
            "session": line.session,
            "line_id": line.line_id,
            "kind": line.kind,
            "user_name": line.user,
            "timestamp": line.timestamp,
            "content": line.content,
            "extra": extra,
        },
    )


def change(connection: Connection, session: str, line_id: str, content: str) -> bool:
    values = {"wanted_session": session, "wanted_line": line_id, "new_content": content}
    return connection.execute(_CHANGE, values).rowcount > 0


def remove(connection: Connection, session: str, line_id: str) -> bool:
    return connection.execute(_REMOVE, {"wanted_session": session, "wanted_line": line_id}).rowcount > 0


def clear(connection: Connection, session: str) -> int:
    return connection.execute(_CLEAR, {"wanted_session": session}).rowcount


def last(connection: Connection, session: str, limit: int, before: str | None) -> list[LineRecord]:
    values: dict[str, object] = {"wanted_session": session, "row_limit": min(limit, _ROW_LIMIT)}
    if before is None:
        rows = connection.execute(_LAST, values)
    else:
        position = connection.execute(_POSITION, {"wanted_session": session, "wanted_line": before}).scalar()
        if position is None:
            raise NotFound(f"there is no line {before!r} in session {session!r}; read the history again from its end")
        rows = connection.execute(_LAST_BEFORE, {**values, "position": position})
    found = [
        LineRecord(line_id, of_session, kind, user, timestamp, content, decode_object(extra, "line"))
        for line_id, of_session, kind, user, timestamp, content, extra in rows
    ]
    found.reverse()
    return found
