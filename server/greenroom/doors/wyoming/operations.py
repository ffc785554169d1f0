"""The session's own voice and ears, used outside of its conversation."""

import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from greenroom.bindings.engines import LoadedOperation
from greenroom.bindings.roles import Options
from greenroom.doors.door import DoorCaller, Rooms
from greenroom.doors.wyoming.voices import VoiceLists
from greenroom.errors import BadRequest, GreenroomError, Unavailable
from greenroom.protocol.commands import ListOperations
from greenroom.session.access import reserved
from greenroom.session.handle import SessionHandle
from greenroom.session.operations import release_all
from greenroom.values import Role

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Chosen:
    """A binding that the session has for a role, and the options it was given."""

    id: str
    options: Mapping[str, Any]


class Backends:
    """What one session has chosen. The engines are those that the session uses: nothing is loaded twice."""

    def __init__(self, rooms: Rooms, session: str, caller: DoorCaller, voices: VoiceLists) -> None:
        self.rooms = rooms
        self.caller = caller
        self.voices = voices
        self._session = session
        self._acted_on: SessionHandle | None = None

    async def handle(self) -> SessionHandle:
        """The session. :raises BadRequest, Busy: it cannot be opened."""
        self._acted_on = await self.rooms.sessions.get(self._session)
        return self._acted_on

    def leave(self) -> None:
        """The caller is gone."""
        if self._acted_on is not None:
            self._acted_on.forget(self.caller.client_id)

    async def chosen(self, role: Role) -> list[Chosen]:
        reply = await (await self.handle()).execute(ListOperations(), self.caller)
        return [
            Chosen(str(entry["id"]), dict(entry.get("config") or {}))
            for entry in reply["options"]
            if entry["role"] == str(role)
        ]

    @asynccontextmanager
    async def borrowed(self, role: Role, language: str = "") -> AsyncGenerator[list[LoadedOperation], None]:
        """The operations of a role: one, or for filters all of them in order.

        :param language: that this use is in, for those that can be told.
        :raises Unavailable: there is none of a role that has one. Otherwise as :meth:`Engines.load`.
        """
        chosen = await self.chosen(role)
        if not chosen and not role.is_filter:
            raise Unavailable(f"no {role} is loaded in the session {self._session}", kind="operation_unloaded")
        voices = await self.wanted_voices() if role is Role.TTS else {}
        held: list[LoadedOperation] = []
        try:
            for one in chosen:
                held.append(await self._load(role, one, voices.get(one.id, {}), language))
            yield held
        finally:
            await release_all(held)

    @asynccontextmanager
    async def loaded(
        self, role: Role, one: Chosen, overlays: Mapping[str, Mapping[str, Any]]
    ) -> AsyncGenerator[LoadedOperation, None]:
        """One of them, asking the session nothing. :raises GreenroomError: as :meth:`Engines.load`."""
        found = await self._load(role, one, overlays.get(one.id, {}))
        try:
            yield found
        finally:
            await found.release()

    async def _load(self, role: Role, one: Chosen, overlay: Mapping[str, Any], language: str = "") -> LoadedOperation:
        house = self.rooms.house
        operation = house.engines.operation(one.id, role)
        wanted = {name: value for name, value in overlay.items() if name not in reserved(operation, overlay)}
        options = {**house.binding_defaults(one.id), **wanted, **one.options}
        told = spoken_in(operation.Options, options, language)
        if told is not None:
            try:
                return await house.engines.load(one.id, role, {**options, "language": told})
            except BadRequest:
                logger.info("%s is not told the language %r, which it does not take", one.id, told)
        return await house.engines.load(one.id, role, options)

    async def wanted_voices(self) -> Mapping[str, Mapping[str, Any]]:
        """What the character wants of each voice."""
        state = await (await self.handle()).state()
        name = (state.get("personality") or {}).get("id")
        try:
            return self.rooms.house.personalities.get(str(name)).voice if name else {}
        except GreenroomError:
            return {}


def spoken_in(form: type[Options], options: Mapping[str, Any], language: str) -> str | None:
    """What the option ``language`` is to be for this use: ``de-DE`` as it is, or ``de`` where the option is written so.

    ``None``: as it is configured, since there is no such option, or it says the same language already.
    """
    field = form.model_fields.get("language")
    if field is None or not language:
        return None
    configured = str(options.get("language", field.default) or "")
    if _primary(configured) == _primary(language):
        return None
    if "-" not in configured:
        return _primary(language)
    return language if "-" in language else None


def _primary(language: str) -> str:
    return language.replace("_", "-").partition("-")[0].lower()
