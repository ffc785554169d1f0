"""What jaison calls processes: programs that an operation's own code starts, shared by links, stopped with the last.

Beside jaison's: a process is waited for until its port takes connections, one that died is started again before the
next call, and stopping it stops what it started. The operation's code starts it by itself, so it dies with Greenroom
only where Greenroom ends in good order; a ``program:`` in the binding's card is never orphaned.
"""

import asyncio
import contextlib
import logging
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Final, Self

from greenroom.bindings.jaison.messages import character
from greenroom.errors import BindingFailed
from greenroom.rpc.processes.keeper import children_of

logger = logging.getLogger(__name__)

READY_S: Final = 120.0
_LOOK_S: Final = 0.1


class BaseProcess:
    """To be derived from: ``reload`` starts the program and sets ``process`` and, if it has one, ``port``."""

    def __init__(self, id: str) -> None:
        self.id = id
        self.process: subprocess.Popen[Any] | None = None
        self.port: int | None = None
        self.links: set[tuple[str, str]] = set()
        """who uses it, by which link id"""
        self.starts = 0
        """how often it was started"""
        self.reload_signal = False
        self.unload_signal = False

    async def reload(self) -> None:
        self.reload_signal = False

    async def unload(self) -> None:
        """Kill it and all that it started."""
        self.unload_signal = False
        process, self.process, self.port = self.process, None, None
        if process is not None:
            await asyncio.to_thread(_kill, process)

    @property
    def died(self) -> bool:
        return self.process is not None and self.process.poll() is not None


def _descendants(pid: int) -> list[int]:
    found = _children(pid)
    for child in found:  # grows on the way
        found += _children(child)
    return found


def _children(pid: int) -> list[int]:
    return children_of(pid) if Path("/proc/self/stat").exists() else _listed_children(pid)


def _listed_children(pid: int) -> list[int]:
    """For systems without ``/proc``, such as macOS."""
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], check=False, capture_output=True, text=True)  # noqa: S607
    rows = (line.split() for line in listed.stdout.splitlines())
    return [int(row[0]) for row in rows if len(row) == 2 and row[1] == str(pid)]


def _kill(process: "subprocess.Popen[Any]") -> None:
    if process.poll() is None:
        if sys.platform == "win32":
            subprocess.run(  # noqa: S603 -- a program of Windows, and a number
                ["taskkill", "/F", "/T", "/PID", str(process.pid)],  # noqa: S607
                check=False,
                capture_output=True,
            )
        else:
            import os
            import signal

            for pid in _descendants(process.pid):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
        process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            stream.close()


class _Member(str):
    """As a member of an enumeration that was written for it."""

    __slots__ = ()

    @property
    def name(self) -> str:
        return self.upper()

    @property
    def value(self) -> str:
        return str(self)


class _AnyMember(type):
    """``ProcessType.MINE`` is the name of a process; jaison's users add a member to the enumeration themselves."""

    def __getattr__(cls, name: str) -> _Member:
        if name.startswith("_"):
            raise AttributeError(name)
        return _Member(name.lower())


class ProcessType(metaclass=_AnyMember):
    pass


_current: ContextVar["ProcessManager | None"] = ContextVar("jaison's process manager", default=None)
_user: ContextVar[str] = ContextVar("who links: each running operation names its links as its class does", default="")


