"""An event loop in a thread of its own, so that connections stay alive while the program waits for a line, and Ctrl-C
reaches the program on every platform."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, wait
from types import TracebackType
from typing import Any, Self, TypeVar

T = TypeVar("T")

_POLL_S = 0.2
"""Windows does not wake a thread that waits for a lock when Ctrl-C is pressed."""


class LoopThread:
    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="greenroom loop", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._loop is not None and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def run(
        self, work: Coroutine[Any, Any, T], on_interrupt: Callable[[], Coroutine[Any, Any, None]] | None = None
    ) -> T:
        """Wait for ``work``. Ctrl-C runs ``on_interrupt`` beside it, a second one (or without it the first) cancels it.

        :raises KeyboardInterrupt: if it was cancelled so.
        """
        if self._loop is None:
            raise RuntimeError("the loop does not run")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        soft: Future[None] | None = None
        while True:
            try:
                if wait((future,), timeout=_POLL_S).done:
                    return future.result()
            except KeyboardInterrupt:
                if on_interrupt is not None and soft is None:
                    soft = asyncio.run_coroutine_threadsafe(on_interrupt(), self._loop)
                    continue
                future.cancel()
                raise

    def _serve(self) -> None:
        with self._runner as runner:
            runner.run(self._live())

    async def _live(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._ready.set()
        await self._stop.wait()
