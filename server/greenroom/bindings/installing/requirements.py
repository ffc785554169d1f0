"""What a binding's own environment must hold: ``requirements.txt`` in its folder, ``requirements:`` in its card."""

import hashlib
import re
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from greenroom.bindings.discovery import FoundBinding
from greenroom.bindings.installing.carried import CARRIED, canonical
from greenroom.errors import BadRequest

REQUIREMENTS_FILE = "requirements.txt"
FORMAT = 1
"""of an environment; another one means that old environments must be built anew"""
_NAME = re.compile(r"[^A-Za-z0-9._-]")
"""ends a package's name in a requirement"""
_COMMENT = re.compile(r"(^|\s+)#.*$")
_REFERENCE = re.compile(r"^(?:-r|-c|--requirement|--constraint)[\s=]*(?P<file>.+)$")


@dataclass(frozen=True, slots=True)
class Requirements:
    """``digest`` changes with what is asked for, with the Python version and with the platform."""

    file: Path | None
    lines: tuple[str, ...]
    """from the card"""
    digest: str
    hashed: bool
    """pip then wants a hash of every package that it is given along with these"""
    alone: tuple[str, ...] = ()
    """from the card: packages whose own requirements are not to be had, or clash"""

    def concerns(self, line: str) -> bool:
        """Whether what an installer says of missing packages is about one that stands alone."""
        words = {canonical(word.strip("`,.:")) for word in line.split()}
        return any(canonical(_NAME.split(wanted, 1)[0]) in words for wanted in self.alone)


def read_requirements(found: FoundBinding) -> Requirements | None:
    """``None``: the binding needs no environment of its own. :raises BadRequest: a file that cannot be read."""
    file = found.folder / REQUIREMENTS_FILE
    written = list(_lines_of(file, set())) if file.is_file() else []
    lines = tuple(line.strip() for line in found.card.requirements if line.strip())
    alone = tuple(line.strip() for line in found.card.requirements_no_deps if line.strip())
    if not written and not lines and not alone:
        return None
    digest = hashlib.sha256()
    for part in (str(FORMAT), str(sys.implementation.cache_tag), sysconfig.get_platform(), *CARRIED, *written, *lines):
        digest.update(part.encode() + b"\0")
    for part in alone:
        digest.update(b"alone " + part.encode() + b"\0")
    hashed = any("--hash=" in line for line in (*written, *lines, *alone))
    return Requirements(file if written else None, lines, digest.hexdigest()[:12], hashed, alone)


def _lines_of(file: Path, seen: set[Path]) -> Iterator[str]:
    """What counts of a file and of those that it names: comments and empty lines do not."""
    seen.add(file.resolve())
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadRequest(f"{file}: wanted text in UTF-8: {error}") from error
    except OSError as error:
        raise BadRequest(f"{file} cannot be read: {error.strerror or error}") from error
    for raw in text.splitlines():
        line = _COMMENT.sub("", raw).strip()
        if not line:
            continue
        yield line
        if reference := _REFERENCE.match(line):
            other = file.parent / reference["file"].strip()
            if "://" not in reference["file"] and other.is_file() and other.resolve() not in seen:
                yield from _lines_of(other, seen)
