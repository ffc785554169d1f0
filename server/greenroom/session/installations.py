"""The installations that run, of all sessions: so that they can be stopped from any of them."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Running:
    binding: str
    model: str
    """empty: what the binding itself needs"""
    client_id: str


class Installations:
    def __init__(self) -> None:
        self._running: dict[asyncio.Task[Any], _Running] = {}

    async def run(self, work: Coroutine[Any, Any, T], binding: str, model: str, client_id: str) -> T:
        """Do it as something that :meth:`stop` and :meth:`forget` can end, and then alone.

        :raises asyncio.CancelledError: the caller itself was cancelled. :raises Stopped: only the work was.
        """
        # Its failure is the answer: it need not be logged as that of a task of its own.
        task = asyncio.get_running_loop().create_task(work, name=f"install {binding} {model}".strip())
        self._running[task] = _Running(binding, model, client_id)
        try:
            await asyncio.wait({task})
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            self._running.pop(task, None)
        if task.cancelled():
            raise Stopped
        return task.result()

    async def stop(self, binding: str, model: str = "") -> int:
        """Ends them, and waits until they have ended. -> how many there were"""
        tasks = [task for task, one in self._running.items() if (one.binding, one.model) == (binding, model)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return len(tasks)

    def models(self, binding: str) -> set[str]:
        """Names of the binding's models that are being installed."""
        return {one.model for one in self._running.values() if one.binding == binding and one.model}

    def forget(self, client_id: str) -> None:
        """Nobody waits for what this client began."""
        for task, one in self._running.items():
            if one.client_id == client_id:
                task.cancel()


class Stopped(Exception):
    """An installation was stopped by somebody."""
