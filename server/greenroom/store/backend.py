"""What differs between databases, in one place for each. This one serves any that SQLAlchemy has a driver for."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import URL, Connection
from sqlalchemy.exc import DBAPIError, IntegrityError

from greenroom.errors import Conflict, GreenroomError, Unavailable

DriverError = DBAPIError | UnicodeDecodeError
"""The second comes from SQLite's driver when damage reaches the text of the error itself."""


class Backend:
    def __init__(self, url: URL) -> None:
        self.url = url
        self.label = url.render_as_string(hide_password=True)
        """what messages call the database; in full until it is open, for the owner who starts the server"""
        self.short_label = "the database"
        """what they call it afterwards, when clients read them too"""

    @property
    def connect_arguments(self) -> dict[str, Any]:
        return {}

    def acquire(self) -> None:
        """Reserve the database for this process, before the first connection.

        :raises Unavailable: if that cannot be.
        """

    def release(self) -> None:
        """The inverse of ``acquire``; harmless without it."""

    def configure(self, connection: Connection) -> None:
        """Called once for each new connection, outside a transaction."""

    def begin(self, connection: Connection, *, writes: bool) -> None:
        """Called as the first thing in each transaction."""

    @contextmanager
    def migrating(self, connection: Connection) -> Iterator[None]:
        """Around a transaction that changes tables."""
        yield

    def check_migrated(self, connection: Connection) -> None:
        """Called at the end of such a transaction, before its commit."""

    def back_up(self, connection: Connection, number: int) -> None:
        """Copy the database as migration ``number`` left it. A server's own backups do that for other databases."""

    def tidy(self, connection: Connection) -> None:
        """Called when nothing has been asked for a while after writes, outside a transaction."""

    def explain(self, error: DriverError) -> tuple[GreenroomError, bool]:
        """An error as a sentence that says what to do, and whether a new connection is needed."""
        if isinstance(error, IntegrityError):
            return Conflict("this is stored already: the id of a line, a job or a command was used twice"), False
        problem = getattr(error, "orig", error)
        return Unavailable(f"{self.label} cannot be used: {problem}; check that it runs, then try again"), True
