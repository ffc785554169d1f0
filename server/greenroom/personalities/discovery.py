"""Which folders under a root hold a personality: a walk that lists directories and reads no file.

<root>/<language>/<category>/[<more>/]<folder>/config.yaml      until 2023-08, and ours
<root>/<category>/[<more>/]<folder>/config.yaml                 since then: the language level is added
<root>/<category>/[<more>/]<folder>/SOUL.md                     since 2026-04; in either layout
"""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from greenroom.personalities.folder import DESCRIPTION_FILES, PROCESSOR_FILE
from greenroom.personalities.languages import known_language

SKIPPED = ("_", ".")


class Stamp(NamedTuple):
    """Changes with the description, the pictures and the script of a folder."""

    file: str
    """``config.yaml`` or ``SOUL.md``"""
    modified_ns: int
    size: int
    inode: int
    assets_ns: int
    script_ns: int


@dataclass(frozen=True, slots=True)
class Spot:
    """A folder with a ``config.yaml`` or a ``SOUL.md``. ``language`` is empty where the layout has no such level."""

    path: str
    language: str
    category: str
    name: str
    stamp: Stamp


@dataclass(slots=True)
class Walk:
    spots: list[Spot] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)
    """by path under the root, a sentence each"""


def walk_root(root: Path, allowed: tuple[str, ...]) -> Walk:
    """``allowed``: real paths of all roots; a link that leads elsewhere is refused."""
    walk = Walk()
    for top in _folders(str(root), allowed, walk, str(root)):
        children = list(_folders(top, allowed, walk, str(root)))
        stamps = {child: stamp_of(child) for child in children}
        two_levels = not known_language(os.path.basename(top)) and any(stamps.values())
        for child in children:
            stamp = stamps[child]
            name, top_name = os.path.basename(child), os.path.basename(top)
            if stamp is not None:
                if two_levels:
                    walk.spots.append(Spot(child, "", top_name, name, stamp))
                else:
                    walk.spots.append(Spot(child, top_name, "general", name, stamp))
            elif two_levels:
                _collect(child, "", top_name, 0, allowed, walk, str(root))
            else:
                _collect(child, top_name, name, 1, allowed, walk, str(root))
    return walk


def _collect(
    folder: str, language: str, category: str, more_levels: int, allowed: tuple[str, ...], walk: Walk, root: str
) -> None:
    for child in _folders(folder, allowed, walk, root):
        stamp = stamp_of(child)
        if stamp is not None:
            walk.spots.append(Spot(child, language, category, os.path.basename(child), stamp))
        elif more_levels:
            _collect(child, language, category, more_levels - 1, allowed, walk, root)


def _folders(folder: str, allowed: tuple[str, ...], walk: Walk, root: str) -> Iterator[str]:
    try:
        with os.scandir(folder) as entries:
            found = sorted((entry for entry in entries if not entry.name.startswith(SKIPPED)), key=lambda e: e.name)
            for entry in found:
                if not entry.is_dir():
                    continue
                if entry.is_symlink() and not is_inside(os.path.realpath(entry.path), allowed):
                    name = os.path.relpath(entry.path, root).replace(os.sep, "/")
                    walk.problems[name] = f"{entry.path} is a link that leads out of the personality folders"
                    continue
                yield entry.path
    except FileNotFoundError:
        return
    except OSError as error:
        name = os.path.relpath(folder, root).replace(os.sep, "/")
        walk.problems[name] = f"{folder} cannot be read: {error.strerror or error}"


def is_inside(path: str, allowed: tuple[str, ...]) -> bool:
    return any(path == root or path.startswith(root.rstrip(os.sep) + os.sep) for root in allowed)


def stamp_of(folder: str) -> Stamp | None:
    """``None`` where nothing describes a personality."""
    for file in DESCRIPTION_FILES:
        try:
            found = os.stat(os.path.join(folder, file))
        except OSError:
            continue
        if stat.S_ISREG(found.st_mode):
            assets = _changed(os.path.join(folder, "assets"))
            script = _changed(os.path.join(folder, "scripts", PROCESSOR_FILE))
            return Stamp(file, found.st_mtime_ns, found.st_size, found.st_ino, assets, script)
    return None


def _changed(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0
