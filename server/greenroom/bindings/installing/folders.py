"""The folders of the environments: which are finished, which are left over, which are in use.

<environments>/<binding>-<digest>[-<n>]/  environment.json  users/<mark>  tmp/
               <binding>.lock  <binding>.log  wheels/  .removed-<random>/
"""

import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from greenroom.bindings.installing.manifest import MANIFEST_FILE, Manifest, read_manifest
from greenroom.errors import Conflict, Unavailable
from greenroom.store.lock import FileLock, FileLocked

_USERS = "users"
_REMOVED = ".removed-"


@dataclass(frozen=True, slots=True, order=True)
class Folder:
    generation: int
    """counts the builds for the same requirements, from 1"""
    path: Path
    digest: str

    @property
    def manifest_file(self) -> Path:
        return self.path / MANIFEST_FILE

    @property
    def aside(self) -> Path:
        """Where the manifest waits while we look for users."""
        return self.path / f"{MANIFEST_FILE}.aside"


class Folders:
    def __init__(self, root: Path) -> None:
        self.root = root

    def log(self, binding_id: str) -> Path:
        return self.root / f"{binding_id}.log"

    def of(self, binding_id: str) -> list[Folder]:
        """Every environment of a binding, finished or not, the newest last."""
        shape = re.compile(rf"{re.escape(binding_id)}-([0-9a-f]{{12}})(?:-(\d+))?")
        if not self.root.is_dir():
            return []
        found = [(shape.fullmatch(path.name), path) for path in self.root.iterdir()]
        return sorted(Folder(int(match[2] or 1), path, match[1]) for match, path in found if match and path.is_dir())

    def complete(self, binding_id: str, digest: str | None = None) -> tuple[Path, Manifest] | None:
        """The newest finished one, for these requirements or for any."""
        for folder in reversed(self.of(binding_id)):
            if digest in (None, folder.digest):
                manifest = read_manifest(folder.path)
                if manifest is not None and (manifest.binding, manifest.digest) == (binding_id, folder.digest):
                    return folder.path, manifest
        return None

    def next(self, binding_id: str, digest: str) -> Path:
        """Where the next build goes; no folder of that name is there."""
        latest = max((each.generation for each in self.of(binding_id) if each.digest == digest), default=0)
        return self.root / f"{binding_id}-{digest}{f'-{latest + 1}' if latest else ''}"

    @contextmanager
    def busy(self, binding_id: str) -> Iterator[None]:
        """Nobody else builds or removes an environment of this binding. The root must be there.

        :raises Conflict: somebody does.
        :raises Unavailable: nothing can be written there.
        """
        lock = FileLock(self.root / f"{binding_id}.lock")
        try:
            lock.acquire()
        except FileLocked as locked:
            who = f" by process {locked.holder}" if locked.holder else ""
            raise Conflict(
                f"the environment of {binding_id} is being installed or removed{who}; wait until that is done",
                kind="environment_busy",
            ) from None
        except OSError as error:
            raise Unavailable(f"{self.root} cannot be written: {error.strerror or error}") from error
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def used(self, path: Path) -> Iterator[bool]:
        """While it is held nobody removes the environment; whether it is still there."""
        users = path / _USERS
        users.mkdir(exist_ok=True)
        mark = users / f"{os.getpid()}-{secrets.token_hex(4)}"
        lock = FileLock(mark)
        lock.acquire()
        try:
            # Who removes an environment takes its manifest away first and looks for users then.
            yield (path / MANIFEST_FILE).is_file()
        finally:
            lock.release()
            mark.unlink(missing_ok=True)

    # under busy()

    def sweep(self, binding_id: str) -> None:
        """Remove what earlier attempts left behind."""
        for folder in self.of(binding_id):
            if not folder.manifest_file.is_file():
                self.remove(folder.path)
        for path in self.root.glob(f"{_REMOVED}*"):
            shutil.rmtree(path, ignore_errors=True)

    def retire_others(self, binding_id: str, kept: Path) -> None:
        """Remove older environments. One in use stays: the next installation sees to it."""
        for folder in self.of(binding_id):
            if folder.path != kept and not _user_of(folder):
                try:
                    self.remove(folder.path)
                except OSError:
                    continue

    def remove_all(self, binding_id: str) -> bool:
        """Whether there were any. :raises Conflict: one is in use; then all stay. :raises Unavailable: no right to."""
        found = self.of(binding_id)
        try:
            for at, folder in enumerate(found):
                if user := _user_of(folder):
                    for earlier in found[:at]:
                        _put_back(earlier)
                    raise Conflict(
                        f"the environment of {binding_id} is in use by process {user}; stop what uses it and try again",
                        kind="environment_in_use",
                    )
            for folder in found:
                self.remove(folder.path)
        except OSError as error:
            raise Unavailable(f"{error.filename} cannot be removed: {error.strerror or error}") from error
        self.log(binding_id).unlink(missing_ok=True)
        return bool(found)

    def remove(self, path: Path) -> None:
        """:raises OSError: if it cannot be moved."""
        if (doomed := self.hide(path)) is not None:
            shutil.rmtree(doomed, ignore_errors=True)

    def hide(self, path: Path) -> Path | None:
        """Out of sight at once; where it is now waits to be deleted. :raises OSError: if it cannot be moved."""
        if not path.exists():
            return None
        return path.replace(self.root / f"{_REMOVED}{secrets.token_hex(6)}")


def _user_of(folder: Folder) -> str:
    """From now on nobody begins to use it; but if a process uses it already, its id, and all is as it was."""
    if folder.manifest_file.is_file():
        folder.manifest_file.replace(folder.aside)
    for mark in (folder.path / _USERS).glob("*"):
        lock = FileLock(mark)
        try:
            lock.acquire()
        except FileLocked as locked:
            _put_back(folder)
            return locked.holder or mark.name.partition("-")[0]
        except OSError:  # its user has just left
            continue
        lock.release()
    return ""


def _put_back(folder: Folder) -> None:
    if folder.aside.is_file():
        folder.aside.replace(folder.manifest_file)
