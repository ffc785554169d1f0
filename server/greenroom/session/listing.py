"""The desk for questions that change nothing: what there is, what is chosen, what was said."""

import asyncio
from collections.abc import Sequence
from typing import Any

from greenroom.bindings.discovery import FoundBinding
from greenroom.bindings.downloads.entries import read_entry
from greenroom.bindings.guard import guarded
from greenroom.bindings.roles import Embedding, Model, TextToText
from greenroom.errors import BindingFailed, GreenroomError, Unavailable
from greenroom.protocol.commands import (
    ConfigGet,
    Detokenize,
    Embed,
    HistoryGet,
    ListActivePersonalities,
    ListAvailableBindings,
    ListAvailableModels,
    ListAvailablePersonalities,
    ListAvailablePersonalitiesCategories,
    ListAvailablePersonalitiesLanguages,
    ListAvailablePersonalitiesNames,
    ListOperations,
    SessionState,
    Tokenize,
)
from greenroom.session.access import without_secrets
from greenroom.session.handle import Caller, Reply
from greenroom.session.models import catalogue_of, model_info, models_of
from greenroom.session.operations import operation_as
from greenroom.session.session import Session
from greenroom.store.records import LineRecord
from greenroom.values import Access, Role


class ListingDesk:
    def __init__(self, session: Session) -> None:
        self._session = session
        self._house = session.house
        session.handle(ListAvailableBindings, self._bindings)
        session.handle(ListAvailableModels, self._models)
        session.handle(ListAvailablePersonalities, self._personalities)
        session.handle(ListAvailablePersonalitiesLanguages, self._languages)
        session.handle(ListAvailablePersonalitiesCategories, self._categories)
        session.handle(ListAvailablePersonalitiesNames, self._names)
        session.handle(ListActivePersonalities, self._active)
        session.handle(ListOperations, self._operations)
        session.handle(SessionState, self._state)
        session.handle(HistoryGet, self._history)
        session.handle(ConfigGet, self._config)
        session.handle(Tokenize, self._tokenize)
        session.handle(Detokenize, self._detokenize)
        session.handle(Embed, self._embed)

    async def _bindings(self, command: ListAvailableBindings, caller: Caller) -> Reply:
        found = list(self._house.bindings.all().values())
        # The first time this imports every binding: not on the event loop.
        described = await asyncio.to_thread(lambda: [describe(one) for one in found])
        return {"success": True, "bindings": described}

    async def _models(self, command: ListAvailableModels, caller: Caller) -> Reply:
        spec = self._session.operations.spec(Role.T2T)
        binding_id = command.binding or (spec.id if spec else None)
        if binding_id is None:
            raise Unavailable("No binding selected", kind="operation_unloaded")
        found = self._house.bindings.get(binding_id)
        options = {
            **self._house.binding_defaults(binding_id),
            **(spec.options if spec and spec.id == binding_id else {}),
        }
        known = await models_of(self._house, found, options)
        entries = await asyncio.to_thread(self._described, found, known)
        return {"success": True, "available_models": entries}

    def _described(self, found: FoundBinding, known: Sequence[Model]) -> list[dict[str, Any]]:
        """What is listed, and then what the binding finds beside it; looks at files."""
        catalogue = catalogue_of(self._house, found)
        entries = [model_info(catalogue, entry) for entry in catalogue.entries]
        names = [model.name for model in known]
        titles = {entry["title"] for entry in entries}
        for entry in catalogue.entries:
            if len(entry.downloads) == 1 and (own := catalogue.known_as(entry.downloads[0], names)) is not None:
                titles.add(own)
        return entries + [
            {
                **model_info(catalogue, read_entry({"filename": model.name, "description": model.description})),
                "isInstalled": model.installed,
                "filesize": model.size_bytes,
            }
            for model in known
            if model.name not in titles
        ]

    async def _personalities(self, command: ListAvailablePersonalities, caller: Caller) -> Reply:
        listed = await asyncio.to_thread(self._house.personalities.listing)  # the first one reads every file
        return {"success": True, "personalities": listed}

    async def _languages(self, command: ListAvailablePersonalitiesLanguages, caller: Caller) -> Reply:
        languages = await asyncio.to_thread(self._house.personalities.languages)
        return {"success": True, "available_personalities_languages": languages}

    async def _categories(self, command: ListAvailablePersonalitiesCategories, caller: Caller) -> Reply:
        found = await asyncio.to_thread(self._categories_of, command.language)
        return {"success": True, "available_personalities_categories": found}

    def _categories_of(self, language: str | None) -> list[str]:
        shelf = self._house.personalities
        if language:
            return shelf.categories(language)
        return list({name: None for categories in shelf.listing().values() for name in categories})

    async def _names(self, command: ListAvailablePersonalitiesNames, caller: Caller) -> Reply:
        found = await asyncio.to_thread(self._names_of, command.language, command.category)
        return {"success": True, "list_available_personalities_names": found}

    def _names_of(self, language: str | None, category: str) -> list[str]:
        shelf = self._house.personalities
        if language:
            return shelf.names(language, category)
        listing = shelf.listing().values()
        return list({str(info["folder"]): None for categories in listing for info in categories.get(category, ())})

    async def _active(self, command: ListActivePersonalities, caller: Caller) -> Reply:
        names = []
        for name in self._session.personalities:
            try:
                names.append(self._session.personality(name).name)
            except GreenroomError:
                names.append(name)
        return {
            "success": True,
            "personalities": names,
            "ids": list(self._session.personalities),
            "active": self._session.active,
        }

    async def _operations(self, command: ListOperations, caller: Caller) -> Reply:
        """Viewers are told what there is, and nothing of its settings."""
        listed = self._session.operations.listing()
        if caller.access < Access.PERFORMER:
            listed = [{**entry, "config": {}} for entry in listed]
        return {"success": True, "operations": self._session.operations.ids(), "options": without_secrets(listed)}

    async def _state(self, command: SessionState, caller: Caller) -> Reply:
        return {"success": True, **await self._session.state()}

    async def _history(self, command: HistoryGet, caller: Caller) -> Reply:
        lines = await self._house.store.lines(self._session.name, command.limit, command.before)
        return {"success": True, "lines": [self._line(line) for line in lines]}

    def _line(self, line: LineRecord) -> dict[str, Any]:
        wire: dict[str, Any] = {
            "line_id": line.line_id,
            "kind": line.kind,
            "timestamp": line.timestamp,
            "content": line.content,
            "line": self._session.context.script_line(line),
        }
        if line.user:
            wire["user"] = line.user
        return wire

    async def _config(self, command: ConfigGet, caller: Caller) -> Reply:
        return {"success": True, "config": self._house.config.public()}

    async def _tokenize(self, command: Tokenize, caller: Caller) -> Reply:
        loaded = await self._session.operations.hold(Role.T2T)
        try:
            with guarded(loaded.binding_id):
                tokens = await operation_as(TextToText, loaded).tokenize(command.prompt)
        finally:
            await loaded.release()
        return {"success": True, "tokens": tokens}

    async def _detokenize(self, command: Detokenize, caller: Caller) -> Reply:
        loaded = await self._session.operations.hold(Role.T2T)
        try:
            with guarded(loaded.binding_id):
                text = await operation_as(TextToText, loaded).detokenize(command.prompt)
        finally:
            await loaded.release()
        return {"success": True, "text": text}

    async def _embed(self, command: Embed, caller: Caller) -> Reply:
        loaded = await self._session.operations.hold(Role.EMBEDDING)
        try:
            with guarded(loaded.binding_id):
                vectors = await operation_as(Embedding, loaded).embed([command.prompt])
        finally:
            await loaded.release()
        if len(vectors) != 1:
            raise BindingFailed(f"{loaded.binding_id} gave {len(vectors)} vectors for one text")
        return {"success": True, "text": [float(number) for number in vectors[0]]}


def describe(found: FoundBinding) -> dict[str, Any]:
    """A binding as ``bindings_list`` shows it; one that does not load is listed with its error."""
    entry: dict[str, Any] = {
        "name": found.id,
        "card": found.card.model_dump(mode="json"),
        "models": found.model_entries,
        "status": found.status,
        "roles": [str(role) for role in found.card.roles],
        "options_schema": {},
    }
    problem = found.problem
    if found.status in ("ready", "missing_packages"):
        try:
            operations = found.load().operations
            entry["roles"] = [str(role) for role in operations]
            entry["options_schema"] = {
                str(role): operation.Options.model_json_schema() for role, operation in operations.items()
            }
        except GreenroomError as error:
            entry["status"] = "broken"
            problem = error.message
    if problem:
        entry["error"] = problem
    return entry
