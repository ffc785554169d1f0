"""A virtual environment of its own for each binding that asks for one: built, checked, used, removed.

    <home>/environments/<binding>-<digest>[-<n>]/     one environment; complete once it holds ``environment.json``
                        <binding>.lock                held by the process that builds or removes one of the binding's
                        <binding>.log                 all that the installer said last time
                        wheels/                       the server's own copies of what every environment needs

An environment is built where it will stay, since the scripts and compiled files in it carry its path: no rename makes
it complete, but its manifest, which is written last and in one step. A folder without one is never used; the next
installation removes it and begins anew with what the installer's cache holds already. A new build of the same
requirements (``upgrade``) gets a folder of its own, so that what is in use stays untouched until the new one is done.
"""

import asyncio
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path

from greenroom.bindings.discovery import FoundBinding
from greenroom.bindings.installing.build import Build, python_in
from greenroom.bindings.installing.carried import child_variables
from greenroom.bindings.installing.folders import Folders
from greenroom.bindings.installing.installer import Kind, choose
from greenroom.bindings.installing.manifest import Manifest, packages_in
from greenroom.bindings.installing.progress import Progress, Tracker
from greenroom.bindings.installing.requirements import Requirements, read_requirements
from greenroom.errors import GreenroomError, Unavailable
from greenroom.paths import Home, make_folder

SMALLEST_ROOM = 200_000_000
"""bytes that must be free before anything is installed"""
UNPACKED_RATIO = 3
"""an installed wheel takes about twice its size, and the wheel lies beside it meanwhile"""


class State(StrEnum):
    NOT_NEEDED = "not_needed"
    MISSING = "missing"
    OUTDATED = "outdated"
    """one is there, for other requirements or another Python"""
    DAMAGED = "damaged"
    READY = "ready"


@dataclass(frozen=True, slots=True)
class EnvironmentStatus:
    state: State
    sentence: str
    """for a person: what there is, or what is wrong and what mends it"""
    folder: Path | None = None
    manifest: Manifest | None = None


