"""An advisory lock on a file, held by one process at a time; the system releases it however the process ends."""

import contextlib
import os
import sys
from pathlib import Path

_LOCKED_BYTE = 1 << 20
"""Windows refuses reading what another process has locked: lock far behind the process id, which others read."""

if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int) -> None:
        os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _try_lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


class FileLocked(Exception):
    """Somebody else holds the lock; ``holder`` is its process id, as far as it can be read."""

    def __init__(self, holder: str) -> None:
        super().__init__(holder)
        self.holder = holder


class FileLock:
    """The file itself stays where it is after release: deleting it would let two processes lock two files."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """:raises FileLocked: if it is held. :raises OSError: if the file cannot be made."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                _try_lock(descriptor)
            except (BlockingIOError, PermissionError):
                raise FileLocked(_read_holder(descriptor)) from None
            with contextlib.suppress(OSError):  # a full disk: the lock holds all the same, only its holder is unnamed
                os.ftruncate(descriptor, 0)
                os.lseek(descriptor, 0, os.SEEK_SET)
                os.write(descriptor, str(os.getpid()).encode("ascii"))
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _read_holder(descriptor: int) -> str:
    with contextlib.suppress(OSError):
        os.lseek(descriptor, 0, os.SEEK_SET)
        text = os.read(descriptor, 20).decode("ascii", "replace").strip()
        if text.isdigit():
            return text
    return ""
