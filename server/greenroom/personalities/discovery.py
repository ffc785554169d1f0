"""Which folders under a root hold a personality: a walk that lists directories and reads no file.

<root>/<language>/<category>/[<more>/]<folder>/config.yaml      until 2023-08, and ours
<root>/<category>/[<more>/]<folder>/config.yaml                 since then: the language level is added
"""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from greenroom.personalities.folder import CONFIG_FILE, PROCESSOR_FILE
from greenroom.personalities.languages import known_language

SKIPPED = ("_", ".")
Stamp = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Spot:
    """A folder with a ``config.yaml``. ``language`` is empty where the layout has no such level."""

    path: str
    language: str
    category: str
    name: str
    stamp: Stamp
    """changes with the configuration, the pictures and the script"""


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
    """``None`` where there is no ``config.yaml``."""
    try:
        config = os.stat(os.path.join(folder, CONFIG_FILE))
    except OSError:
        return None
    if not stat.S_ISREG(config.st_mode):
        return None
    return (
        config.st_mtime_ns,
        config.st_size,
        config.st_ino,
        _changed(os.path.join(folder, "assets")),
        _changed(os.path.join(folder, "scripts", PROCESSOR_FILE)),
    )


def _changed(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0
