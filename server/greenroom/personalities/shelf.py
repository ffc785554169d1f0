"""Every personality under the roots, listed and looked up by name; files that did not change are not read again."""

import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any
from urllib.parse import quote

from greenroom.errors import BadRequest, GreenroomError, NotFound
from greenroom.personalities.discovery import Spot, is_inside, stamp_of, walk_root
from greenroom.personalities.folder import DESCRIPTION_FILES, Personality, read_personality
from greenroom.personalities.languages import DEFAULT_LANGUAGE, known_language

MAX_NAME_CHARS = 1000
Info = dict[str, Any]
Listing = dict[str, dict[str, list[Info]]]


@dataclass(frozen=True, slots=True)
class _Entry:
    id: str
    spot: Spot
    personality: Personality | None = None
    error: str = ""
    info: Mapping[str, Any] | None = None


class PersonalityShelf:
    """A later root's personality wins over an earlier one's of the same id.

    Safe to use from several threads. A warm call is some milliseconds of ``stat``; a cold one reads every file, so the
    first belongs into a thread.
    """

    def __init__(self, roots: tuple[Path, ...]) -> None:
        self.roots = roots
        self.files_read = 0
        """how many configuration files were read since the start"""
        self._entries: dict[str, _Entry] = {}
        self._by_path: dict[str, _Entry] = {}
        self._problems: dict[str, str] = {}
        self._scanned = False
        self._lock = threading.Lock()

    def listing(self) -> Listing:
        """``{language: {category: [info]}}``; the infos are the caller's own to change."""
        listing: Listing = {}
        for entry in self._fresh():
            if entry.info is not None:
                language, category, _ = entry.id.split("/")
                listing.setdefault(language, {}).setdefault(category, []).append(dict(entry.info))
        return listing

    def all(self) -> list[Personality]:
        return [entry.personality for entry in self._fresh() if entry.personality is not None]

    def broken(self) -> dict[str, str]:
        """By id or path under a root: a sentence that says what is wrong with it."""
        errors = {entry.id: entry.error for entry in self._fresh() if entry.error}
        return {**errors, **self._problems}

    def languages(self) -> list[str]:
        return list(self.listing())

    def categories(self, language: str) -> list[str]:
        """:raises NotFound: with the languages there are."""
        listing = self.listing()
        if language not in listing:
            raise NotFound(f"there are no personalities in {language!r}; languages: {', '.join(listing) or 'none'}")
        return list(listing[language])

    def names(self, language: str, category: str) -> list[str]:
        """The folders of a category. :raises NotFound: with the languages or categories there are."""
        categories = self.listing().get(language)
        if categories is None:
            self.categories(language)
            categories = {}
        if category not in categories:
            known = ", ".join(categories) or "none"
            raise NotFound(f"there is no category {category!r} in {language!r}; categories: {known}")
        return [str(info["folder"]) for info in categories[category]]

    def get(self, name: str) -> Personality:
        """By ``language/category/folder``, ``category/folder``, a name that only one has, or a path inside a root.

        ``:french`` behind it asks for the folder's ``languages/french.yaml``. Nothing of the name is joined to a path.

        :raises NotFound: for what is not there or lies outside the roots.
        :raises BadRequest: for what is no such name, is ambiguous, or cannot be read.
        """
        if not isinstance(name, str) or not name.strip():
            raise BadRequest("a personality is named by language/category/folder")
        if len(name) > MAX_NAME_CHARS or "\0" in name or PureWindowsPath(name).drive.startswith("\\\\"):
            # a network path is refused before it is looked at: looking already logs in to its server
            raise BadRequest("this is no name of a personality")
        # Without the lock, which a cold scan holds for long; the dictionary is replaced as a whole and never changed.
        known = self._entries.get(name)
        if known is not None and stamp_of(known.spot.path) == known.spot.stamp:
            return _healthy(known)
        with self._lock:
            found = self._look_up(name)
            if found is None or stamp_of(found.spot.path) != found.spot.stamp:
                self._scan()
                found = self._look_up(name)
            if found is not None:
                return _healthy(found)
            stem, colon, translation = name.rpartition(":")
            base = self._look_up(stem) if colon and not _is_absolute(name) else None
            if base is None:
                raise NotFound(f"there is no personality {name!r}")
            return self._translated(base, translation)

    def asset(self, language: str, category: str, folder: str, relative: str) -> Path:
        """A file of a personality's ``assets``. :raises NotFound: for anything else, whatever the reason."""
        missing = NotFound("there is no such picture")
        with self._lock:
            if not self._scanned:
                self._scan()
            entry = self._entries.get(f"{language}/{category}/{folder}")
        parts = relative.split("/")
        if entry is None or "\\" in relative or "\0" in relative or any(part in ("", ".", "..") for part in parts):
            raise missing
        if PureWindowsPath(relative).drive or len(relative) > MAX_NAME_CHARS:
            raise missing
        try:
            home = Path(entry.spot.path).resolve(strict=True)
            assets = (home / "assets").resolve(strict=True)
            found = assets.joinpath(*parts).resolve(strict=True)
        except (OSError, RuntimeError, ValueError):
            raise missing from None
        if not (assets.is_relative_to(home) and found.is_relative_to(assets) and found.is_file()):
            raise missing
        return found

    # the lock is held in all that follows

    def _fresh(self) -> list[_Entry]:
        with self._lock:
            self._scan()
            return list(self._entries.values())

    def _scan(self) -> None:
        allowed = tuple(os.path.realpath(root) for root in self.roots)
        entries: dict[str, _Entry] = {}
        by_path: dict[str, _Entry] = {}
        problems: dict[str, str] = {}
        for root in self.roots:
            walk = walk_root(root, allowed)
            problems.update(walk.problems)
            own: dict[str, _Entry] = {}
            for spot in walk.spots:
                entry = by_path[spot.path] = self._entry(spot, allowed)
                first = own.setdefault(entry.id, entry)
                if first is not entry:
                    place = os.path.relpath(spot.path, root).replace(os.sep, "/")
                    problems[place] = f"{spot.path} would have the same name as {first.spot.path}: {entry.id}"
            entries.update(own)
        self._entries = dict(sorted(entries.items(), key=lambda item: (item[0].casefold(), item[0])))
        self._by_path = by_path
        self._problems = problems
        self._scanned = True

    def _entry(self, spot: Spot, allowed: tuple[str, ...]) -> _Entry:
        known = self._by_path.get(spot.path)
        if known is not None and known.spot == spot:
            return known
        folder = Path(spot.path)
        language = spot.language or DEFAULT_LANGUAGE
        file = spot.stamp.file
        if not is_inside(os.path.realpath(folder / file), allowed):
            error = f"{folder / file} is a link that leads out of the personality folders"
            return _Entry(f"{language}/{spot.category}/{spot.name}", spot, error=error)
        self.files_read += 1
        try:
            personality = read_personality(folder, language=language, category=spot.category, config_file=file)
        except GreenroomError as error:
            return _Entry(f"{language}/{spot.category}/{spot.name}", spot, error=error.message)
        stated = "" if spot.language else known_language(personality.extras.get("language"))
        if stated:
            personality = replace(personality, language=stated, id=f"{stated}/{spot.category}/{spot.name}")
        return _Entry(personality.id, spot, personality, info=_info(personality))

    def _look_up(self, name: str) -> _Entry | None:
        if not self._scanned:
            self._scan()
        if name in self._entries:
            return self._entries[name]
        if _is_absolute(name):
            return self._at(name)
        parts = name.split("/")
        if "\\" in name or len(parts) > 3 or any(part.strip() in ("", ".", "..") for part in parts):
            raise BadRequest(f"{name!r} is no name of a personality; wanted language/category/folder")
        return _only(name, list(self._matching(parts)))

    def _matching(self, parts: list[str]) -> Iterator[_Entry]:
        wanted = [part.casefold() for part in parts]
        for entry in self._entries.values():
            own = entry.id.casefold().split("/")
            title = entry.personality.name.casefold() if entry.personality is not None else ""
            if own[-len(wanted) :] == wanted or wanted == [title]:
                yield entry

    def _at(self, name: str) -> _Entry | None:
        try:
            real = os.path.realpath(name)
        except (OSError, ValueError):
            return None
        if os.path.basename(real) in DESCRIPTION_FILES:
            real = os.path.dirname(real)
        if ".." in PurePosixPath(name.replace("\\", "/")).parts:
            raise BadRequest("a path to a personality must not hold `..`")
        if not is_inside(real, tuple(os.path.realpath(root) for root in self.roots)):
            raise NotFound("this path lies outside the personality folders")
        return next((entry for entry in self._entries.values() if os.path.realpath(entry.spot.path) == real), None)

    def _translated(self, base: _Entry, translation: str) -> Personality:
        folder = Path(base.spot.path) / "languages"
        try:
            files = {path.stem.casefold(): path for path in folder.glob("*.yaml")}
        except OSError:
            files = {}
        path = files.get(translation.casefold())
        if path is None or not is_inside(os.path.realpath(path), (os.path.realpath(base.spot.path),)):
            raise NotFound(
                f"{base.id} has no translation {translation!r}; it has: {', '.join(sorted(files)) or 'none'}"
            )
        _, category, _ = base.id.split("/")
        self.files_read += 1
        language = known_language(translation) or translation
        personality = read_personality(
            Path(base.spot.path), language=language, category=category, config_file=f"languages/{path.name}"
        )
        return replace(personality, id=f"{base.id}:{path.stem}")


