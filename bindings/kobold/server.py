"""Where KoboldCPP runs: one that somebody started, or one that is started, watched and stopped from here."""

import asyncio
import hashlib
import shutil
from abc import ABC, abstractmethod
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from greenroom.bindings.programs import Program, Programs, ProgramState, RunningProgram
from greenroom.bindings.roles import Place
from greenroom.errors import BindingFailed, Unavailable

from .settings_file import Settings, read_settings

DEFAULT_URL = "http://127.0.0.1:5001"
"""where KoboldCPP listens if nobody says otherwise"""
_WITHOUT_CONFIG = ("--config", "{config}")


class KoboldServer(ABC):
    name: str
    """as messages call it"""
    locked_help: str
    """what to do where it wants a password"""

    @abstractmethod
    async def url(self) -> str:
        """Without a slash at the end; waits for one that is coming up. :raises BindingFailed: if it does not."""

    @property
    @abstractmethod
    def url_now(self) -> str | None:
        """``None`` while it is down."""

    @abstractmethod
    async def recover(self) -> bool:
        """After a call could not be made: whether another is worth it. :raises BindingFailed: if it is gone."""

    @abstractmethod
    def failed(self, reason: str) -> BindingFailed: ...

    @abstractmethod
    async def close(self) -> None: ...


class FoundServer(KoboldServer):
    """One that runs already."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self.name = f"KoboldCPP at {urlsplit(url).netloc}"
        self.locked_help = "set KOBOLD_PASSWORD, and url in the configuration"

    async def url(self) -> str:
        return self._url

    @property
    def url_now(self) -> str:
        return self._url

    async def recover(self) -> bool:
        return False

    def failed(self, reason: str) -> BindingFailed:
        return BindingFailed(f"{self.name} {reason}", retryable=True)

    async def close(self) -> None:
        """It runs on: it is somebody else's."""


class ManagedServer(KoboldServer):
    """One of our own, shared with whoever names the same program and settings file."""

    name = "KoboldCPP"
    locked_help = "move --password from kobold_filepath into the .kcpps file"

    def __init__(self, programs: Programs, program: Program) -> None:
        self._programs = programs
        self._program = program
        self._stack = AsyncExitStack()
        self._running: RunningProgram | None = None
        self._entering = asyncio.Lock()

    async def url(self) -> str:
        running = await self._enter()
        if running.state is not ProgramState.READY:
            await running.ready()
        return running.url

    async def _enter(self) -> RunningProgram:
        """One that was given up, or that somebody stopped, is started anew; not before its cool-down."""
        async with self._entering:
            if self._running is None or self._running.state in (ProgramState.FAILED, ProgramState.STOPPED):
                await self._stack.aclose()
                self._running = None
                self._running = await self._stack.enter_async_context(self._programs.use(self._program))
            return self._running

    @property
    def url_now(self) -> str | None:
        running = self._running
        return running.url if running is not None and running.state is ProgramState.READY else None

    async def recover(self) -> bool:
        await (await self._enter()).ready()
        return True

    def failed(self, reason: str) -> BindingFailed:
        if self._running is None:
            return BindingFailed(f"{self.name} {reason}", retryable=True)
        return self._running.failed(reason)

    async def close(self) -> None:
        await self._stack.aclose()


def program_of(kobold: str, config: str | None, place: Place) -> tuple[Program, str | None]:
    """-> program, and the password that its settings file sets.

    :raises Unavailable: if the program or its settings file is not there, or of no use; with what to do
    """
    card = place.program
    if card is None:
        raise Unavailable("the binding's card does not say how KoboldCPP is started: its program block is missing")
    values = {"kobold": _in_home(kobold, place)}
    settings = Settings()
    if config:
        config = _in_home(config, place)
        if not Path(config).is_file():
            raise Unavailable(
                f"kcpps_filepath: there is no file {config}; make one with KoboldCPP's launcher, Save Config"
            )
        settings = read_settings(Path(config))
        values["config"] = config
    else:
        card = card.model_copy(update={"command": tuple(arg for arg in card.command if arg not in _WITHOUT_CONFIG)})
    digest = hashlib.sha256(f"{kobold}\0{config or ''}".encode()).hexdigest()[:6]
    program = card.program(f"kobold:{Path(config).stem if config else 'program'}-{digest}", values)
    if shutil.which(program.command[0]) is None:
        raise Unavailable(
            f"kobold_filepath: there is no program {program.command[0]}; get KoboldCPP from "
            "https://github.com/LostRuins/koboldcpp/releases"
        )
    return (replace(program, port=settings.port) if settings.port else program), settings.password


def _in_home(path: str, place: Place) -> str:
    """What is not found as it is written may lie in the home folder: ``models/kobold/koboldcpp``."""
    file = Path(path).expanduser()
    inside = place.models.parent.parent / file
    return str(inside if inside.is_file() and not file.exists() else file if file.exists() else path)
