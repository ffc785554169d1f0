"""``greenroom list``: what there is, from the folders of this machine or from a running server."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from greenroom.bindings.discovery import FoundBinding
from greenroom.bindings.downloads.catalogue import Catalogue, Presence
from greenroom.bindings.downloads.entries import ModelEntry
from greenroom.bindings.engines import parse_options
from greenroom.bindings.environments import size_text
from greenroom.bindings.roles import TextToSpeech
from greenroom.client import Room, connect
from greenroom.commandline.console import Console
from greenroom.commandline.local import Local, find_local
from greenroom.errors import GreenroomError, Unavailable
from greenroom.values import Role

Row = dict[str, Any]


class What(StrEnum):
    BINDINGS = "bindings"
    PERSONALITIES = "personalities"
    MODELS = "models"
    VOICES = "voices"


@dataclass(frozen=True, slots=True)
class ListOptions:
    what: What
    url: str | None = None
    """ask this server; else the folders"""
    token: str | None = None
    session: str = "main"
    home: Path | None = None
    binding: str | None = None
    """only this one's models or voices"""
    json: bool = False


_COLUMNS = {
    What.BINDINGS: ("name", "roles", "status", "description"),
    What.PERSONALITIES: ("id", "name", "description"),
    What.MODELS: ("binding", "name", "installed", "size", "languages", "license", "description"),
    What.VOICES: ("binding", "voice", "language", "name", "gender"),
}
_DESCRIPTION_CHARS = 90


def show(options: ListOptions, console: Console) -> int:
    """-> exit code. :raises GreenroomError: with the reason."""
    rows = asyncio.run(_from_server(options) if options.url else _from_folders(options))
    if options.json:
        console.json(rows)
    elif rows:
        columns = _COLUMNS[options.what]
        console.table(options.what, columns, [[_cell(row.get(column), column) for column in columns] for row in rows])
    else:
        console.note(f"there are no {options.what}")
    return 0


def _cell(value: Any, column: str) -> str:
    if column == "size":
        return size_text(value) if value else ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(str(item) for item in value)
    text = " ".join(str(value or "").split())
    return text if len(text) <= _DESCRIPTION_CHARS else f"{text[: _DESCRIPTION_CHARS - 1]}…"


# From the folders


async def _from_folders(options: ListOptions) -> list[Row]:
    local = find_local(options.home)
    try:
        match options.what:
            case What.BINDINGS:
                return [_binding(found) for found in local.bindings().all().values()]
            case What.PERSONALITIES:
                return _personalities(local)
            case What.MODELS:
                return await _models(local, options.binding)
            case What.VOICES:
                return await _voices(local, options.binding)
    finally:
        await local.close()


def _binding(found: FoundBinding) -> Row:
    return {
        "name": found.id,
        "roles": [str(role) for role in found.card.roles],
        "status": found.status,
        "description": found.problem or found.card.description,
    }


def _personalities(local: Local) -> list[Row]:
    shelf = local.personalities()
    rows: list[Row] = [
        {"id": one.id, "name": one.name, "description": one.description, "language": one.language}
        for one in shelf.all()
    ]
    return rows + [{"id": id, "name": "", "description": f"broken: {why}"} for id, why in shelf.broken().items()]


def _chosen(local: Local, binding: str | None, roles: Sequence[Role]) -> list[FoundBinding]:
    shelf = local.bindings()
    found = [shelf.get(binding)] if binding else list(shelf.all().values())
    return [one for one in found if one.status == "ready" and (binding or set(roles) & set(one.card.roles))]


def _options_of(local: Local, found: FoundBinding, role: Role) -> dict[str, Any]:
    """As the configuration has them: for every use of the binding, and above that for this role."""
    own = next((entry.settings for entry in local.config.operations if (entry.role, entry.id) == (role, found.id)), {})
    return {**local.config.bindings.get(found.id, {}), **own}


async def _models(local: Local, binding: str | None) -> list[Row]:
    """What is listed, with what of it is here; and what the binding finds beside it, if it can be asked."""
    rows: list[Row] = []
    shelf = local.bindings()
    wanted = [shelf.get(binding)] if binding else list(shelf.all().values())
    places = local.places()
    for found in wanted:
        if found.error and binding:
            raise Unavailable(found.problem)
        catalogue = Catalogue(found.id, places.place(found).models, found.model_entries, found.card.any_hub_model)
        asked = found.status == "ready" and (binding or {Role.T2T, Role.MCP} & set(found.card.roles))
        own = {row["name"]: row for row in await _own_models(local, found)} if asked else {}
        for entry in catalogue.entries:
            rows += _listed(catalogue, entry, own)
        rows += own.values()
    return rows