class Environments:
    """The environments below a home. Nothing is installed but by :meth:`install`.

    :param environ: what the installers see of the process's environment
    :param free_bytes: how much room there is where a folder lies
    :param installer: use this one, whatever is there and configured
    """

    def __init__(
        self,
        home: Home,
        *,
        environ: Mapping[str, str] | None = None,
        free_bytes: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
        installer: Kind | None = None,
    ) -> None:
        self.folder = home.environments
        self._folders = Folders(home.environments)
        self._environ = os.environ if environ is None else environ
        self._free_bytes = free_bytes
        self._installer = installer

    def python_for(self, found: FoundBinding) -> Path | None:
        """The interpreter of a complete environment that fits the binding's requirements; ``None`` if there is none,
        or if it needs none. Run it under :meth:`using`, with :meth:`variables` in its environment.

        :raises BadRequest: the requirements cannot be read.
        """
        status = self.status(found)
        return python_in(status.folder) if status.state is State.READY and status.folder is not None else None

    def variables(self) -> dict[str, str]:
        """What a child in an environment must find in its own, so that it runs this very Greenroom."""
        return child_variables()

    @contextmanager
    def using(self, found: FoundBinding) -> Iterator[Path | None]:
        """As :meth:`python_for`; while it is held, nobody removes that environment."""
        status = self.status(found)
        if status.state is not State.READY or status.folder is None:
            yield None
            return
        with self._folders.used(status.folder) as there:
            yield python_in(status.folder) if there else None

    def status(self, found: FoundBinding) -> EnvironmentStatus:
        """Reads a few small files. :raises BadRequest: the requirements cannot be read."""
        needed = read_requirements(found)
        if needed is None:
            return EnvironmentStatus(State.NOT_NEEDED, f"{found.id} needs no packages of its own")
        mend = f"greenroom install {found.id}"
        ready = self._folders.complete(found.id, needed.digest)
        if ready is not None:
            folder, manifest = ready
            if not python_in(folder).exists():
                gone = "the environment's Python is gone, perhaps upgraded or uninstalled"
                return EnvironmentStatus(State.DAMAGED, f"{gone}; mend with: {mend}", folder, manifest)
            return EnvironmentStatus(State.READY, _described(manifest), folder, manifest)
        other = self._folders.complete(found.id)
        if other is not None:
            changed = "its environment was built for other requirements or another Python"
            return EnvironmentStatus(State.OUTDATED, f"{changed}; build it anew with: {mend}", *other)
        return EnvironmentStatus(State.MISSING, f"its environment is not built; build it with: {mend}")

    async def check(self, found: FoundBinding) -> list[str]:
        """What is wrong with the binding's environment, a sentence each; asks the installer too.

        :raises Conflict: it is being installed or removed.
        """
        status = await asyncio.to_thread(self.status, found)
        if status.state is State.NOT_NEEDED:
            return []
        if status.state is not State.READY or status.folder is None or status.manifest is None:
            return [status.sentence]
        there, listed = await asyncio.to_thread(packages_in, status.folder), status.manifest.packages
        mend = f"mend with: greenroom install {found.id} --upgrade"
        wrong = [
            f"{name}: {there.get(name, 'gone')} is there, {listed.get(name, 'nothing')} was installed; {mend}"
            for name in sorted(there.keys() | listed.keys())
            if there.get(name) != listed.get(name)
        ]
        needed = await asyncio.to_thread(read_requirements, found)
        if needed is None:  # the card has changed since
            return wrong
        with self._folders.busy(found.id):
            return wrong + await self._build(found, status.folder).check(needed)

    async def install(
        self,
        found: FoundBinding,
        report: Callable[[Progress], None] = lambda progress: None,
        *,
        upgrade: bool = False,
    ) -> Manifest | None:
        """Build what the binding needs, unless it is there; ``upgrade`` builds it anew with the newest versions.

        ``report`` is called on the event loop, from 0 to 100 percent. ``None``: it needs nothing.
        Cancelled: the installer is killed with all its children, and nothing of it is used.

        :raises BadRequest: the requirements cannot be read.
        :raises Conflict: somebody else installs or removes this binding's environment.
        :raises Unavailable: no installer, no room, a folder that cannot be written.
        :raises BindingFailed: the installer failed; its last words and what to do. ``retryable``: it was the network.
        """
        if found.error:
            raise Unavailable(found.problem)
        needed = await asyncio.to_thread(read_requirements, found)
        tracker = Tracker(report)
        tracker.begin()
        if needed is None:
            tracker.done(f"{found.id} needs no packages of its own")
            return None
        await asyncio.to_thread(make_folder, self.folder)
        with self._folders.busy(found.id):
            status = await asyncio.to_thread(self.status, found)
            manifest = None if upgrade or status.state is not State.READY else status.manifest
            if manifest is None:
                manifest = await self._install(found, needed, tracker)
        tracker.done(_described(manifest))
        return manifest

    async def _install(self, found: FoundBinding, needed: Requirements, tracker: Tracker) -> Manifest:
        """Under the lock."""
        await asyncio.to_thread(self._folders.sweep, found.id)
        self._check_room(0)
        folder = self._folders.next(found.id, needed.digest)
        try:
            manifest = await self._build(found, folder).run(
                needed, tracker, lambda total: self._check_room(total * UNPACKED_RATIO - tracker.downloaded)
            )
        except GreenroomError:
            await asyncio.to_thread(self._folders.remove, folder)
            raise
        except OSError as error:
            await asyncio.to_thread(self._folders.remove, folder)
            what = error.filename or folder
            raise Unavailable(f"{found.id} cannot be installed: {what}: {error.strerror or error}") from error
        except BaseException:
            self._abandon(folder)
            raise
        await asyncio.to_thread(self._folders.retire_others, found.id, folder)
        return manifest

    def _abandon(self, folder: Path) -> None:
        """Cancelled: who waits for us to leave does not wait until gigabytes are deleted."""
        try:
            hidden = self._folders.hide(folder)
        except OSError:  # Windows, while a killed installer's files are still open: the next installation sweeps it
            return
        if hidden is not None:
            delete = partial(shutil.rmtree, hidden, ignore_errors=True)
            threading.Thread(target=delete, name=f"delete {folder.name}", daemon=True).start()

    async def uninstall(self, binding_id: str) -> bool:
        """Remove the binding's environments, finished or not; whether there were any.

        :raises Conflict: one is in use, or being installed.
        :raises Unavailable: the files cannot be removed.
        """
        if not self._folders.of(binding_id):
            return False
        with self._folders.busy(binding_id):
            return await asyncio.to_thread(self._folders.remove_all, binding_id)

    def _build(self, found: FoundBinding, folder: Path) -> Build:
        """:raises Unavailable: there is no installer."""
        installer = choose(self._environ, wanted=self._installer)
        log, wheels = self._folders.log(found.id), self.folder / "wheels"
        return Build(found, folder, installer, environ=self._environ, log=log, wheels=wheels)

    def _check_room(self, needed: int) -> None:
        """:raises Unavailable: less is free than this many bytes, or than anything takes."""
        needed, free = max(SMALLEST_ROOM, needed), self._free_bytes(self.folder)
        if free < needed:
            raise Unavailable(
                f"this takes about {size_text(needed)} in {self.folder}, and {size_text(free)} are free; make room, "
                "or choose another home with --home or GREENROOM_HOME",
                kind="no_room",
            )


@contextmanager
def held(python: Path) -> Iterator[None]:
    """While it is held, nobody removes the environment to which this interpreter belongs: what
    :meth:`Environments.python_for` gave.

    :raises Unavailable: it has just been removed.
    """
    folder = python.parents[1]
    with Folders(folder.parent).used(folder) as there:
        if not there:
            raise Unavailable(f"the environment {folder.name} has just been removed; try again")
        yield


def size_text(count: float) -> str:
    for unit, size in (("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1000)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count:.0f} bytes"


def _described(manifest: Manifest) -> str:
    count = len(manifest.packages)
    return f"{count} packages, {size_text(manifest.size_bytes)}, Python {manifest.python}"
