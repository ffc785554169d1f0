"""Installing and removing the models of one binding, each by one process at a time.

Every file is fetched into ``.downloads/<key>/``; only when all are there and checked they are moved to where the
binding finds them, each in one step. So a binding never sees half a model, and what was interrupted goes on where it
stopped.
"""

import asyncio
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import greenroom
from greenroom.bindings.discovery import FoundBinding
from greenroom.bindings.downloads import checksum as checksums
from greenroom.bindings.downloads.catalogue import Catalogue, Presence
from greenroom.bindings.downloads.checksum import Checksum
from greenroom.bindings.downloads.entries import Download, RemoteFile
from greenroom.bindings.downloads.failures import disk_failed
from greenroom.bindings.downloads.fetching import Fetch
from greenroom.bindings.downloads.hub import Hub
from greenroom.bindings.downloads.manifest import InstalledFile, Manifest
from greenroom.bindings.downloads.paths import inside
from greenroom.bindings.downloads.progress import Meter
from greenroom.bindings.downloads.transfer import in_thread
from greenroom.bindings.downloads.web import Patience
from greenroom.bindings.environments import size_text
from greenroom.bindings.installing.progress import Phase, Progress
from greenroom.bindings.roles import Place
from greenroom.errors import Unavailable
from greenroom.paths import make_folder

SPARE_BYTES: Final = 100_000_000
"""that stay free beside what is fetched"""


def open_store(found: FoundBinding, place: Place, environ: Mapping[str, str]) -> "ModelStore":
    """The models of a binding. ``environ``: HF_ENDPOINT and HF_TOKEN are read from it.

    :raises Unavailable: the binding's folder cannot be read.
    :raises BadRequest: HF_ENDPOINT is no address.
    """
    if found.error:
        raise Unavailable(found.problem)
    hub = Hub.of(environ.get("HF_ENDPOINT"), environ.get("HF_TOKEN"))
    if hub.token is None:
        hub = Hub(hub.endpoint, place.secret("HF_TOKEN", hub.endpoint))
    return ModelStore(Catalogue(found.id, place.models, found.model_entries, found.card.any_hub_model), hub)


