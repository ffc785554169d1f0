"""Building one environment: the virtual environment, what the binding requires, what Greenroom needs beside it."""

import asyncio
import shutil
import sys
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path

from greenroom.bindings.discovery import FoundBinding
from greenroom.bindings.installing.carried import (
    MODULES,
    child_variables,
    pack_wheels,
    requirement_lines,
    site_packages,
    write_stub,
)
from greenroom.bindings.installing.child import run
from greenroom.bindings.installing.failure import explain
from greenroom.bindings.installing.installer import Installer, child_environment
from greenroom.bindings.installing.manifest import Manifest, describe, write_manifest
from greenroom.bindings.installing.progress import Tracker
from greenroom.bindings.installing.requirements import Requirements
from greenroom.errors import BindingFailed

_LINES_KEPT = 400
_LOOK_EVERY_S = 0.5


def python_in(environment: Path) -> Path:
    return environment / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


class Build:
    """:param log: where all that the installer says is written
    :param wheels: the server's own copies of what every environment needs
    """

    def __init__(
        self,
        found: FoundBinding,
        folder: Path,
        installer: Installer,
        *,
        environ: Mapping[str, str],
        log: Path,
        wheels: Path,
    ) -> None:
        self._found = found
        self._folder = folder
        self._python = python_in(folder)
        self._installer = installer
        self._temporary = folder / "tmp"
        self._environ = {**child_environment(environ, self._temporary), **child_variables()}
        self._log = log
        self._wheels = wheels

    async def run(self, needed: Requirements, tracker: Tracker, room: Callable[[int], None]) -> Manifest:
        """From nothing to a finished environment. ``room`` is told how many bytes the downloads will take that are
        known so far, each time that there are more, and may raise.

        :raises BindingFailed: a step failed.
        :raises OSError: a file cannot be written, or a program not be started.
        """
        await asyncio.to_thread(self._log.write_bytes, b"")
        await self._make(tracker)
        await self._fill(needed, tracker, room)
        await asyncio.to_thread(write_stub, self._folder)
        tracker.checking()
        await self._check_imports()
        return await asyncio.to_thread(self._finish, needed)

    async def check(self, needed: Requirements) -> list[str]:
        """What the installer finds wrong with a finished environment, but for what stands alone in it on purpose."""
        said: list[str] = []
        try:
            if not await self._call(self._installer.check(self._python), said.append):
                return []
            if needed.alone:  # then sums of what was found say nothing either
                return [line for line in said if " require" in line and not needed.concerns(line)]
            return said
        finally:
            await asyncio.to_thread(self._tidy)

    async def _make(self, tracker: Tracker) -> None:
        """An empty environment of the Python that runs us; the installer works on it from outside."""
        await self._must([sys.executable, "-P", "-m", "venv", "--without-pip", str(self._folder)], tracker.line)
        if prepare := self._installer.prepare(self._python):
            await self._must(prepare, tracker.line)

    async def _fill(self, needed: Requirements, tracker: Tracker, room: Callable[[int], None]) -> None:
        told = 0

        def said(line: str) -> None:
            nonlocal told
            tracker.line(line)
            if tracker.total > told:
                told = tracker.total
                room(told)

        looking = asyncio.create_task(self._look(tracker), name=f"look at what {self._found.id} fetches")
        try:
            for wanted in await asyncio.to_thread(self._wanted, needed):
                await self._must(self._installer.install(self._python, wanted), said)
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)

    def _wanted(self, needed: Requirements) -> list[list[str]]:
        """What each call of the installer is asked for: one call, unless it would want hashes of our own packages."""
        pack_wheels(self._wheels)
        ours = self._temporary / "greenroom.txt"
        ours.write_text(
            "\n".join([f"--find-links {self._wheels.as_uri()}", *requirement_lines(), ""]), encoding="utf-8"
        )
        own = [] if needed.file is None else ["-r", str(needed.file)]
        if needed.lines:
            card = self._temporary / "card.txt"
            card.write_text("\n".join([*needed.lines, ""]), encoding="utf-8")
            own += ["-r", str(card)]
        calls = [own, ["-r", str(ours)]] if needed.hashed else [[*own, "-r", str(ours)]]
        if needed.alone:
            alone = self._temporary / "alone.txt"
            alone.write_text("\n".join([*needed.alone, ""]), encoding="utf-8")
            calls.append(["--no-deps", "-r", str(alone)])
        return [call for call in calls if call]

    async def _look(self, tracker: Tracker) -> None:
        """What the installer does not say: how many packages are there, and, if it counts no bytes, how large the file
        has become that it is fetching."""
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            if tracker.installing:
                tracker.packages_there(await asyncio.to_thread(self._packages_there))
            elif tracker.downloading and not self._installer.raw_progress:
                tracker.bytes_on_disk(await asyncio.to_thread(self._newest_size))

    def _packages_there(self) -> int:
        return sum(1 for _ in site_packages(self._folder).glob("*.dist-info"))

    def _newest_size(self) -> int:
        newest, size = 0.0, 0
        for file in self._temporary.glob("pip-unpack-*/*"):
            try:
                seen = file.stat()
            except OSError:  # it is complete, and has been moved
                continue
            if seen.st_mtime > newest:
                newest, size = seen.st_mtime, seen.st_size
        return size

    async def _check_imports(self) -> None:
        """:raises BindingFailed: what the child will import, or the binding itself, is not there."""
        code = (
            "import importlib, importlib.util, sys\n"
            f"for name in {MODULES!r}: importlib.import_module(name)\n"
            f"gone = [name for name in {self._found.card.imports!r} if importlib.util.find_spec(name) is None]\n"
            "named = ', '.join(gone)\n"
            "if gone: sys.exit(f'ERROR: the binding imports {named}, which its requirements do not bring')\n"
        )
        await self._must([str(self._python), "-P", "-c", code], lambda line: None)

    def _finish(self, needed: Requirements) -> Manifest:
        self._tidy()
        manifest = describe(self._folder, self._found.id, needed.digest, self._installer.name)
        write_manifest(self._folder, manifest)
        return manifest

    def _tidy(self) -> None:
        shutil.rmtree(self._temporary, ignore_errors=True)

    async def _must(self, command: list[str], said: Callable[[str], None]) -> None:
        """:raises BindingFailed: it ended with an error."""
        last: deque[str] = deque(maxlen=_LINES_KEPT)

        def both(line: str) -> None:
            last.append(line)
            said(line)

        if await self._call(command, both) == 0:
            return
        sentence, again = explain(list(last))
        raise BindingFailed(
            f"{self._found.id} could not be installed: {sentence} (all that was said: {self._log})",
            kind="install_failed",
            details={"log": str(self._log)},
            retryable=again,
        )

    async def _call(self, command: list[str], said: Callable[[str], None]) -> int:
        """-> exit code"""
        await asyncio.to_thread(self._temporary.mkdir, parents=True, exist_ok=True)
        with self._log.open("ab") as log:
            return await run(command, env=self._environ, cwd=self._found.folder, log=log, said=said)
