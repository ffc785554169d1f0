"""A loop in a thread of its own, so that plain functions can hold a websocket."""

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, Final, TypeVar

T = TypeVar("T")

STOP_S: Final = 5.0


class Background:
    """Starts with the first call; :meth:`stop` cancels what runs and ends the thread."""

    def __init__(self) -> None:
        self._starting = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        with self._starting:
            if self._loop is None:
                self._loop = loop = _new_loop()
                self._thread = threading.Thread(target=_run, args=(loop,), name="greenroom-rpc-client", daemon=True)
                self._thread.start()
            return self._loop

    @property
    def started_loop(self) -> asyncio.AbstractEventLoop | None:
        return self._loop

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """From any other thread: the result. An interrupted wait cancels the work."""
        future: Future[T] = asyncio.run_coroutine_threadsafe(work, self.loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def stop(self) -> None:
        with self._starting:
            loop, self._loop = self._loop, None
            thread, self._thread = self._thread, None
        if loop is not None and thread is not None:
            with contextlib.suppress(RuntimeError):  # closed already
                loop.call_soon_threadsafe(loop.stop)
            if thread is not threading.current_thread():
                thread.join(STOP_S)


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left))
        loop.run_until_complete(asyncio.sleep(0))  # connections that were aborted are told so
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def _new_loop() -> asyncio.AbstractEventLoop:
    """uvloop's where there is one."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
