"""One connection to the database, kept by the thread that made it and made anew after it broke."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, create_engine, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError
from sqlalchemy.pool import NullPool

from greenroom.errors import BadRequest, Unavailable
from greenroom.store.backend import Backend, DriverError
from greenroom.store.migrations import MIGRATIONS, Migration
from greenroom.store.sqlite import SYNCHRONOUS, SqliteBackend
from greenroom.store.upgrade import upgrade


class Database:
    """Blocking, and for one thread: whoever calls ``open`` calls everything else."""

    def __init__(
        self, url: str | Path, synchronous: str = "normal", migrations: Sequence[Migration] = MIGRATIONS
    ) -> None:
        """:raises BadRequest: for a URL that cannot be meant. :raises Unavailable: if its driver is not installed."""
        self._backend = _backend(url, synchronous)
        self._engine = _engine(self._backend)
        self._migrations = migrations
        self._connection: Connection | None = None

    def open(self) -> None:
        """:raises Unavailable: with a sentence that says what to do."""
        self._backend.acquire()
        try:
            self._connect()
        except BaseException as error:
            self.close()
            raise self.explain(error) from error
        self._backend.label = self._backend.short_label

    def close(self) -> None:
        try:
            self._disconnect()
        finally:
            self._backend.release()

    @contextmanager
    def transaction(self, *, writes: bool) -> Iterator[Connection]:
        """All or nothing: what is done in it is durable afterwards, or an exception says that none of it is."""
        connection = self._connection or self._connect()
        with connection.begin():
            self._backend.begin(connection, writes=writes)
            yield connection

    def tidy(self) -> None:
        if self._connection is not None:
            self._backend.tidy(self._connection)

    def explain(self, error: BaseException) -> BaseException:
        """A database's error as one of ours, any other as it is. A broken connection is dropped, to be made anew."""
        if not isinstance(error, DriverError):
            return error
        explained, broken = self._backend.explain(error)
        explained.__cause__ = error
        if broken:
            self._disconnect()
        return explained

    def _connect(self) -> Connection:
        connection = self._engine.connect()
        try:
            self._backend.configure(connection)
            connection.rollback()
            upgrade(connection, self._backend, self._migrations)
        except BaseException:
            connection.invalidate()
            connection.close()
            raise
        self._connection = connection
        return connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _backend(url: str | Path, synchronous: str) -> Backend:
    if synchronous not in SYNCHRONOUS:
        raise BadRequest(f"synchronous is {synchronous!r}; it can be {' or '.join(SYNCHRONOUS)}")
    if isinstance(url, Path) or ("://" not in url and url != ":memory:"):
        return SqliteBackend(URL.create("sqlite", database=str(url)), synchronous)
    try:
        parsed = make_url("sqlite://" if url == ":memory:" else url)
    except ArgumentError:
        raise BadRequest(
            "the database's URL cannot be read; give a file's path, sqlite:///path or postgresql+psycopg://user@host/name"
        ) from None
    if parsed.get_backend_name() == "sqlite":
        return SqliteBackend(parsed.set(drivername="sqlite"), synchronous)
    backend = Backend(parsed)
    try:
        is_async = parsed.get_dialect().is_async
    except NoSuchModuleError:
        raise BadRequest(
            f"the database {backend.label} is of a kind that SQLAlchemy does not know: use sqlite or postgresql+psycopg"
        ) from None
    if is_async:
        raise BadRequest(f"{backend.label} names an asyncio driver; name a synchronous one, as postgresql+psycopg")
    return backend


def _engine(backend: Backend) -> Engine:
    try:
        return create_engine(
            backend.url,
            poolclass=NullPool,
            connect_args=backend.connect_arguments,
            hide_parameters=True,  # an error's text goes to the log, what people said does not
        )
    except ModuleNotFoundError as error:
        raise Unavailable(f"{backend.label} needs the Python package {error.name}: install it") from error
