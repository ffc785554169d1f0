"""Names that others chose, kept below ``models/<binding>/`` on every system."""

import re
import unicodedata
from pathlib import Path
from typing import Final

from greenroom.errors import BadRequest

OWN_FOLDER: Final = ".downloads"
"""holds what is half fetched, and what says what was installed"""
_MAX_CHARS: Final = 1024
_MAX_PART_BYTES: Final = 240
_FORBIDDEN = re.compile(r'[<>:"|?*\\\x00-\x1f\x7f]')
_DEVICE = re.compile(r"(?:con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³]) *(?:\..*)?", re.IGNORECASE)


def checked_path(text: str) -> str:
    """A relative path with ``/`` that means the same file on Linux, macOS and Windows. :raises ValueError: why not."""
    if not text or len(text) > _MAX_CHARS:
        raise ValueError(f"wanted a path of 1 to {_MAX_CHARS} characters")
    for part in text.split("/"):
        if part in ("", ".", ".."):
            raise ValueError(f"{text!r}: wanted a relative path without empty parts, . and ..")
        if _FORBIDDEN.search(part) or part.endswith((".", " ")) or _DEVICE.fullmatch(part):
            raise ValueError(f"{text!r}: {part!r} is no file name on every system")
        if len(part.encode("utf-8", "surrogatepass")) > _MAX_PART_BYTES:
            raise ValueError(f"{text!r}: a part is longer than {_MAX_PART_BYTES} bytes")
    if folded(text.partition("/")[0]) == OWN_FOLDER:
        raise ValueError(f"{text!r}: {OWN_FOLDER} is Greenroom's own")
    return text


def folded(path: str) -> str:
    """Equal for paths that some file system takes for one."""
    return unicodedata.normalize("NFC", path).casefold()


def inside(root: Path, path: str) -> Path:
    """Where a checked path lies below ``root``. :raises BadRequest: a link on the way leads out of it."""
    target = root / path
    if not target.parent.resolve().is_relative_to(root.resolve()):
        raise BadRequest(f"{target.parent} leads out of {root}, through a link; remove the link and try again")
    return target
