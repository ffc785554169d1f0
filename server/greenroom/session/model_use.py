"""Whether an engine that is open uses a model, as far as its key tells."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from greenroom.bindings.downloads.catalogue import Catalogue, Presence
from greenroom.bindings.downloads.entries import Download


def may_be_open(key: object, download: Download, catalogue: Catalogue) -> bool:
    """``key``: an operation's ``engine_key``. One that names this model uses it, one that names another installed
    model does not; of one that names none, nobody knows."""
    words = {word.replace("\\", "/") for word in _words(key)}
    if words & _names(download, catalogue):
        return True
    others = (
        one
        for one in catalogue.downloads
        if one.name != download.name and catalogue.presence(one) is Presence.INSTALLED
    )
    return not any(words & _names(other, catalogue) for other in others)


def _names(download: Download, catalogue: Catalogue) -> set[str]:
    """All that an option may call it by."""
    folder = catalogue.folder.as_posix()
    paths = [PurePosixPath(path) for path in catalogue.paths(download)]
    found = {download.name, *download.aliases, *download.by_hand}
    if download.hub is not None and not download.by_hand:
        found |= {download.hub.repository, f"{folder}/{download.hub.repository}"}
    for path in paths:
        for form in (path, path.with_suffix("")):
            found |= {str(form), form.name, f"{folder}/{form}"}
    return found | {name.removesuffix(".gguf") for name in found}


def _words(value: Any) -> Iterator[str]:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str) and value.startswith(("{", "[")):
        try:
            value = json.loads(value)
        except ValueError:
            pass
    if isinstance(value, str | Path):
        yield str(value)
    elif isinstance(value, Mapping):
        yield from _words(list(value.values()))
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from _words(item)
    elif hasattr(value, "model_dump"):
        yield from _words(value.model_dump())
