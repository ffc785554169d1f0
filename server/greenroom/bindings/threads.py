"""Running a synchronous SDK beside the event loop: one bounded stream out of a worker thread.

    produce(emit) in a thread --> items, in order, on the event loop

``emit(item)`` blocks the thread while the consumer is ``limit`` items behind, and returns ``False`` once nobody listens
any more: the producer should then return. A producer that cannot be stopped is detached, its result dropped.
"""

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Generic, TypeVar

T = TypeVar("T")
Emit = Callable[[T], bool]


class _Pipe(Generic[T]):
    def __init__(self, loop: asyncio.AbstractEventLoop, limit: int) -> None:
        self.loop = loop
        self.limit = limit
        self.items: deque[T] = deque()
        self.room = threading.Condition()
        self.ready = asyncio.Event()
        self.closed = False
        self.finished = False
        self.error: BaseException | None = None
        self._wake_pending = False

    def emit(self, item: T) -> bool:
        with self.room:
            while len(self.items) >= self.limit and not self.closed:
                self.room.wait()
            if self.closed:
                return False
            self.items.append(item)
        self._wake()
        return True

    def finish(self, error: BaseException | None) -> None:
        with self.room:
            self.finished = True
            self.error = error
        self._wake()

    def close(self) -> None:
        with self.room:
            self.closed = True
            self.items.clear()
            self.room.notify_all()

    def take(self) -> list[T]:
        with self.room:
            taken = list(self.items)
            self.items.clear()
            self._wake_pending = False
            self.room.notify_all()
        return taken

    def _wake(self) -> None:
        with self.room:
            if self._wake_pending or self.closed:
                return
            self._wake_pending = True
        try:
            self.loop.call_soon_threadsafe(self.ready.set)
        except RuntimeError:  # the loop has closed: nobody is left to be woken
            self.close()


async def stream_from_thread(
    produce: Callable[[Emit[T]], None], *, limit: int = 64, name: str = "binding"
) -> AsyncIterator[T]:
    """Run ``produce`` in a daemon thread of its own and yield what it emits; its exception is raised here."""
    pipe: _Pipe[T] = _Pipe(asyncio.get_running_loop(), limit)

    def run() -> None:
        error: BaseException | None = None
        try:
            produce(pipe.emit)
        except BaseException as failure:  # noqa: BLE001 -- carried over to the consumer, which raises it
            error = failure
        pipe.finish(error)

    threading.Thread(target=run, name=f"greenroom-{name}", daemon=True).start()
    try:
        while True:
            await pipe.ready.wait()
            pipe.ready.clear()
            for item in pipe.take():
                yield item
            if pipe.finished and not pipe.items:
                if pipe.error is not None:
                    raise pipe.error
                return
    finally:
        pipe.close()
