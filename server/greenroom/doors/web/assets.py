"""Pictures and sounds that clients may fetch, each looked up by name in a folder that was discovered.

No name from a request is ever joined to a path: the folder's own entries are compared with it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol

MEDIA_TYPES: Final[Mapping[str, str]] = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".bmp": "image/bmp",
    ".svg": "image/svg+xml",
    ".wav": "audio/wav",
    ".mp3": "audio/mpeg",
    ".ogg": "audio/ogg",
    ".flac": "audio/flac",
}
LOGO_NAMES: Final = tuple(f"logo.{kind}" for kind in ("gif", "webp", "png", "jpg", "jpeg", "bmp"))
"""in the order in which lollms looks for them"""
DEFAULT_LOGO: Final = Path(__file__).with_name("default_model.png")


class Assets(Protocol):
    """Where the folders are. Both answer ``None`` for what was not discovered."""

    def personality_folder(self, language: str, category: str, name: str) -> Path | None: ...

    def binding_folder(self, binding_id: str) -> Path | None: ...


def find_file(folder: Path, name: str) -> Path | None:
    """The file of that name directly in ``folder``; ``None`` if there is none, or it leads out of it by a link."""
    if Path(name).suffix.lower() not in MEDIA_TYPES:
        return None
    try:
        for entry in folder.iterdir():
            if entry.name == name:
                found = entry.resolve()
                return found if found.is_file() and found.is_relative_to(folder.resolve()) else None
    except OSError:
        return None
    return None


def media_type(path: Path) -> str:
    return MEDIA_TYPES.get(path.suffix.lower(), "application/octet-stream")
