"""Threads for methods that are not ``async``: so many at once for each service, and a bounded queue before them.

A method that never returns costs its own service one thread, and nobody else anything.
"""

import asyncio
import contextvars
import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from greenroom.errors import Busy, Internal

T = TypeVar("T")
Job = Callable[[], None]


class Workers:
    """Threads start when they are needed and stay until :meth:`close`; a later call starts them again. Callers may come
    from several loops."""

    def __init__(self, limit: int, waiting: int, name: str) -> None:
        self._limit = limit
        self._waiting = waiting
        self._name = name
        self._lock = threading.Lock()
        self._idle: list[queue.SimpleQueue[Job | None]] = []
        self._running = 0
        self._line: deque[tuple[asyncio.AbstractEventLoop, asyncio.Future[queue.SimpleQueue[Job | None]]]] = deque()
        self._closed = False

    async def run(self, function: Callable[[], T]) -> T:
        """What the function returns or raises, run in a thread with the caller's context variables.

        Cancelled: it does not begin, or runs on and its result is dropped. :raises Busy: if too many wait already.
        """
        worker = await self._worker()
        loop = asyncio.get_running_loop()
        result: asyncio.Future[T] = loop.create_future()
        context = contextvars.copy_context()

        def job() -> None:
            value: Any = None
            failure: BaseException | None = None
            try:
                value = context.run(function)
            except BaseException as error:  # noqa: BLE001 -- the boundary of the call: carried over to the caller
                failure = _carried(error)
            self._release(worker)
            try:
                loop.call_soon_threadsafe(_settle, result, value, failure)
            except RuntimeError:  # the loop has closed: nobody waits
                pass

        worker.put(job)
        return await result

    def close(self) -> None:
        """Idle threads end now, the others with what they do; waits for nothing."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            self._running -= len(idle)
        for worker in idle:
            worker.put(None)

    async def _worker(self) -> "queue.SimpleQueue[Job | None]":
        with self._lock:
            self._closed = False
            if self._idle:
                return self._idle.pop()
            if self._running < self._limit:
                self._running += 1
                return self._started()
            if len(self._line) >= self._waiting:
                raise Busy(f"all {self._limit} threads of {self._name} are taken, and {self._waiting} calls wait")
            loop = asyncio.get_running_loop()
            turn: asyncio.Future[queue.SimpleQueue[Job | None]] = loop.create_future()
            self._line.append((loop, turn))
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._release(turn.result())
            raise

    def _started(self) -> "queue.SimpleQueue[Job | None]":
        jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        threading.Thread(target=_work, args=(jobs,), name=f"greenroom-rpc-{self._name}", daemon=True).start()
        return jobs

    def _release(self, worker: "queue.SimpleQueue[Job | None]") -> None:
        with self._lock:
            while self._line:
                loop, turn = self._line.popleft()
                try:
                    loop.call_soon_threadsafe(self._hand_over, turn, worker)
                except RuntimeError:  # that caller's loop has closed
                    continue
                return
            if not self._closed:
                self._idle.append(worker)
                return
            self._running -= 1
        worker.put(None)

    def _hand_over(
        self, turn: "asyncio.Future[queue.SimpleQueue[Job | None]]", worker: "queue.SimpleQueue[Job | None]"
    ) -> None:
        if turn.done():  # cancelled while it stood in line
            self._release(worker)
        else:
            turn.set_result(worker)


def _work(jobs: "queue.SimpleQueue[Job | None]") -> None:
    while (job := jobs.get()) is not None:
        job()
        del job  # nothing of the last call stays alive while the next one is awaited


def _settle(result: "asyncio.Future[Any]", value: Any, failure: BaseException | None) -> None:
    if result.done():
        return
    if failure is not None:
        result.set_exception(failure)
    else:
        result.set_result(value)


def _carried(error: BaseException) -> BaseException:
    """A method that calls ``sys.exit`` must not stop the server, nor a StopIteration end somebody's loop."""
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    failure = Internal(f"the method ended with {type(error).__name__}: {error}")
    failure.__cause__ = error
    return failure
