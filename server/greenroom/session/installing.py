"""The desk for installing what bindings need: the owner's, beside everything else that the session does.

An installation is answered when it is done. Until then its caller alone hears ``install_progress``, all of one
installation under one ``request_id``; the last of them is the answer itself.
"""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

from greenroom.bindings.installing.progress import Phase, Progress
from greenroom.errors import Cancelled
from greenroom.protocol.commands import InstallBinding, UninstallBinding
from greenroom.protocol.events import InstallProgress, payload
from greenroom.session.handle import Caller, Reply
from greenroom.session.session import Session
from greenroom.values import new_id

_TOLD_EVERY_PERCENT = 1.0
_TOLD_EVERY_S = 0.5


@dataclass(slots=True)
class _Told:
    """What one caller hears of one installation: the beginning, each new phase, and now and then how far it is."""

    binding: str
    caller: Caller
    request_id: str = field(default_factory=new_id)
    start_time: str = field(default_factory=lambda: time.strftime("%Y-%m-%d %H:%M:%S"))
    count: int = 0
    last: Progress | None = None
    at: float = 0.0

    def tell(self, progress: Progress) -> None:
        if progress.phase is Phase.DONE or not self._worth(progress):
            return
        self.last, self.at = progress, time.monotonic()
        self.count += 1
        self.caller.send(self.event(progress), self.request_id)

    def _worth(self, progress: Progress) -> bool:
        return (
            self.last is None
            or progress.phase is not self.last.phase
            or progress.percent - self.last.percent >= _TOLD_EVERY_PERCENT
            or (time.monotonic() - self.at >= _TOLD_EVERY_S and progress != self.last)
        )

    def event(self, progress: Progress) -> InstallProgress:
        return InstallProgress(
            binding_name=self.binding,
            binding_folder=self.binding,
            phase=str(progress.phase),
            message=progress.message,
            start_time=self.start_time,
            total_size=progress.total,
            downloaded_size=progress.downloaded,
            progress=progress.percent,
            speed=progress.speed,
        )


class InstallingDesk:
    def __init__(self, session: Session) -> None:
        self._session = session
        self._environments = session.house.environments
        self._running: dict[asyncio.Task[Any], tuple[str, str]] = {}
        """binding and client of each installation"""
        session.handle(InstallBinding, self._install)
        session.handle(UninstallBinding, self._uninstall)
        session.when_forgotten(self._forget)

    async def _install(self, command: InstallBinding, caller: Caller) -> Reply:
        found = self._session.house.bindings.get(command.name)
        told = _Told(found.id, caller)
        latest = Progress(Phase.PREPARING, "", 0.0, 0, 0, 0.0)

        def report(progress: Progress) -> None:
            nonlocal latest
            latest = progress
            told.tell(progress)

        work = self._environments().install(found, report, upgrade=command.upgrade)
        # Its failure is the answer: the session need not log it as a task of its own.
        task = asyncio.get_running_loop().create_task(work, name=f"install {found.id}")
        self._running[task] = (found.id, caller.client_id)
        try:
            await asyncio.wait({task})
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            self._running.pop(task, None)
        if task.cancelled():
            raise Cancelled(f"the installation of {found.id} was stopped; nothing of it is used")
        task.result()
        return {**payload(told.event(latest)), "request_id": told.request_id, "n": told.count + 1}

    async def _uninstall(self, command: UninstallBinding, caller: Caller) -> Reply:
        found = self._session.house.bindings.get(command.name)
        await self._stop([task for task, (binding, _) in self._running.items() if binding == found.id])
        removed = await self._environments().uninstall(found.id)
        return {"status": True, "binding_name": found.id, "binding_folder": found.id, "removed": removed, "error": ""}

    def _forget(self, client_id: str) -> None:
        for task, (_, client) in self._running.items():
            if client == client_id:
                task.cancel()

    async def _stop(self, tasks: list[asyncio.Task[Any]]) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
