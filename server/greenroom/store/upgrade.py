"""Bringing a database to the newest migration, or refusing it with a reason."""

import logging
import time
from collections.abc import Sequence

from sqlalchemy import Connection, func, insert, inspect, select

from greenroom.errors import Unavailable
from greenroom.store.backend import Backend
from greenroom.store.migrations import Migration
from greenroom.store.tables import migrations as applied_migrations

logger = logging.getLogger(__name__)


def upgrade(connection: Connection, backend: Backend, migrations: Sequence[Migration]) -> None:
    """Apply what is missing, each step in a transaction of its own; a database in use is copied first.

    :raises Unavailable: for another program's database, or one that a later Greenroom wrote.
    """
    with connection.begin():
        backend.begin(connection, writes=False)
        at = _number(connection, backend)
    newest = migrations[-1].number
    if at > newest:
        raise Unavailable(
            f"{backend.label} was written by a later Greenroom (its format is {at}, this one knows {newest}): "
            "update Greenroom or name another file"
        )
    pending = [migration for migration in migrations if migration.number > at]
    if at and pending:
        backend.back_up(connection, at)
    for migration in pending:
        with backend.migrating(connection), connection.begin():
            backend.begin(connection, writes=True)
            _apply(connection, migration)
            backend.check_migrated(connection)
        logger.info("database brought to %04d %s", migration.number, migration.name)


def _number(connection: Connection, backend: Backend) -> int:
    """The newest migration that was applied; 0 for an empty database."""
    inspector = inspect(connection)
    if inspector.has_table(applied_migrations.name):
        return connection.execute(select(func.max(applied_migrations.c.number))).scalar() or 0
    foreign = inspector.get_table_names()
    if foreign:
        raise Unavailable(
            f"{backend.label} belongs to another program (it has a table {foreign[0]!r}): name another one"
        )
    return 0


def _apply(connection: Connection, migration: Migration) -> None:
    applied_migrations.create(connection, checkfirst=True)
    migration.apply(connection)
    connection.execute(
        insert(applied_migrations), {"number": migration.number, "name": migration.name, "applied": time.time()}
    )
