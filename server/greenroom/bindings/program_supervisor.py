"""Keeps one program running for as long as someone needs it.

STARTING --answers--> READY --dies--> BACKING_OFF --> STARTING ...
    '------- dies, once too often, or never answers -------'--> FAILED        from any state, when told: STOPPED
"""

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Awaitable, Callable
from enum import StrEnum
from pathlib import Path

from greenroom.bindings.program import Program, free_port, is_free
from greenroom.bindings.program_log import ProgramLog
from greenroom.errors import BindingFailed, Unavailable
from greenroom.rpc.processes.child import Child, start_child

logger = logging.getLogger(__name__)

FIRST_PROBE_S = 0.02
LONGEST_PROBE_S = 0.5
LAST_WORDS_WAIT_S = 2.0


class ProgramState(StrEnum):
    STARTING = "starting"
    READY = "ready"
    BACKING_OFF = "backing_off"
    FAILED = "failed"
    STOPPED = "stopped"


ON_ITS_WAY = frozenset({ProgramState.STARTING, ProgramState.BACKING_OFF})


class _Ended(Exception):
    """The program is not running, or must not go on. ``final``: starting it again would be no better."""

    def __init__(self, reason: str, final: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.final = final


class Supervisor:
    """``sleep`` is awaited between a crash and the next start; ``clock`` tells how long a run lasted."""

    def __init__(
        self,
        program: Program,
        log_file: Path | None,
        sleep: Callable[[float], Awaitable[None]],
        clock: Callable[[], float],
    ) -> None:
        self.program = program
        self.state = ProgramState.STARTING
        self.restarts = 0
        self.problem = ""
        """why it failed"""
        self.failed_at = 0.0
        self.port = program.port or 0
        self.log = ProgramLog(log_file, program.log_bytes)
        self._sleep = sleep
        self._clock = clock
        self._child: Child | None = None
        self._drain: threading.Thread | None = None
        self._changed = asyncio.Event()
        self._been_ready = False
        self._task = asyncio.get_running_loop().create_task(self._keep(), name=f"program {program.key}")

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child is not None else None

    async def ready(self) -> None:
        """Return when it answers. :raises BindingFailed: with its last words, if it was given up."""
        while self.state in ON_ITS_WAY:
            await self._changed.wait()
        if self.state is ProgramState.FAILED:
            raise BindingFailed(self.problem)
        if self.state is ProgramState.STOPPED:
            raise Unavailable(f"{self.program.key} has been stopped")

    async def answers(self) -> bool:
        return await self.program.probe.answers(self.program.host, self.port)

    async def change(self, timeout_s: float) -> None:
        """Wait for another state, or for so long."""
        try:
            await asyncio.wait_for(self._changed.wait(), timeout_s)
        except TimeoutError:
            pass

    def describe(self, reason: str) -> str:
        words = self.log.last_words()
        return f"{self.program.key} {reason}" + (f"; its last words:\n{words}" if words else "")

    async def stop(self) -> None:
        """End the program and all that it started."""
        self._task.cancel()
        await asyncio.wait({self._task})
        await self._end_child()
        self._become(ProgramState.STOPPED)
        if not self._task.cancelled():
            self._task.result()

    async def _keep(self) -> None:
        failures = 0
        try:
            while True:
                try:
                    lasted_s = await self._run_once()
                except _Ended as ended:
                    reason, final, lasted_s = ended.reason, ended.final and not self._been_ready, 0.0
                else:
                    reason, final = self._how_it_ended(), False
                if self.state is ProgramState.READY:
                    self._become(ProgramState.BACKING_OFF)
                await self._end_child()
                failures = 1 if lasted_s >= self.program.backoff.stable_s else failures + 1
                if final or failures >= self._limit():
                    self._fail(self.describe(reason))
                    return
                delay_s = self.program.backoff.delay_s(failures)
                logger.warning("program %s %s; started again in %.1f s", self.program.key, reason, delay_s)
                self._become(ProgramState.BACKING_OFF)
                await self._sleep(delay_s)
                self.restarts += 1
        except asyncio.CancelledError:
            self._become(ProgramState.STOPPED)
            raise
        finally:
            if self.state in ON_ITS_WAY:  # an error of ours, which stop() raises: until then nobody waits for nothing
                self._fail(self.describe("is no longer looked after"))

    def _limit(self) -> int:
        backoff = self.program.backoff
        return backoff.restarts + 1 if self._been_ready else backoff.start_attempts

    async def _run_once(self) -> float:
        """Start it, wait for it to end, and return for how many seconds it was ready.

        :raises _Ended: if it never was
        """
        self._become(ProgramState.STARTING)
        child = await self._start()
        ended = asyncio.wrap_future(child.ended)
        try:
            await self._until_ready(child, ended)
            self._been_ready = True
            since = self._clock()
            self._become(ProgramState.READY)
            logger.info("program %s is ready as process %d on port %d", self.program.key, child.pid, self.port)
            await self._watch(ended)
            return self._clock() - since
        finally:
            ended.cancel()

    async def _watch(self, ended: "asyncio.Future[int]") -> None:
        """Return when it has ended, or has not answered for so long that it will not."""
        program = self.program
        unanswered = 0
        while not ended.done() and unanswered < program.unhealthy_after:
            await asyncio.wait({ended}, timeout=program.health_s or None)
            if not ended.done():
                unanswered = 0 if await self.answers() else unanswered + 1

    async def _start(self) -> Child:
        self._choose_port()
        reading, writing = os.pipe()
        self._drain = self.log.drain(reading)
        program = self.program
        starting = asyncio.ensure_future(
            asyncio.to_thread(
                start_child,
                program.filled_command(self.port),
                env=program.filled_env(self.port),
                cwd=program.cwd,
                output=writing,
            )
        )
        try:
            try:
                self._child = await asyncio.shield(starting)
            except asyncio.CancelledError:
                self._child = await starting  # it is ours already, and has to be stopped
                raise
        except (OSError, ValueError) as error:
            raise _Ended(f"cannot be started: {error}", final=True) from error
        finally:
            os.close(writing)
        return self._child

    def _choose_port(self) -> None:
        """The port of the last run if it is still free: users hold its URL."""
        host = self.program.host
        if self.port and is_free(host, self.port):
            return
        if self.program.port is not None:
            raise _Ended(f"cannot be started: its port {self.program.port} is taken by another program", final=True)
        try:
            self.port = free_port(host)
        except OSError as error:
            raise _Ended(f"cannot be started: no port on {host}: {error}", final=True) from error

    async def _until_ready(self, child: Child, ended: "asyncio.Future[int]") -> None:
        program = self.program
        pause_s = FIRST_PROBE_S
        try:
            async with asyncio.timeout(program.start_timeout_s):
                while not await self.answers():
                    await asyncio.wait({ended}, timeout=pause_s)
                    if ended.done():
                        break
                    pause_s = min(LONGEST_PROBE_S, 2 * pause_s)
        except TimeoutError:
            raise _Ended(f"did not answer within {program.start_timeout_s:g} s", final=True) from None
        if child.exit_code is not None:
            raise _Ended(self._how_it_ended())

    async def _end_child(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            await asyncio.to_thread(child.stop, self.program.stop_grace_s)
        if self._drain is not None:
            await asyncio.to_thread(self._drain.join, LAST_WORDS_WAIT_S)

    def _how_it_ended(self) -> str:
        code = self._child.exit_code if self._child is not None else None
        if code is None:
            return f"did not answer {self.program.unhealthy_after} times in a row"
        if code < 0:
            try:
                return f"was ended by {signal.Signals(-code).name}"
            except ValueError:
                return f"was ended by signal {-code}"
        return f"ended with exit code {code}"

    def _fail(self, problem: str) -> None:
        logger.error("program %s", problem)
        self.problem = problem
        self.failed_at = self._clock()
        self._become(ProgramState.FAILED)

    def _become(self, state: ProgramState) -> None:
        self.state = state
        self._changed.set()
        self._changed = asyncio.Event()
