"""What is installed, and what only half: small files in ``models/<binding>/.downloads/``.

.downloads/<key>.json      what one download put where; ``complete`` once all of it is there
           <key>.lock      held by the process that installs or removes it
           <key>/          its unfinished parts
"""

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from greenroom.bindings.downloads.paths import OWN_FOLDER, checked_path
from greenroom.errors import Conflict, Unavailable
from greenroom.store.lock import FileLock, FileLocked

_KEY_CHARS = 60


class InstalledFile(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    path: str
    size: int
    checksum: str = ""
    """``kind:value`` that it was compared with; empty: none was known"""
    ours: bool = True
    """we put it there; false: it was there before"""


class Manifest(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    binding: str
    name: str
    source: str
    digest: str
    """of what was asked for"""
    complete: bool
    installed_at: str
    """UTC, ISO 8601"""
    greenroom: str
    files: tuple[InstalledFile, ...]

    @property
    def size_bytes(self) -> int:
        return sum(file.size for file in self.files)


class Ledger:
    """:param root: ``models/<binding>``"""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / OWN_FOLDER

    def key(self, name: str) -> str:
        plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name)[-_KEY_CHARS:].strip(".-")
        return f"{plain}-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:10]}"

    def parts(self, name: str) -> Path:
        return self.folder / self.key(name)

    def has_parts(self, name: str) -> bool:
        return self.parts(name).is_dir()

    def read(self, name: str) -> Manifest | None:
        """``None``: there is none, or it cannot be read."""
        return _read(self.folder / f"{self.key(name)}.json")

    def write(self, manifest: Manifest) -> None:
        """In one step. :raises OSError:"""
        file = self.folder / f"{self.key(manifest.name)}.json"
        unfinished = file.with_name(f"{file.name}.tmp")
        with unfinished.open("w", encoding="utf-8", newline="\n") as opened:
            opened.write(manifest.model_dump_json(indent=2))
            opened.flush()
            os.fsync(opened.fileno())
        unfinished.replace(file)

    def remove(self, name: str) -> None:
        (self.folder / f"{self.key(name)}.json").unlink(missing_ok=True)

    def claimed_by_others(self, name: str) -> set[str]:
        """Files that belong to other downloads too."""
        own = self.key(name)
        found = [_read(file) for file in self.folder.glob("*.json") if file.stem != own]
        return {file.path for manifest in found if manifest is not None for file in manifest.files}

    @contextmanager
    def busy(self, name: str) -> Iterator[None]:
        """Nobody else installs or removes it. The folder must be there.

        :raises Conflict: somebody does.
        :raises Unavailable: nothing can be written there.
        """
        lock = FileLock(self.folder / f"{self.key(name)}.lock")
        try:
            lock.acquire()
        except FileLocked as locked:
            who = f" by process {locked.holder}" if locked.holder else ""
            raise Conflict(
                f"the model {name} is being installed or removed{who}; wait until that is done", kind="model_busy"
            ) from None
        except OSError as error:
            raise Unavailable(f"{self.folder} cannot be written: {error.strerror or error}") from error
        try:
            yield
        finally:
            lock.release()


def _read(file: Path) -> Manifest | None:
    try:
        manifest = Manifest.model_validate_json(file.read_bytes())
        for one in manifest.files:
            checked_path(one.path)
    except (OSError, ValidationError, ValueError):
        return None
    return manifest
