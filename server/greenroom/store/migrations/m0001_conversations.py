"""Sessions, their lines, their jobs, and the commands that were answered."""

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)


def apply(connection: Connection) -> None:
    metadata = MetaData()
    position = BigInteger().with_variant(Integer, "sqlite")

    def session() -> Column[str]:
        return Column("session", Text, ForeignKey("sessions.name", ondelete="CASCADE"), nullable=False)

    Table(
        "sessions",
        metadata,
        Column("name", Text, primary_key=True),
        Column("state", Text, nullable=False),
        Column("created", Double, nullable=False),
        Column("updated", Double, nullable=False),
    )
    Table(
        "lines",
        metadata,
        Column("position", position, primary_key=True),
        session(),
        Column("line_id", Text, nullable=False),
        Column("kind", Text, nullable=False),
        Column("user_name", Text, nullable=False),
        Column("timestamp", Double, nullable=False),
        Column("content", Text, nullable=False),
        Column("extra", Text, nullable=False),
        UniqueConstraint("session", "line_id", name="lines_line_id"),
        Index("lines_order", "session", "position"),
    )
    Table(
        "jobs",
        metadata,
        Column("position", position, primary_key=True),
        Column("job_id", Text, nullable=False),
        session(),
        Column("job_type", Text, nullable=False),
        Column("args", Text, nullable=False),
        Column("created", Double, nullable=False),
        Column("command_id", Text),
        Column("reply", Text, nullable=False),
        Column("partial", Text, nullable=False),
        Column("finished", Double),
        UniqueConstraint("job_id", name="jobs_job_id"),
        UniqueConstraint("session", "command_id", name="jobs_command_id"),
    )
    Table(
        "commands",
        metadata,
        Column("position", position, primary_key=True),
        session(),
        Column("command_id", Text, nullable=False),
        Column("reply", Text, nullable=False),
        Column("created", Double, nullable=False),
        UniqueConstraint("session", "command_id", name="commands_command_id"),
    )
    metadata.create_all(connection)
