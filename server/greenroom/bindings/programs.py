"""External programs that bindings need: started for the first user, shared, stopped after the last, never orphaned.

    async with programs.use(Program("kobold", (path, "--port", "{port}"), probe=HttpProbe("/api/v1/model"))) as running:
        await client.post(f"{running.url}/v1/chat/completions", ...)

A program that dies is restarted with growing delays; whoever uses it then gets :meth:`RunningProgram.failed` from what
broke, and waits with :meth:`RunningProgram.ready`. When this process ends, by SIGKILL too, so do the programs and all
that they started; nothing else is ever ended.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from greenroom.bindings.program import Backoff, Program, split_command
from greenroom.bindings.program_probe import HttpProbe, Probe, TcpProbe
from greenroom.bindings.program_supervisor import ProgramState, Supervisor
from greenroom.errors import BindingFailed, Conflict, Unavailable

__all__ = [
    "Backoff",
    "HttpProbe",
    "Probe",
    "Program",
    "ProgramState",
    "ProgramStatus",
    "Programs",
    "RunningProgram",
    "TcpProbe",
    "split_command",
]

NEXT_LOOK_S = 0.5


@dataclass(frozen=True, slots=True)
class ProgramStatus:
    key: str
    state: ProgramState
    users: int
    restarts: int
    pid: int | None
    port: int
    problem: str


class RunningProgram:
    """A user's view on a shared program. After a restart ``url`` may have changed: ask for it again."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    @property
    def key(self) -> str:
        return self._supervisor.program.key

    @property
    def host(self) -> str:
        return self._supervisor.program.host

    @property
    def port(self) -> int:
        return self._supervisor.port

    @property
    def url(self) -> str:
        """``http://127.0.0.1:5001``"""
        return self._supervisor.program.url(self.port)

    @property
    def pid(self) -> int | None:
        """``None`` while it is down."""
        return self._supervisor.pid

    @property
    def state(self) -> ProgramState:
        return self._supervisor.state

    @property
    def restarts(self) -> int:
        return self._supervisor.restarts

    def last_words(self, lines: int = 20) -> str:
        """The end of what it printed."""
        return self._supervisor.log.last_words(lines)

    def failed(self, reason: str) -> BindingFailed:
        """What to raise when a call to it broke: ``<key> <reason>`` and its last words."""
        return BindingFailed(self._supervisor.describe(reason), retryable=self.state is not ProgramState.FAILED)

    async def ready(self) -> None:
        """Return once it answers. :raises BindingFailed: if it was given up; with its last words."""
        await self._supervisor.ready()
        while not await self._supervisor.answers():
            await self._supervisor.change(NEXT_LOOK_S)
            await self._supervisor.ready()


class _Entry:
    def __init__(self, supervisor: Supervisor) -> None:
        self.supervisor = supervisor
        self.users = 0
        self.lingering: asyncio.Task[None] | None = None
        self.ending: asyncio.Task[None] | None = None


class Programs:
    """``logs``: the folder for ``<key>.log``; ``None``: only the last words are kept."""

    def __init__(
        self,
        logs: Path | None = None,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._logs = logs
        self._sleep = sleep
        self._clock = clock
        self._entries: dict[str, _Entry] = {}
        self._closed = False

    @asynccontextmanager
    async def use(self, program: Program) -> AsyncIterator[RunningProgram]:
        """May be left in another task than it was entered in.

        :raises BindingFailed: if the program does not come up, or was given up a moment ago; with its last words
        :raises Conflict: if another program is in use under the same key
        :raises Unavailable: after :meth:`close`
        """
        entry = await self._enter(program)
        try:
            await entry.supervisor.ready()
            yield RunningProgram(entry.supervisor)
        finally:
            await self._leave(program.key, entry)

    def status(self) -> list[ProgramStatus]:
        return [
            ProgramStatus(
                key,
                entry.supervisor.state,
                entry.users,
                entry.supervisor.restarts,
                entry.supervisor.pid,
                entry.supervisor.port,
                entry.supervisor.problem,
            )
            for key, entry in self._entries.items()
        ]

    async def stop(self, key: str) -> bool:
        """Stop it although it may be in use; its users' calls fail, the next :meth:`use` starts it again.

        ``False``: no such program runs.
        """
        entry = self._entries.get(key)
        if entry is None:
            return False
        await self._end(key, entry)
        return True

    async def close(self) -> None:
        """Stop all of them; none can be used any more."""
        self._closed = True
        await asyncio.gather(*(self._end(key, entry) for key, entry in list(self._entries.items())))

    async def _enter(self, program: Program) -> _Entry:
        while (entry := self._entries.get(program.key)) is not None:
            if entry.ending is None and entry.users and entry.supervisor.program != program:
                raise Conflict(f"{program.key} is in use with another command or other settings")
            if entry.ending is None and entry.supervisor.program == program and not self._may_be_tried_again(entry):
                break
            await self._end(program.key, entry)
        if self._closed:
            raise Unavailable(f"{program.key} cannot be started: the server is stopping")
        if entry is None:
            log_file = None if self._logs is None else self._logs / f"{_file_name(program.key)}.log"
            entry = _Entry(Supervisor(program, log_file, self._sleep, self._clock))
            self._entries[program.key] = entry
        entry.users += 1
        if entry.lingering is not None:
            entry.lingering.cancel()
            entry.lingering = None
        return entry

    def _may_be_tried_again(self, entry: _Entry) -> bool:
        supervisor = entry.supervisor
        waited_s = self._clock() - supervisor.failed_at
        return supervisor.state is ProgramState.FAILED and waited_s >= supervisor.program.backoff.cool_down_s

    async def _leave(self, key: str, entry: _Entry) -> None:
        entry.users -= 1
        if entry.users or self._entries.get(key) is not entry or entry.ending is not None:
            return
        supervisor = entry.supervisor
        wait_s = supervisor.program.linger_s
        if supervisor.state is ProgramState.FAILED:
            wait_s = max(wait_s, supervisor.program.backoff.cool_down_s)
        if wait_s <= 0:
            await self._end(key, entry)
            return
        entry.lingering = asyncio.get_running_loop().create_task(self._linger(key, entry, wait_s), name=f"linger {key}")

    async def _linger(self, key: str, entry: _Entry, wait_s: float) -> None:
        await self._sleep(wait_s)
        entry.lingering = None  # from here on it can no longer be called back
        await self._end(key, entry)

    async def _end(self, key: str, entry: _Entry) -> None:
        """Whoever asks first stops it, the others wait for that; a waiter's cancelling does not stop the stopping."""
        if entry.ending is None:
            entry.ending = asyncio.get_running_loop().create_task(self._stop(key, entry), name=f"stop {key}")
        await asyncio.shield(entry.ending)

    async def _stop(self, key: str, entry: _Entry) -> None:
        try:
            if entry.lingering is not None:
                entry.lingering.cancel()
            await entry.supervisor.stop()
        finally:
            if self._entries.get(key) is entry:
                del self._entries[key]


def _file_name(key: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "_", key).lstrip(".") or "program"
