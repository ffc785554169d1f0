"""Running a synchronous SDK beside the event loop: a bounded stream out of a thread, and a worker that serves many.

    produce(emit) in a thread --> items, in order, on the event loop

``emit(item)`` blocks the thread while the consumer is ``limit`` items behind, and returns ``False`` once nobody listens
any more: the producer should then return. A producer that cannot be stopped is detached, its result dropped.
"""

import asyncio
import contextvars
import queue
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Future
from typing import Final, Generic, TypeVar

from greenroom.errors import BindingFailed

T = TypeVar("T")
Emit = Callable[[T], bool]

NATIVE_STATE: Final = threading.Lock()
"""Hold it around calls into a C library that keeps one global state for the whole process (espeak-ng): every server in
the process shares such a library, whoever loaded it. Never wait for a consumer while holding it."""


class _Pipe(Generic[T]):
    """At most ``limit`` items between one thread and one consumer; 0: no limit."""

    def __init__(self, limit: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._limit = limit
        self._items: deque[T] = deque()
        self._room = threading.Condition(threading.Lock())
        self._ready = asyncio.Event()
        self._error: BaseException | None = None
        self._closed = False
        self._finished = False
        self._wake_pending = False

    def run(self, produce: Callable[[Emit[T]], object]) -> None:
        """In the thread. Whatever ``produce`` raises is raised to the consumer."""
        failure: BaseException | None = None
        if not self._closed:
            try:
                produce(self._emit)
            except BaseException as error:  # noqa: BLE001 -- carried over to the consumer, which raises it
                failure = _carried(error)
        with self._room:
            self._finished = True
            self._error = failure
            self._wake()

    async def items(self) -> AsyncGenerator[T, None]:
        try:
            while True:
                finished = self._finished  # read before the items: nothing is emitted after it is set
                if self._items:
                    yield self._take()
                elif finished:
                    break
                else:
                    await self._wait()
            if self._error is not None:
                raise self._error
        finally:
            self._close()

    def _emit(self, item: T) -> bool:
        with self._room:
            while self._limit and len(self._items) >= self._limit and not self._closed:
                self._room.wait()
            if self._closed:
                return False
            self._items.append(item)
            self._wake()
        return True

    def _take(self) -> T:
        with self._room:
            self._room.notify()
            return self._items.popleft()

    async def _wait(self) -> None:
        with self._room:
            if self._items or self._finished:
                return
            self._wake_pending = False
        await self._ready.wait()
        self._ready.clear()

    def _wake(self) -> None:
        if self._wake_pending or self._closed:
            return
        self._wake_pending = True
        try:
            self._loop.call_soon_threadsafe(self._ready.set)
        except RuntimeError:  # the loop has closed: nobody is left to be woken
            self._closed = True

    def _close(self) -> None:
        with self._room:
            self._closed = True
            self._items.clear()
            self._error = None  # its traceback holds the consumer's frame: a cycle that only the collector would free
            self._room.notify_all()


def _carried(error: BaseException) -> BaseException:
    """An SDK that calls ``sys.exit`` must not stop the server, nor a cancellation in it look like the consumer's."""
    if isinstance(error, Exception):
        return error
    failed = BindingFailed(f"the backend's thread ended with {type(error).__name__}: {error}")
    failed.__cause__ = error
    return failed


async def stream_from_thread(
    produce: Callable[[Emit[T]], object], *, limit: int = 64, name: str = "binding"
) -> AsyncGenerator[T, None]:
    """Run ``produce`` in a daemon thread of its own and yield what it emits; its exception is raised here.

    The thread starts when the first item is asked for and sees the caller's context variables. Closing the generator
    (``aclosing``) makes ``emit`` return ``False``.
    """
    pipe: _Pipe[T] = _Pipe(limit)
    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(pipe.run, produce), name=f"greenroom-{name}", daemon=True).start()
    items = pipe.items()
    try:
        async for item in items:
            yield item
    finally:
        await items.aclose()


class Worker:
    """One thread that does its jobs in the order in which they came; for an SDK that serves one caller at a time.

    It starts with the first job and ends after :meth:`close`. The jobs of several streams take turns, so a job should
    be short: one utterance, not one conversation.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False

    @property
    def alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    async def stream(self, produce: Callable[[Emit[T]], object]) -> AsyncGenerator[T, None]:
        """Yield what ``produce`` emits in the worker's thread.

        ``emit`` never blocks, so that a slow consumer holds up nobody else: what ``produce`` makes must be bounded by
        itself. A generator closed before its turn came runs nothing. :raises RuntimeError: after :meth:`close`.
        """
        pipe: _Pipe[T] = _Pipe(limit=0)
        context = contextvars.copy_context()
        self._submit(lambda: context.run(pipe.run, produce))
        items = pipe.items()
        try:
            async for item in items:
                yield item
        finally:
            await items.aclose()

    async def call(self, function: Callable[[], T]) -> T:
        """The function's result. Cancelled: the function does not begin, or its result is dropped.

        :raises RuntimeError: after :meth:`close`
        """
        result: Future[T] = Future()
        context = contextvars.copy_context()

        def job() -> None:
            if not result.set_running_or_notify_cancel():
                return
            try:
                value = context.run(function)
            except BaseException as error:  # noqa: BLE001 -- carried over to the caller
                result.set_exception(_carried(error))
            else:
                result.set_result(value)

        self._submit(job)
        return await asyncio.wrap_future(result)

    def close(self, last: Callable[[], None] | None = None) -> None:
        """Take no more jobs, do those that wait, end the thread. Waits for nothing: a job may be unable to end.

        ``last`` must not fail. It is done in the thread when all else is, so that it takes away nothing that is in use.
        """
        with self._starting:
            if self._closed:
                return
            self._closed = True
            if last is not None:
                self._start()
                self._jobs.put(last)
            self._jobs.put(None)

    def _submit(self, job: Callable[[], None]) -> None:
        with self._starting:
            if self._closed:
                raise RuntimeError(f"the worker {self._name} is closed")
            self._start()
            self._jobs.put(job)

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=f"greenroom-{self._name}", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
            del job  # while waiting for the next job, nothing of the last one stays alive
