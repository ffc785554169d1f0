"""An event loop in a thread of its own, so that connections stay alive while the program waits for a line, and Ctrl-C
reaches the program on every platform."""

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, wait
from types import FrameType, TracebackType
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
        with _Interrupts(self._loop, on_interrupt) as interrupts:
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
            interrupts.watch(future)
            while not wait((future,), timeout=_POLL_S).done:
                pass
        if future.cancelled():
            raise KeyboardInterrupt
        return future.result()

    def _serve(self) -> None:
        with self._runner as runner:
            runner.run(self._live())

    async def _live(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._ready.set()
        await self._stop.wait()


class _Interrupts:
    """While it is entered Ctrl-C raises nothing: an exception could strike between any two steps of the waiting."""

    def __init__(self, loop: asyncio.AbstractEventLoop, gently: Callable[[], Coroutine[Any, Any, None]] | None) -> None:
        self._loop = loop
        self._gently = gently
        self._work: Future[Any] | None = None
        self._cancel = False
        self._before: Any = None
        self._applies = threading.current_thread() is threading.main_thread()

    def __enter__(self) -> Self:
        if self._applies:
            self._before = signal.signal(signal.SIGINT, self._pressed)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._applies:
            signal.signal(signal.SIGINT, self._before)

    def watch(self, work: Future[Any]) -> None:
        self._work = work
        if self._cancel:
            work.cancel()

    def _pressed(self, _signal: int, _frame: FrameType | None) -> None:
        gently, self._gently = self._gently, None
        if gently is not None:
            asyncio.run_coroutine_threadsafe(gently(), self._loop)
            return
        self._cancel = True
        if self._work is not None:
            self._work.cancel()