class ModelStore:
    """:param free_bytes: how much room there is where a folder lies"""

    def __init__(
        self,
        catalogue: Catalogue,
        hub: Hub | None = None,
        *,
        patience: Patience | None = None,
        free_bytes: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
    ) -> None:
        self.catalogue = catalogue
        self._hub = hub or Hub()
        self._patience = patience or Patience()
        self._free_bytes = free_bytes
        self._root = catalogue.folder
        self._ledger = catalogue.ledger

    async def install(
        self,
        name: str,
        report: Callable[[Progress], None] = lambda progress: None,
        *,
        upgrade: bool = False,
    ) -> Manifest | None:
        """Fetch a model, unless it is here; ``upgrade``: look at every file again, and for newer ones at the hub.

        ``report`` is called on the event loop, from 0 to 100 percent. ``None``: somebody has put it here by hand.
        Cancelled: what has come is kept for the next time, nothing of it is used.

        :raises NotFound, BadRequest: there is no such model, or nothing to fetch for it.
        :raises Conflict: somebody else installs or removes it.
        :raises Unavailable: no room, or a folder that cannot be written.
        :raises BindingFailed: a server refuses it, or sends something else. ``retryable``: it was the network.
        """
        download = self.catalogue.find(name)
        meter = Meter(report)
        meter.say(Phase.PREPARING, "looking at what is here")
        await asyncio.to_thread(self._make_folders)
        with self._ledger.busy(download.name):
            manifest = self._ledger.read(download.name)
            if upgrade or self.catalogue.presence(download) is not Presence.INSTALLED:
                manifest = await self._install(download, manifest, meter)
        meter.done(_described(manifest) if manifest is not None else "it was put here by hand")
        return manifest

    async def _install(self, download: Download, before: Manifest | None, meter: Meter) -> Manifest:
        parts = self._ledger.parts(download.name)
        here = partial(self._is_here, {file.path: file for file in before.files} if before else {})
        fetch = Fetch(
            download, self._hub, parts, meter, patience=self._patience, here=here, check_room=self._check_room
        )
        try:
            fetched = await fetch.run()
            return await in_thread(self._commit, download, fetched.files, fetched.parts, before)
        except OSError as error:
            raise disk_failed(error, self._root) from error

    def _make_folders(self) -> None:
        make_folder(self._ledger.folder)
        inside(self._root, f"{self._ledger.folder.name}/x")

    def _check_room(self, needed: int) -> None:
        """:raises Unavailable: less is free than this many bytes and some to spare."""
        free = self._free_bytes(self._root)
        if needed and free < needed + SPARE_BYTES:
            raise Unavailable(
                f"this takes {size_text(needed)} in {self._root}, and {size_text(free)} are free "
                f"({size_text(SPARE_BYTES)} of them stay so); make room, or choose another home with --home or "
                "GREENROOM_HOME",
                kind="no_room",
            )

    def _is_here(self, installed: Mapping[str, InstalledFile], file: RemoteFile) -> tuple[Path, Checksum | None] | None:
        """A file that may be this one, and what it must be compared with; ``None``: there is none.

        :raises BadRequest: a link leads out of the folder.
        """
        target = inside(self._root, file.path)
        if not target.is_file():
            return None
        size, known = target.stat().st_size, installed.get(file.path)
        if file.size is None and file.checksum is None:
            return (target, None) if known is not None and known.size == size else None
        return (target, file.checksum) if file.size in (None, size) else None

    def _commit(
        self, download: Download, files: Sequence[RemoteFile], parts: Mapping[str, Path], before: Manifest | None
    ) -> Manifest:
        """Move what was fetched to its place. What says so is written before, and again when it is done: what a
        process that dies on the way leaves behind is known as ours, and not taken for a whole model."""
        others = self._ledger.claimed_by_others(download.name)
        ours = {file.path for file in before.files if file.ours} if before else set()
        installed = tuple(
            InstalledFile(
                path=file.path,
                size=(parts.get(file.path) or inside(self._root, file.path)).stat().st_size,
                checksum=str(file.checksum or ""),
                ours=file.path in parts or file.path in ours or file.path in others,
            )
            for file in files
        )
        manifest = Manifest(
            binding=self.catalogue.binding_id,
            name=download.name,
            source=download.source,
            digest=download.digest,
            complete=False,
            installed_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            greenroom=greenroom.__version__,
            files=installed,
        )
        gone = ours - {file.path for file in installed} - others
        kept = tuple(file for file in before.files if file.path in gone) if before else ()
        self._ledger.write(manifest.model_copy(update={"files": installed + kept}))
        for path, part in parts.items():
            target = inside(self._root, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(part, target)
        self._remove_files(gone)
        manifest = manifest.model_copy(update={"complete": True})
        self._ledger.write(manifest)
        shutil.rmtree(self._ledger.parts(download.name), ignore_errors=True)
        return manifest

    # removing

    def knows(self, name: str) -> bool:
        """Whether something was installed under this very name, even if it is listed no longer."""
        return self._ledger.read(name) is not None

    async def uninstall(self, name: str) -> bool:
        """Remove what was installed of a model, finished or not; whether there was anything. What somebody else put
        there stays, and so does what another model needs too.

        :raises NotFound, BadRequest: there is no such model.
        :raises Conflict: somebody else installs or removes it.
        :raises Unavailable: a file cannot be removed.
        """
        known = self._ledger.read(name)
        name = known.name if known is not None else self.catalogue.find(name).name
        if not self._ledger.folder.is_dir():
            return False
        with self._ledger.busy(name):
            return await in_thread(self._uninstall, name)

    def _uninstall(self, name: str) -> bool:
        manifest, half = self._ledger.read(name), self._ledger.has_parts(name)
        try:
            if half:
                shutil.rmtree(self._ledger.parts(name))
            if manifest is not None:
                self._ledger.write(manifest.model_copy(update={"complete": False}))
                ours = {file.path for file in manifest.files if file.ours}
                self._remove_files(ours - self._ledger.claimed_by_others(name))
                self._ledger.remove(name)
        except OSError as error:
            what = error.filename or name
            raise Unavailable(
                f"{what} cannot be removed: {error.strerror or error}; stop what uses it and try again"
            ) from error
        return half or manifest is not None

    def _remove_files(self, paths: set[str]) -> None:
        for path in sorted(paths):
            target = inside(self._root, path)
            target.unlink(missing_ok=True)
            for folder in target.parents:
                if folder == self._root or not _remove_empty(folder):
                    break

    # looking

    async def check(self, name: str) -> list[str]:
        """What is wrong with an installed model, a sentence each; reads all of it.

        :raises NotFound, BadRequest: there is no such model.
        """
        download = self.catalogue.find(name)
        mend = f"greenroom install model {self.catalogue.binding_id} {download.name}"
        presence = self.catalogue.presence(download)
        if presence is Presence.PARTIAL:
            return [f"a part of it is here; fetch the rest with: {mend}"]
        manifest = self._ledger.read(download.name)
        if presence is Presence.MISSING and (manifest is None or not manifest.complete):
            return [f"it is not installed; install it with: {mend}"]
        wrong: list[str] = []
        for file in manifest.files if manifest is not None else _as_installed(download):
            problem = await self._problem_of(file)
            if problem:
                wrong.append(f"{file.path} {problem}; mend with: {mend} --upgrade")
        return wrong

    async def _problem_of(self, file: InstalledFile) -> str:
        target = self._root / file.path
        try:
            size = target.stat().st_size
            if file.size and size != file.size:
                return f"has {size} bytes, and should have {file.size}"
            kind, _, value = file.checksum.partition(":")
            if value and not await checksums.fits(target, Checksum(kind, value)):
                return f"is damaged: its {kind} checksum is another"
        except FileNotFoundError:
            return "is gone"
        except OSError as error:
            return f"cannot be read: {error.strerror or error}"
        return ""


def _as_installed(download: Download) -> list[InstalledFile]:
    """Of a model that was put there by hand: what its entry says of its files."""
    return [
        InstalledFile(path=file.path, size=file.size or 0, checksum=str(file.checksum or "")) for file in download.files
    ]


def _remove_empty(folder: Path) -> bool:
    try:
        folder.rmdir()
    except OSError:
        return False
    return True


def _described(manifest: Manifest) -> str:
    count = len(manifest.files)
    return f"{'1 file' if count == 1 else f'{count} files'}, {size_text(manifest.size_bytes)}"
