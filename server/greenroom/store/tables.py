"""The tables as the newest migration leaves them; a test compares the two."""

from sqlalchemy import (
    BigInteger,
    Column,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)

from greenroom.errors import Unavailable
from greenroom.store.encoding import protect_text, restore_text


class LosslessText(TypeDecorator[str]):
    """A text column for any Python string."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else protect_text(value)

    def process_result_value(self, value: object, dialect: Dialect) -> str | None:
        if value is None:
            return None
        if not isinstance(value, str):
            raise Unavailable(f"the database holds {type(value).__name__} in place of text; restore it from a backup")
        return restore_text(value)


_Position = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers rows by themselves only in an INTEGER key


def _session_column() -> Column[str]:
    return Column("session", LosslessText, ForeignKey("sessions.name", ondelete="CASCADE"), nullable=False)


metadata = MetaData()

migrations = Table(
    "greenroom_migrations",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False),
    Column("applied", Double, nullable=False),
)

sessions = Table(
    "sessions",
    metadata,
    Column("name", LosslessText, primary_key=True),
    Column("state", LosslessText, nullable=False),
    Column("created", Double, nullable=False),
    Column("updated", Double, nullable=False),
)

lines = Table(
    "lines",
    metadata,
    Column("position", _Position, primary_key=True),
    _session_column(),
    Column("line_id", LosslessText, nullable=False),
    Column("kind", LosslessText, nullable=False),
    Column("user_name", LosslessText, nullable=False),
    Column("timestamp", Double, nullable=False),
    Column("content", LosslessText, nullable=False),
    Column("extra", LosslessText, nullable=False),
    UniqueConstraint("session", "line_id", name="lines_line_id"),
    Index("lines_order", "session", "position"),
)

jobs = Table(
    "jobs",
    metadata,
    Column("position", _Position, primary_key=True),
    Column("job_id", LosslessText, nullable=False),
    _session_column(),
    Column("job_type", LosslessText, nullable=False),
    Column("args", LosslessText, nullable=False),
    Column("created", Double, nullable=False),
    Column("command_id", LosslessText),
    Column("reply", LosslessText, nullable=False),
    Column("partial", LosslessText, nullable=False),
    Column("finished", Double),
    UniqueConstraint("job_id", name="jobs_job_id"),
    UniqueConstraint("session", "command_id", name="jobs_command_id"),
)

commands = Table(
    "commands",
    metadata,
    Column("position", _Position, primary_key=True),
    _session_column(),
    Column("command_id", LosslessText, nullable=False),
    Column("reply", LosslessText, nullable=False),
    Column("created", Double, nullable=False),
    UniqueConstraint("session", "command_id", name="commands_command_id"),
)
