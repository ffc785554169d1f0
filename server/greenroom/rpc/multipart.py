"""``multipart/form-data`` as it streams by: nothing but the part that is open is held.

parser = MultipartParser(boundary, open_part)     open_part(name) -> what takes the part's bytes, None to skip it
parser.feed(data) ...  parser.finish()
"""

import re
from collections.abc import Callable
from enum import Enum, auto
from typing import Final

from greenroom.rpc.failures import CallRefused, UploadCut

HEAD_BYTES: Final = 16 * 1024
PARTS: Final = 256

Take = Callable[[bytes], object]

_NAME: Final = re.compile(rb'^content-disposition:.*?;\s*name=(?:"((?:[^"\\]|\\.)*)"|([^\s;]+))', re.I | re.M)
_BOUNDARY: Final = re.compile(r'(?:^|;)\s*boundary=(?:"([^"]{1,200})"|([^\s;"]{1,200}))', re.I)


def boundary_of(content_type: str) -> str:
    """:raises CallRefused: (400) if the header gives none."""
    found = _BOUNDARY.search(content_type)
    if found is None:
        raise CallRefused(400, "the body must be multipart/form-data with a boundary in the Content-Type")
    return found[1] or found[2]


class _At(Enum):
    START = auto()
    DELIMITER = auto()
    HEAD = auto()
    BODY = auto()
    END = auto()


class MultipartParser:
    def __init__(self, boundary: str, open_part: Callable[[str], Take | None]) -> None:
        self._delimiter = b"\r\n--" + boundary.encode("latin-1", "replace")
        self._open_part = open_part
        # As if a line had ended before the first byte: then every delimiter looks the same.
        self._buffer = bytearray(b"\r\n")
        self._at = _At.START
        self._take: Take | None = None
        self._parts = 0

    def feed(self, data: bytes) -> None:
        """:raises CallRefused: (400) for what is no multipart body."""
        self._buffer += data
        while self._step():
            pass

    def finish(self) -> None:
        """:raises UploadCut: if the closing boundary has not come."""
        if self._at is not _At.END:
            raise UploadCut("the multipart body ends before its closing boundary")

    def _step(self) -> bool:
        """Whether there may be more to do with what is here."""
        match self._at:
            case _At.START | _At.BODY:
                return self._skim()
            case _At.DELIMITER:
                return self._after_delimiter()
            case _At.HEAD:
                return self._head()
            case _At.END:
                self._buffer.clear()
                return False

    def _skim(self) -> bool:
        """Hands on what cannot be part of a delimiter."""
        at = self._buffer.find(self._delimiter)
        end = at if at >= 0 else max(0, len(self._buffer) - len(self._delimiter) + 1)
        if end:
            if self._take is not None:
                self._take(bytes(memoryview(self._buffer)[:end]))
            del self._buffer[:end]
        if at < 0:
            return False
        del self._buffer[: len(self._delimiter)]
        self._take = None
        self._at = _At.DELIMITER
        return True

    def _after_delimiter(self) -> bool:
        if self._buffer.startswith(b"--"):
            self._at = _At.END
            return True
        end = self._buffer.find(b"\r\n")
        if end > HEAD_BYTES or (end < 0 and len(self._buffer) > HEAD_BYTES):
            raise CallRefused(400, "a boundary of the multipart body is not followed by a line end")
        if end < 0:
            return False
        if self._buffer[:end].strip(b" \t"):
            raise CallRefused(400, "a boundary of the multipart body is followed by something else")
        # The line end stays: with it, a head without any header ends like every other one.
        del self._buffer[:end]
        self._at = _At.HEAD
        return True

    def _head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end > HEAD_BYTES or (end < 0 and len(self._buffer) > HEAD_BYTES):
            raise CallRefused(400, "the headers of a part are too long")
        if end < 0:
            return False
        self._parts += 1
        if self._parts > PARTS:
            raise CallRefused(400, f"more than {PARTS} parts")
        head = bytes(self._buffer[:end]).strip()
        del self._buffer[: end + 2]  # the second line end may already belong to the next delimiter
        found = _NAME.search(head)
        if found is None:
            raise CallRefused(400, "a part of the multipart body has no name")
        name = re.sub(rb"\\(.)", rb"\1", found[1]) if found[1] is not None else found[2]
        self._take = _without_first_line_end(self._open_part(name.decode("utf-8", "replace")))
        self._at = _At.BODY
        return True


def _without_first_line_end(take: Take | None) -> Take | None:
    """An empty part's delimiter shares the line end that closes the head, so that one is taken off here."""
    if take is None:
        return None
    to_skip = 2

    def passed(data: bytes) -> None:
        nonlocal to_skip
        skipped = min(to_skip, len(data))
        to_skip -= skipped
        if len(data) > skipped:
            take(data[skipped:] if skipped else data)

    return passed
