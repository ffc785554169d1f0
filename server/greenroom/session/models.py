"""The models of a binding: what its ``models.yaml`` lists and what it finds itself."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from greenroom.bindings.discovery import FoundBinding
from greenroom.bindings.downloads.catalogue import Catalogue, Presence
from greenroom.bindings.downloads.entries import ModelEntry
from greenroom.bindings.engines import parse_options
from greenroom.bindings.guard import guarded
from greenroom.bindings.roles import Model
from greenroom.errors import GreenroomError, NotFound
from greenroom.session.house import House
from greenroom.values import Role


async def models_of(house: House, found: FoundBinding, options: Mapping[str, Any]) -> Sequence[Model]:
    """What the binding's t2t finds itself; nothing if it has none or cannot look."""
    if found.status != "ready":
        return ()
    operations = found.load().operations
    operation = operations.get(Role.T2T) or next(iter(operations.values()), None)
    if operation is None:
        return ()
    try:
        with guarded(found.id):
            return await operation.models(parse_options(operation, options, found.id), house.engines.place(found))
    except GreenroomError:
        return ()


def catalogue_of(house: House, found: FoundBinding) -> Catalogue:
    return Catalogue(found.id, house.engines.place(found).models, found.model_entries, found.card.any_hub_model)


async def check_model(house: House, found: FoundBinding, options: Mapping[str, Any], name: str) -> str:
    """The name by which the binding itself knows a model: one that its list has may be a file further down.

    A binding that knows its models takes no other. :raises NotFound: with the nearest name.
    """
    known = [model.name for model in await models_of(house, found, options)]
    if not known or name in known:
        return name
    catalogue = catalogue_of(house, found)
    listed = [one for one in catalogue.downloads if name == one.name or name in one.aliases]
    for download in listed:
        if (own := catalogue.known_as(download, known)) is not None:
            return own
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    hint = f"; did you mean {near[0]}?" if near else f"; it has: {', '.join(known[:20])}"
    if listed and catalogue.presence(listed[0]) is not Presence.INSTALLED:
        mend = f"greenroom install model {found.id} {listed[0].name}"
        raise NotFound(f"model {name} of {found.id} is listed but not installed; install it with: {mend}")
    if any(name in (entry.name, entry.raw.get("filename")) for entry in catalogue.entries):
        raise NotFound(f"model {name} of {found.id} is listed but not installed{hint}")
    raise NotFound(f"{found.id} has no model {name!r}{hint}")


def model_info(catalogue: Catalogue, entry: ModelEntry) -> dict[str, Any]:
    """An entry of ``models.yaml`` in the shape of ``available_models_list``, with more of our own; all generations of
    the file are read. Looks at files."""
    raw = entry.raw
    title = str(raw.get("filename") or raw.get("name") or "unnamed")
    server = str(raw.get("server") or "")
    presence = catalogue.entry_presence(entry)
    return {
        "title": title,
        "icon": str(raw.get("icon") or "/images/default_model.png"),
        "license": str(raw.get("license") or "unknown"),
        "owner": str(raw.get("owner") or raw.get("model_creator") or "unknown"),
        "owner_link": str(raw.get("owner_link") or raw.get("model_creator_link") or "https://github.com/ParisNeo"),
        "description": str(raw.get("description") or ""),
        "isInstalled": presence is Presence.INSTALLED or (not entry.downloads and _lies_there(catalogue, title)),
        "path": f"{server}{'' if server.endswith('/') or not server else '/'}{title}",
        "filesize": entry.size or 0,
        "model_type": str(raw.get("model_type") or raw.get("type") or ""),
        "name": entry.name,
        "label": entry.title or entry.name,
        "languages": list(entry.languages),
        "roles": list(entry.roles),
        "install": [
            {"name": one.name, "size": catalogue.size_bytes(one), "state": str(catalogue.presence(one))}
            for one in entry.downloads
        ],
        **({"error": entry.problem} if entry.problem else {}),
    }


def _lies_there(catalogue: Catalogue, title: str) -> bool:
    """Of an entry that says not what to fetch, as lollms looks for it."""
    plain = title not in (".", "..") and not any(mark in title for mark in "/\\\0") and not title.startswith(".")
    return plain and (catalogue.folder / title).exists()
