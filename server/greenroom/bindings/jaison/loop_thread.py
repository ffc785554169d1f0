"""An event loop in a thread of its own, for asynchronous code that may block."""

import asyncio
import contextvars
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from typing import Any, Final, TypeVar

from greenroom.errors import BindingFailed

T = TypeVar("T")

AHEAD: Final = 16
"""items that a stream may be ahead of its consumer"""


class _End:
    pass


_END: Final = _End()


class LoopThread:
    """Calls and streams take turns: one at a time, in the order in which they came."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._turn = asyncio.Lock()
        self._thread = threading.Thread(target=self._run, name=f"greenroom-{name}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()

    async def call(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """``work()`` runs in the thread. Cancelled: so is it, as soon as it awaits something."""

        async def turn() -> T:
            async with self._turn:
                return await work()

        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(turn(), self._loop))

    async def stream(self, make: Callable[[], AsyncGenerator[T, None]]) -> AsyncGenerator[T, None]:
        """What ``make()`` yields in the thread, at most :data:`AHEAD` items ahead; closing this closes that."""
        home = asyncio.get_running_loop()
        items: asyncio.Queue[T | _End] = asyncio.Queue()
        room = asyncio.Semaphore(AHEAD)

        def tell(item: T | _End) -> None:
            try:
                home.call_soon_threadsafe(items.put_nowait, item)
            except RuntimeError:  # the consumer's loop has closed: nobody is left to be told
                pass

        async def pump() -> None:
            async with self._turn, aclosing(make()) as made:
                async for item in made:
                    await room.acquire()
                    tell(item)

        pumping = asyncio.run_coroutine_threadsafe(pump(), self._loop)
        pumping.add_done_callback(lambda _: tell(_END))
        try:
            while not isinstance(item := await items.get(), _End):
                self._loop.call_soon_threadsafe(room.release)
                yield item
            if pumping.cancelled():
                raise BindingFailed("the operation was closed in the middle of its work")
            pumping.result()
        finally:
            pumping.cancel()

    def close(self) -> None:
        """End the thread once what runs there lets it; waits for nothing."""
        self._loop.call_soon_threadsafe(self._stop, context=contextvars.Context())

    def _stop(self) -> None:
        tasks = asyncio.all_tasks(self._loop)
        if not tasks:
            self._loop.stop()
            return
        for task in tasks:
            task.cancel()
        self._loop.call_later(0.05, self._stop)
