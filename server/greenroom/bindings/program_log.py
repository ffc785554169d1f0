"""What a program prints: into a file that does not grow for ever, and its last words at hand for error messages."""

import logging
import os
import threading
from pathlib import Path
from typing import BinaryIO

logger = logging.getLogger(__name__)

TAIL_BYTES = 8192
READ_BYTES = 65536


class ProgramLog:
    """``path``: ``None`` keeps the tail alone. A full file becomes ``<path>.1`` and so on, ``kept`` of them."""

    def __init__(self, path: Path | None, max_bytes: int = 5_000_000, kept: int = 2) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._kept = kept
        self._tail = b""
        self._writing = threading.Lock()

    def drain(self, fd: int) -> threading.Thread:
        """Read ``fd`` to its end in a thread of its own, and close it: a program must never wait for us to read."""
        thread = threading.Thread(target=self._drain, args=(fd,), name="greenroom-program-log", daemon=True)
        thread.start()
        return thread

    def last_words(self, lines: int = 20) -> str:
        return "\n".join(self._tail.decode(errors="replace").strip().splitlines()[-lines:])

    def _drain(self, fd: int) -> None:
        file: BinaryIO | None = None
        try:
            file = self._open()
            while read := os.read(fd, READ_BYTES):
                self._tail = (self._tail + read)[-TAIL_BYTES:]
                file = self._write(file, read)
        finally:
            os.close(fd)
            if file is not None:
                file.close()

    def _open(self) -> BinaryIO | None:
        if self._path is None:
            return None
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            return self._path.open("ab", buffering=0)
        except OSError as error:
            logger.warning("a program's log cannot be written: %s", error)
            return None

    def _write(self, file: BinaryIO | None, read: bytes) -> BinaryIO | None:
        if file is None:
            return None
        try:
            with self._writing:
                if file.tell() and file.tell() + len(read) > self._max_bytes:
                    file.close()
                    self._rotate()
                    reopened = self._open()
                    if reopened is None:
                        return None
                    file = reopened
                file.write(read)
        except OSError as error:  # the disk is full: the program goes on, its log does not
            logger.warning("a program's log cannot be written: %s", error)
            file.close()
            return None
        return file

    def _rotate(self) -> None:
        if self._path is None:
            return
        names = [self._path, *(self._path.with_name(f"{self._path.name}.{n}") for n in range(1, self._kept + 1))]
        if len(names) == 1:
            self._path.unlink(missing_ok=True)
        for older, newer in zip(reversed(names), reversed(names[:-1]), strict=False):
            if newer.exists():
                newer.replace(older)
