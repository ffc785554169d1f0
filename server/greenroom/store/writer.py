"""One thread that owns the database; the event loop hands it operations and awaits their commit.

    submit(operation) --queue--> thread: [all that waits] in one transaction --commit--> each caller's result

What arrives while a transaction runs shares the next one, so that a burst costs one commit. An operation that fails
must not take its neighbours along: the group is rolled back and each is run again in a transaction of its own.
"""

import asyncio
import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from sqlalchemy import Connection

from greenroom.errors import Busy, GreenroomError, Unavailable
from greenroom.store.database import Database

logger = logging.getLogger(__name__)

T = TypeVar("T")
MOST_WAITING = 10_000
_GROUP_LIMIT = 256
_TIDY_WRITES = 200
"""transactions; fewer are not worth the disk's time"""


@dataclass(slots=True, eq=False)
class _Operation(Generic[T]):
    run: Callable[[Connection], T]
    """may run more than once, each time in a new transaction"""
    writes: bool
    future: "asyncio.Future[T]"
    result: T | None = None
    error: BaseException | None = None


class Writer:
    def __init__(self, database: Database, loop: asyncio.AbstractEventLoop, tidy_after_s: float = 1.0) -> None:
        self._database = database
        self._loop = loop
        self._tidy_after_s = tidy_after_s
        self._queue: queue.SimpleQueue[_Operation[Any] | None] = queue.SimpleQueue()
        self._waiting = 0
        self._closing = False
        self._opened: asyncio.Future[None] = loop.create_future()
        self._closed: asyncio.Future[None] = loop.create_future()
        self._thread = threading.Thread(target=self._main, name="greenroom-store", daemon=True)

    async def start(self) -> None:
        """:raises Unavailable: if the database cannot be opened."""
        self._thread.start()
        try:
            await asyncio.shield(self._opened)
        except BaseException:
            self._stop()
            raise

    def submit(self, run: Callable[[Connection], T], *, writes: bool) -> "asyncio.Future[T]":
        """The future resolves after the commit. Cancelling it does not take the operation back.

        :raises Busy: if the database is so slow that too much waits for it already.
        :raises Unavailable: once closing has begun.
        """
        if self._closing:
            raise Unavailable("the database has been closed: the server is stopping")
        if self._waiting >= MOST_WAITING:
            raise Busy("the database does not keep up: try again in a moment, and check the server's disk")
        self._waiting += 1
        future: asyncio.Future[T] = self._loop.create_future()
        self._queue.put(_Operation(run, writes, future))
        return future

    async def close(self) -> None:
        """Finish what was submitted, then close the database. Closing twice is harmless."""
        self._stop()
        await asyncio.shield(self._closed)

    def _stop(self) -> None:
        if not self._closing:
            self._closing = True
            self._queue.put(None)

    # On the event loop.

    def _settle(self, operations: list[_Operation[Any]]) -> None:
        self._waiting -= len(operations)
        for operation in operations:
            _resolve(operation.future, operation.result, operation.error)

    # In the thread.

    def _main(self) -> None:
        failure: BaseException | None = None
        try:
            self._database.open()
        except BaseException as error:  # noqa: BLE001 -- carried over to whoever opens the store
            self._post(_resolve, self._opened, None, error)
            self._post(_resolve, self._closed, None, None)
            return
        self._post(_resolve, self._opened, None, None)
        try:
            self._work()
        finally:
            try:
                self._database.close()
            except BaseException as error:  # noqa: BLE001 -- carried over to whoever closes the store
                failure = error
            self._post(_resolve, self._closed, None, failure)

    def _work(self) -> None:
        untidy = 0
        while True:
            try:
                first = self._queue.get(timeout=self._tidy_after_s if untidy >= _TIDY_WRITES else None)
            except queue.Empty:
                self._tidy()
                untidy = 0
                continue
            group, last = self._gather(first)
            if group:
                self._run(group)
                untidy += 1
                self._post(self._settle, group)
            if last:
                return

    def _gather(self, first: _Operation[Any] | None) -> tuple[list[_Operation[Any]], bool]:
        """What waits, and whether nothing will follow."""
        group: list[_Operation[Any]] = []
        operation = first
        while operation is not None:
            group.append(operation)
            if len(group) == _GROUP_LIMIT:
                return group, False
            try:
                operation = self._queue.get_nowait()
            except queue.Empty:
                return group, False
        return group, True

    def _run(self, group: list[_Operation[Any]]) -> None:
        begun = False
        try:
            with self._database.transaction(writes=any(operation.writes for operation in group)) as connection:
                begun = True
                for operation in group:
                    self._run_one(operation, connection)
        except BaseException as error:  # noqa: BLE001 -- carried over to the callers
            self._fail(group, error, begun=begun)

    def _fail(self, group: list[_Operation[Any]], error: BaseException, *, begun: bool) -> None:
        if begun and len(group) > 1:
            self._database.explain(error)
            for operation in group:
                self._run([operation])
            return
        for operation in group:  # none is to blame if the transaction did not begin, nor would waiting again help
            operation.error = self._database.explain(error)

    @staticmethod
    def _run_one(operation: _Operation[Any], connection: Connection) -> None:
        operation.result = operation.error = None
        try:
            operation.result = operation.run(connection)
        except GreenroomError as error:
            if operation.writes:
                raise
            operation.error = error  # it has changed nothing, the others' transaction may go on

    def _tidy(self) -> None:
        try:
            self._database.tidy()
        except BaseException as error:  # noqa: BLE001 -- nobody waits for this; the next commit meets the same trouble
            logger.warning("tidying the database failed: %s", self._database.explain(error))

    def _post(self, call: Callable[..., None], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(call, *arguments)
        except RuntimeError:  # the loop has closed: nobody is left to be told
            logger.debug("the event loop was closed before the store")


def _resolve(future: "asyncio.Future[T]", result: T | None, error: BaseException | None) -> None:
    if future.done():  # its caller was cancelled
        return
    if error is None:
        future.set_result(cast("T", result))
    else:
        future.set_exception(error)
        future.exception()  # a caller that is cancelled just now will not ask; that is no forgotten error