class ProcessManager:
    """The processes of one binding. ``ProcessManager()`` in an operation's code is its binding's."""

    _classes: "Mapping[str, Callable[[], BaseProcess]]"

    def __new__(cls) -> Self:
        found = _current.get()
        if not isinstance(found, cls):
            raise RuntimeError("ProcessManager() is the running binding's: call it in start(), close() or _generate()")
        return found

    @classmethod
    def of(cls, classes: Mapping[str, Callable[[], BaseProcess]]) -> Self:
        """A binding's own. ``classes``: by the name that its operations link to, in lower case."""
        made = super().__new__(cls)
        made._classes = classes
        made._loaded = {}
        made._lock = threading.Lock()
        return made

    _loaded: dict[str, BaseProcess]
    _lock: threading.Lock

    @contextlib.contextmanager
    def current(self, name: str = "", user: str = "") -> Iterator[None]:
        """While this runs, ``ProcessManager()`` is this one, its links are those of ``user``, and ``Prompter()`` names
        that character."""
        manager, named, using = _current.set(self), character.set(name or character.get()), _user.set(user)
        try:
            yield
        finally:
            _current.reset(manager)
            character.reset(named)
            _user.reset(using)

    async def link(self, link_id: str, process_type: str) -> None:
        """Start it for its first user. :raises BindingFailed: for a second link of one id, or if it does not start."""
        async with self._alone():
            process = self._made(process_type)
            link = _user.get(), link_id
            if link in process.links:
                raise BindingFailed(f"Link ID {link_id} already linked to process {process.id}")
            await self._running(process)
            process.links.add(link)

    async def unlink(self, link_id: str, process_type: str) -> None:
        """Stop it after its last user. :raises BindingFailed: if it is not linked."""
        async with self._alone():
            process = self._found(process_type)
            link = _user.get(), link_id
            if link not in process.links:
                raise BindingFailed(f"Link ID {link_id} is not linked to process {process.id}")
            process.links.discard(link)
            if not process.links:
                await process.unload()

    async def leave(self, user: str) -> None:
        """Undo the links that a user has left behind."""
        async with self._alone():
            for process in self._loaded.values():
                left = {link for link in process.links if link[0] == user}
                process.links -= left
                if left and not process.links:
                    await process.unload()

    def get_process(self, process_type: str) -> BaseProcess:
        """:raises BindingFailed: if nobody has linked to it."""
        return self._found(process_type)

    def signal_reload(self, process_type: str) -> None:
        """Start it anew before the next call."""
        self._found(process_type).reload_signal = True

    def signal_unload(self, process_type: str) -> None:
        """Stop it before the next call, linked or not."""
        self._found(process_type).unload_signal = True

    @property
    def died(self) -> bool:
        """Whether one that is in use is no more: whoever uses it has to start anew."""
        return any(process.died and process.links for process in self._loaded.values())

    @property
    def starts(self) -> dict[str, int]:
        """How often each process was started: whoever finds a change has an old port in mind."""
        return {name: process.starts for name, process in self._loaded.items()}

    async def heed(self) -> None:
        """Do what was signalled, and start again what died."""
        async with self._alone():
            for process in self._loaded.values():
                if process.unload_signal:
                    await process.unload()
                if process.links and (process.reload_signal or process.process is None or process.died):
                    await process.unload()
                    await self._running(process)

    async def close(self) -> None:
        async with self._alone():
            for process in self._loaded.values():
                process.links.clear()
                await process.unload()

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """Operations have a loop each, so what keeps them apart is a lock of threads. It is asked for again and again,
        since a thread that waits for it cannot be called back when whoever wanted it has been cancelled."""
        while not self._lock.acquire(blocking=False):  # noqa: ASYNC110 -- an event of this loop cannot tell of others
            await asyncio.sleep(_LOOK_S)
        try:
            yield
        finally:
            self._lock.release()

    def _made(self, process_type: str) -> BaseProcess:
        name = _name(process_type)
        if name not in self._loaded:
            if name not in self._classes:
                known = ", ".join(self._classes) or "none"
                raise BindingFailed(f"there is no process {name}; given to jaison_binding: {known}")
            self._loaded[name] = self._classes[name]()
        return self._loaded[name]

    def _found(self, process_type: str) -> BaseProcess:
        found = self._loaded.get(_name(process_type))
        if found is None:
            raise BindingFailed(f"the process {_name(process_type)} is not loaded")
        return found

    async def _running(self, process: BaseProcess) -> None:
        if process.died:
            await process.unload()
        if process.process is None:
            await process.reload()
            process.starts += 1
            try:
                await self._ready(process)
            except BaseException:
                await process.unload()
                raise

    async def _ready(self, process: BaseProcess) -> None:
        if process.port is None:
            return
        until = asyncio.get_running_loop().time() + READY_S
        while asyncio.get_running_loop().time() < until:
            if process.died and process.process is not None:
                raise BindingFailed(f"{process.id} ended at once, with exit code {process.process.returncode}")
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", process.port)
            except OSError:
                await asyncio.sleep(_LOOK_S)
            else:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()  # at once: the operation's next call may block this loop
                return
        raise BindingFailed(f"{process.id} took no connection on port {process.port} within {READY_S:.0f} s")


def _name(process_type: str) -> str:
    return str(getattr(process_type, "value", process_type)).lower()
