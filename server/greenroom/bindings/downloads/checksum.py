"""Checksums as those who offer files name them.

sha256   of the bytes
md5      of the bytes; what lollms' oldest lists have
git      SHA-1 of the bytes behind ``blob <size>\\0``: what a hub knows of its small files
"""

import asyncio
import hashlib
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

_PIECE_BYTES: Final = 1 << 20
LENGTHS: Final = {"sha256": 64, "md5": 32, "git": 40}
"""hexadecimal digits"""


class Hasher(Protocol):
    def update(self, data: bytes | memoryview, /) -> None: ...

    def hexdigest(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Checksum:
    kind: str
    value: str
    """hexadecimal, lower case"""

    def __str__(self) -> str:
        return f"{self.kind}:{self.value}"

    @classmethod
    def parse(cls, kind: str, value: str) -> "Checksum":
        """:raises ValueError: it is none of this kind."""
        value = value.strip().lower()
        if len(value) != LENGTHS[kind] or set(value) - set("0123456789abcdef"):
            raise ValueError(f"wanted a {kind} checksum of {LENGTHS[kind]} hexadecimal digits")
        return cls(kind, value)


def begin(checksum: Checksum | None, size: int | None) -> Hasher | None:
    """What the bytes go through, from the first on; ``None`` if there is nothing to compare with."""
    if checksum is None:
        return None
    if checksum.kind == "git":
        if size is None:
            return None
        hasher = hashlib.sha1(usedforsecurity=False)
        hasher.update(b"blob %d\0" % size)
        return hasher
    return hashlib.md5(usedforsecurity=False) if checksum.kind == "md5" else hashlib.sha256()


async def feed_in_thread(hasher: Hasher | None, file: Path, count: int) -> None:
    """The first ``count`` bytes of a file. Cancelled, the reading ends with the next piece.

    :raises OSError: as reading does, also if there are fewer.
    """
    if hasher is None:
        return
    stopped = threading.Event()
    try:
        await asyncio.to_thread(_feed, hasher, file, count, stopped)
    finally:
        stopped.set()


def _feed(hasher: Hasher, file: Path, count: int, stopped: threading.Event) -> None:
    with file.open("rb") as source:
        while count and not stopped.is_set():
            piece = source.read(min(count, _PIECE_BYTES))
            if not piece:
                raise OSError(f"{file} is shorter than it was")
            hasher.update(piece)
            count -= len(piece)


async def fits(file: Path, checksum: Checksum) -> bool:
    """Whether the file has this checksum. :raises OSError: it cannot be read."""
    size = (await asyncio.to_thread(file.stat)).st_size
    hasher = begin(checksum, size)
    await feed_in_thread(hasher, file, size)
    return hasher is None or hasher.hexdigest() == checksum.value
