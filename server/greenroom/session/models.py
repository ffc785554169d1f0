"""The models of a binding: what its ``models.yaml`` lists and what it finds itself."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from greenroom.bindings.discovery import FoundBinding
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


def _names_in(entry: Mapping[str, Any]) -> list[str]:
    names = [str(entry[key]) for key in ("filename", "name") if entry.get(key)]
    variants = entry.get("variants")
    if isinstance(variants, list):
        names += [str(item.get("name", "")) if isinstance(item, dict) else str(item) for item in variants]
    return names


async def check_model(house: House, found: FoundBinding, options: Mapping[str, Any], name: str) -> None:
    """A binding that knows its models takes no other. :raises NotFound: with the nearest name."""
    known = [model.name for model in await models_of(house, found, options)]
    if not known or name in known:
        return
    listed = [title for entry in found.model_entries for title in _names_in(entry)]
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    hint = f"; did you mean {near[0]}?" if near else f"; it has: {', '.join(known[:20])}"
    if name in listed:
        raise NotFound(f"model {name} of {found.id} is listed but not installed{hint}")
    raise NotFound(f"{found.id} has no model {name!r}{hint}")


def _number(value: Any) -> int:
    try:
        return max(0, int(value))
    except (TypeError, ValueError, OverflowError):
        return 0


def model_info(house: House, found: FoundBinding, entry: Mapping[str, Any]) -> dict[str, Any]:
    """An entry of ``models.yaml`` in the shape of ``available_models_list``; both generations of the file are read."""
    title = str(entry.get("filename") or entry.get("name") or "unnamed")
    server = str(entry.get("server") or "")
    variants = entry.get("variants")
    size = _number(entry.get("filesize")) or _number(entry.get("file_size"))
    if not size and isinstance(variants, list) and variants and isinstance(variants[0], dict):
        size = _number(variants[0].get("size"))
    model_type = str(entry.get("model_type") or entry.get("type") or "")
    folder = house.engines.place(found).models
    plain = title not in (".", "..") and not any(mark in title for mark in "/\\\0")
    return {
        "title": title,
        "icon": str(entry.get("icon") or "/images/default_model.png"),
        "license": str(entry.get("license") or "unknown"),
        "owner": str(entry.get("owner") or entry.get("model_creator") or "unknown"),
        "owner_link": str(entry.get("owner_link") or entry.get("model_creator_link") or "https://github.com/ParisNeo"),
        "description": str(entry.get("description") or ""),
        "isInstalled": model_type.lower() == "api" or (plain and (folder / title).exists()),
        "path": f"{server}{'' if server.endswith('/') or not server else '/'}{title}",
        "filesize": size,
        "model_type": model_type,
    }
