"""The models of one binding: which there are, what a name means, which of them are here."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Any

from greenroom.bindings.downloads.entries import Download, HubSource, ModelEntry, is_repository, read_entries
from greenroom.bindings.downloads.manifest import Ledger
from greenroom.errors import BadRequest, NotFound

_NAMES_SHOWN = 20


class Presence(StrEnum):
    MISSING = "missing"
    PARTIAL = "partial"
    """a part of it is here; installing it goes on from there"""
    INSTALLED = "installed"


class Catalogue:
    """Reads small files only, and no more of the others than their sizes.

    :param folder: ``models/<binding>``
    :param any_hub: patterns of the files that are wanted of a repository of the hub that no entry names; empty: only
        what the entries name can be installed
    """

    def __init__(
        self,
        binding_id: str,
        folder: Path,
        raw_entries: Sequence[Mapping[str, Any]],
        any_hub: tuple[str, ...] = (),
    ) -> None:
        self.binding_id = binding_id
        self.folder = folder
        self.ledger = Ledger(folder)
        self.entries = read_entries(raw_entries)
        self._any_hub = any_hub

    @property
    def downloads(self) -> list[Download]:
        return [download for entry in self.entries for download in entry.downloads]

    def find(self, name: str) -> Download:
        """:raises NotFound: no such model; with the nearest name.
        :raises BadRequest: several have that name, or there is nothing to fetch for it.
        """
        downloads = self.downloads
        found = [one for one in downloads if one.name == name] or [one for one in downloads if name in one.aliases]
        if len(found) == 1:
            return found[0]
        if found:
            raise BadRequest(f"which {name} of {self.binding_id}? Choose one of: {_shown(found)}")
        named = [entry for entry in self.entries if name in (entry.name, entry.raw.get("filename"))]
        variants = [download for entry in named for download in entry.downloads]
        if variants:
            raise BadRequest(f"which {name} of {self.binding_id}? Choose one of: {_shown(variants)}")
        if named:
            raise BadRequest(_nothing_to_fetch(self.binding_id, named[0]))
        if self._any_hub and is_repository(name):
            return Download(name, hub=HubSource(name, include=self._any_hub))
        if not downloads:
            raise NotFound(f"{self.binding_id} has no models to install; see its README")
        near = difflib.get_close_matches(name, [one.name for one in downloads], n=1, cutoff=0.4)
        hint = f"did you mean {near[0]}?" if near else f"it has: {_shown(downloads)}"
        raise NotFound(f"{self.binding_id} has no model {name[:200]!r}; {hint}")

    def presence(self, download: Download) -> Presence:
        """Whether all its files are here, with the sizes that they should have."""
        if self._all_there(download):
            return Presence.INSTALLED
        return Presence.PARTIAL if self.ledger.has_parts(download.name) else Presence.MISSING

    def entry_presence(self, entry: ModelEntry) -> Presence:
        """The best of its downloads."""
        if entry.needs_nothing:
            return Presence.INSTALLED
        found = {self.presence(download) for download in entry.downloads}
        return next((one for one in (Presence.INSTALLED, Presence.PARTIAL) if one in found), Presence.MISSING)

    def paths(self, download: Download) -> list[str]:
        """Of its files, as far as they are known without asking the hub."""
        manifest = self.ledger.read(download.name)
        return [file.path for file in manifest.files] if manifest else [file.path for file in download.files]

    def size_bytes(self, download: Download) -> int | None:
        manifest = self.ledger.read(download.name)
        return manifest.size_bytes if manifest is not None and manifest.complete else download.size

    def known_as(self, download: Download, known: Iterable[str]) -> str | None:
        """What of the names that a binding itself gives to its models is this one; ``None``: none of them."""
        names = {download.name, *download.by_hand, *([download.hub.repository] if download.hub else [])}
        for path in (*self.paths(download), *download.by_hand):
            names |= {path, str(PurePosixPath(path).with_suffix(""))}
        return next((name for name in known if name in names), None)

    def _all_there(self, download: Download) -> bool:
        manifest = self.ledger.read(download.name)
        if manifest is not None and manifest.digest == download.digest:
            return manifest.complete and all(self._is_there(file.path, file.size) for file in manifest.files)
        if download.files:
            return all(self._is_there(file.path, file.size) for file in download.files)
        return any(self._is_there(path, None) for path in download.by_hand)

    def _is_there(self, path: str, size: int | None) -> bool:
        file = self.folder / path
        try:
            found = file.stat().st_size if file.is_file() else -1
        except OSError:
            found = -1
        if found >= 0:
            return found == size if size is not None else found > 0
        # As lollms has it: a small file beside it says where the model lies.
        return (self.folder / f"{path}.reference").is_file()


def _shown(downloads: Sequence[Download]) -> str:
    names = [one.name for one in downloads]
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return f"{', '.join(names[:_NAMES_SHOWN])}{more}"


def _nothing_to_fetch(binding_id: str, entry: ModelEntry) -> str:
    if entry.problem:
        return f"{binding_id}: {entry.problem}"
    if entry.needs_nothing:
        return f"{entry.name} of {binding_id} needs no download"
    return f"{binding_id} says of {entry.name} not where it is fetched from; see its README"