def _is_absolute(name: str) -> bool:
    return PurePosixPath(name).is_absolute() or bool(PureWindowsPath(name).drive)


def _only(name: str, found: list[_Entry]) -> _Entry | None:
    """One that matches; of several that of the default language, if it is alone there."""
    if len(found) > 1:
        exact = [entry for entry in found if entry.id.endswith(f"/{name}")]
        default = [entry for entry in exact or found if entry.id.startswith(f"{DEFAULT_LANGUAGE}/")]
        for fewer in (exact, default):
            if len(fewer) == 1:
                return fewer[0]
        several = ", ".join(entry.id for entry in found[:5])
        raise BadRequest(f"{name!r} could be any of {several}; say which")
    return found[0] if found else None


def _healthy(entry: _Entry) -> Personality:
    if entry.personality is None:
        raise BadRequest(f"personality {entry.id} cannot be read: {entry.error}")
    return entry.personality


def _info(personality: Personality) -> Info:
    place = (personality.language, personality.category, personality.folder_name)
    url = "/".join(["personalities", *(quote(part, safe="") for part in place), "assets"])
    return {
        "folder": personality.folder_name,
        "name": personality.name,
        "description": personality.description,
        "author": personality.author,
        "version": personality.version,
        "has_scripts": personality.has_scripts,
        "has_logo": personality.logo is not None,
        "avatar": f"{url}/{quote(personality.logo.name, safe='')}" if personality.logo else "",
        "id": personality.id,
        "language": personality.language,
        "category": personality.category,
    }
