"""Bindings in children of ours: started when they are needed, restarted with back-off, stopped when they idle."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final

from greenroom.bindings.isolation.peer import Peer
from greenroom.bindings.isolation.process import HostProcess, failure_of, has_ended
from greenroom.bindings.isolation.service import BindingApi
from greenroom.bindings.roles import Place
from greenroom.errors import BindingFailed, GreenroomError

logger = logging.getLogger(__name__)

START_S: Final = 60.0
BACK_OFF_S: Final = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""before the next start, by crashes in a row"""
PATIENCE_S: Final = 3.0
"""how long a call waits for a start that is held back, before it is told to come later"""
HEALTHY_S: Final = 60.0
"""a child that lived so long has not crashed in a row"""


class ChildPeer(Peer):
    """A binding in a child of ours.

    A child that crashes while operations are open is started again, after the back-off, and opens them again: the
    next call does not wait for weights to be loaded. After as many crashes in a row as there are steps of the
    back-off, the next start waits for a call.
    """

    def __init__(
        self, place: Place, python: Callable[[], Path | None], idle_s: float, logs: Path | None = None
    ) -> None:
        super().__init__(place.binding_id)
        self._where = place
        self._python = python
        self._idle_s = idle_s
        self._logs = logs
        self._process: HostProcess | None = None
        self._api: BindingApi | None = None
        self._lock = asyncio.Lock()
        self._crashes = 0
        self._not_before = 0.0
        self._idle: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._reviving: asyncio.Task[None] | None = None
        self._last_end = ""

    @property
    def pid(self) -> int | None:
        """The child's, ``None`` while there is none."""
        process = self._process
        return process.pid if process is not None and not process.ended.done() else None

    @property
    def place(self) -> str:
        process = self._process
        return f"the process of {self.binding_id}" + (f" ({process.pid})" if process is not None else "")

    async def api(self) -> BindingApi:
        async with self._lock:
            if self._api is not None and self._process is not None and not self._process.ended.done():
                return self._api
            await self._hold_back()
            await self._let_go()
            self._process = process = await self._start()
            self._api = BindingApi(str(process.address.result()), self.binding_id, process.token)
            self.generation += 1
            return self._api

    async def failure(self) -> BindingFailed:
        process = self._process
        if process is None:
            return BindingFailed(self._last_end or f"the process of {self.binding_id} was stopped", retryable=True)
        await has_ended(process)
        return failure_of(process)

    async def has_gone(self) -> bool:
        return self._process is not None and await has_ended(self._process)

    async def _hold_back(self) -> None:
        wait_s = self._not_before - time.monotonic()
        if wait_s > PATIENCE_S:
            raise BindingFailed(
                f"{self._last_end}; it crashed {self._crashes} times in a row and is started again in {wait_s:.0f} s",
                retryable=True,
            )
        if wait_s > 0:
            await asyncio.sleep(wait_s)

    async def _start(self) -> HostProcess:
        loop = asyncio.get_running_loop()
        process = HostProcess(self.binding_id, loop)
        launching = loop.run_in_executor(None, lambda: process.launch(self._where, self._python(), self._logs))
        try:
            await asyncio.shield(launching)
        except OSError as error:
            raise BindingFailed(f"the process of {self.binding_id} cannot be started: {error}") from error
        except asyncio.CancelledError:
            await asyncio.gather(launching, return_exceptions=True)
            await process.stop()
            raise
        self._process = process
        self._spawn(self._watch(process), "watch")
        try:
            async with asyncio.timeout(START_S):
                await asyncio.shield(process.address)
        except TimeoutError:
            await process.stop()
            raise BindingFailed(f"the process of {self.binding_id} was not ready within {START_S:g} s") from None
        except asyncio.CancelledError:
            if process.ended.done():
                raise failure_of(process) from None
            await process.stop()
            raise
        logger.info("%s runs in process %d", self.binding_id, process.pid, extra={"binding": self.binding_id})
        return process

    async def _watch(self, process: HostProcess) -> None:
        await process.ended
        self._last_end = process.end_sentence()
        if process.stopping:
            return
        if time.monotonic() - process.began > HEALTHY_S:
            self._crashes = 0
        wait_s = BACK_OFF_S[min(self._crashes, len(BACK_OFF_S) - 1)]
        self._crashes += 1
        self._not_before = time.monotonic() + wait_s
        logger.warning("%s", self._last_end, extra={"binding": self.binding_id})
        if self.opened and not self._closed and (self._reviving is None or self._reviving.done()):
            self._reviving = self._spawn(self._revive(), "restart")

    async def _revive(self) -> None:
        """Start it again although nobody calls, for the operations that were open."""
        for _ in BACK_OFF_S:
            await asyncio.sleep(max(0.0, self._not_before - time.monotonic()))
            if not self.opened or self.pid is not None:
                return
            try:
                for operation in list(self.opened):
                    await operation.open()
            except GreenroomError as error:
                logger.warning(
                    "%s could not be restarted: %s", self.binding_id, error.message, extra={"binding": self.binding_id}
                )

    def became_busy(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None

    def went_idle(self) -> None:
        if self._idle_s and not self._closed:
            loop = asyncio.get_running_loop()
            self._idle = loop.call_later(self._idle_s, self._stop_idle)

    def _stop_idle(self) -> None:
        self._idle = None
        if self._active == 0 and self._process is not None:
            self._spawn(self._stop_process(), "stop")

    async def _stop_process(self) -> None:
        async with self._lock:
            if self._active == 0 and self._process is not None and not self._process.ended.done():
                logger.info("%s has idled and is stopped", self.binding_id, extra={"binding": self.binding_id})
                await self._let_go()
                await self._process.stop()

    async def _let_go(self) -> None:
        """Of the connections to a child that ends, or has ended."""
        api, self._api = self._api, None
        if api is not None:
            await api.client.aclose()

    async def close(self) -> None:
        self.became_busy()
        await super().close()
        if self._reviving is not None:
            self._reviving.cancel()
            await asyncio.gather(self._reviving, return_exceptions=True)
        async with self._lock:
            await self._let_go()
            if self._process is not None:
                await self._process.stop()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _spawn(self, work: Coroutine[Any, Any, None], what: str) -> "asyncio.Task[None]":
        task = asyncio.get_running_loop().create_task(work, name=f"{what} {self.binding_id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