def _listed(catalogue: Catalogue, entry: ModelEntry, own: dict[str, Row]) -> Iterator[Row]:
    """A row for each thing that can be installed, or one for the entry; takes what it shows out of ``own``."""
    shown = {
        "binding": catalogue.binding_id,
        "license": entry.license,
        "languages": list(entry.languages),
        "roles": list(entry.roles),
        "description": entry.problem or entry.description or entry.title,
    }
    for download in entry.downloads:
        row = own.pop(catalogue.known_as(download, own) or "", {})
        presence = catalogue.presence(download)
        installed: bool | str = "partly" if presence is Presence.PARTIAL else presence is Presence.INSTALLED
        size = catalogue.size_bytes(download)
        yield {**shown, "name": download.name, "installed": row.get("installed") or installed, "size": size}
    if not entry.downloads:
        row = own.pop(entry.name, {})
        installed = row.get("installed", entry.needs_nothing or entry.raw.get("isInstalled", ""))
        described = shown["description"] or row.get("description", "")
        yield {**shown, "name": entry.name, "installed": installed, "size": entry.size, "description": described}


async def _own_models(local: Local, found: FoundBinding) -> list[Row]:
    """Those that the binding finds itself; one that needs a backend which does not answer says so in its row."""
    try:
        operations = found.load().operations
        if not operations:
            return []
        role = Role.T2T if Role.T2T in operations else next(iter(operations))
        operation = found.operation(role)
        options = parse_options(operation, _options_of(local, found, role), found.id)
        models = await operation.models(options, local.places().place(found))
    except GreenroomError as error:
        return [{"binding": found.id, "name": "", "installed": False, "description": error.message}]
    return [
        {
            "binding": found.id,
            "name": one.name,
            "installed": one.installed,
            "size": one.size_bytes or None,
            "description": one.description,
        }
        for one in models
    ]


async def _voices(local: Local, binding: str | None) -> list[Row]:
    rows: list[Row] = []
    shelf = local.bindings()
    engines = local.engines(shelf)
    try:
        for found in _chosen(local, binding, (Role.TTS,)):
            try:
                loaded = await engines.load(found.id, Role.TTS, _options_of(local, found, Role.TTS))
            except GreenroomError as error:
                rows.append({"binding": found.id, "voice": "", "language": "", "name": error.message})
                continue
            try:
                operation = loaded.operation
                voices = await operation.voices() if isinstance(operation, TextToSpeech) else ()
            finally:
                await loaded.release()
            rows += [
                {"binding": found.id, "voice": one.id, "language": one.language, "name": one.name, "gender": one.gender}
                for one in voices
            ]
    finally:
        await engines.close()
    return rows


# From a server


async def _from_server(options: ListOptions) -> list[Row]:
    async with connect(options.url or "", session=options.session, token=options.token, away_limit_s=0) as room:
        match options.what:
            case What.BINDINGS:
                return [_binding_told(entry) for entry in await room.bindings()]
            case What.PERSONALITIES:
                return _personalities_told(await room.personalities())
            case What.MODELS:
                return await _models_told(room, options.binding)
            case What.VOICES:
                return _voices_told(await room.query("list_voices", binding=options.binding))


def _binding_told(entry: Row) -> Row:
    card = entry.get("card")
    described = card.get("description", "") if isinstance(card, dict) else ""
    return {
        "name": entry.get("name", ""),
        "roles": entry.get("roles", []),
        "status": entry.get("status", ""),
        "description": entry.get("error") or described,
    }


def _personalities_told(told: dict[str, dict[str, list[Row]]]) -> list[Row]:
    return [
        {
            "id": f"{language}/{category}/{info.get('folder', '')}",
            "name": info.get("name", ""),
            "description": info.get("description", ""),
            "language": language,
        }
        for language, categories in told.items()
        for category, infos in categories.items()
        for info in infos
    ]


async def _models_told(room: Room, binding: str | None) -> list[Row]:
    return [
        {
            "binding": binding or "",
            "name": model.get("title") or model.get("name", ""),
            "installed": bool(model.get("isInstalled")),
            "size": model.get("filesize") or None,
            "languages": model.get("languages", []),
            "license": model.get("license", ""),
            "description": model.get("error") or model.get("description", ""),
        }
        for model in await room.models(binding)
    ]


def _voices_told(told: Row) -> list[Row]:
    voices = told.get("voices")
    return [
        {
            "binding": told.get("binding", ""),
            "voice": voice.get("id", ""),
            "language": voice.get("language", ""),
            "name": voice.get("name", ""),
            "gender": voice.get("gender", ""),
        }
        for voice in (voices if isinstance(voices, list) else [])
        if isinstance(voice, dict)
    ]
