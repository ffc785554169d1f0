"""The session's own voice and ears, used outside of its conversation."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from greenroom.bindings.engines import LoadedOperation
from greenroom.doors.door import DoorCaller, Rooms
from greenroom.errors import GreenroomError, Unavailable
from greenroom.protocol.commands import ListOperations
from greenroom.session.access import reserved
from greenroom.session.handle import SessionHandle
from greenroom.session.operations import release_all
from greenroom.values import Role


@dataclass(frozen=True, slots=True)
class Chosen:
    """A binding that the session has for a role, and the options it was given."""

    id: str
    options: Mapping[str, Any]


class Backends:
    """What one session has chosen. The engines are those that the session uses: nothing is loaded twice."""

    def __init__(self, rooms: Rooms, session: str, caller: DoorCaller) -> None:
        self.rooms = rooms
        self.caller = caller
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
    async def borrowed(self, role: Role) -> AsyncGenerator[list[LoadedOperation], None]:
        """The operations of a role: one, or for filters all of them in order.

        :raises Unavailable: there is none of a role that has one. Otherwise as :meth:`Engines.load`.
        """
        chosen = await self.chosen(role)
        if not chosen and not role.is_filter:
            raise Unavailable(f"no {role} is loaded in the session {self._session}", kind="operation_unloaded")
        voices = await self._voices() if role is Role.TTS else {}
        held: list[LoadedOperation] = []
        try:
            for one in chosen:
                held.append(await self._load(role, one, voices.get(one.id, {})))
            yield held
        finally:
            await release_all(held)

    async def _load(self, role: Role, one: Chosen, overlay: Mapping[str, Any]) -> LoadedOperation:
        house = self.rooms.house
        operation = house.engines.operation(one.id, role)
        wanted = {name: value for name, value in overlay.items() if name not in reserved(operation, overlay)}
        return await house.engines.load(one.id, role, {**house.binding_defaults(one.id), **wanted, **one.options})

    async def _voices(self) -> Mapping[str, Mapping[str, Any]]:
        """What the character wants of each voice."""
        state = await (await self.handle()).state()
        name = (state.get("personality") or {}).get("id")
        try:
            return self.rooms.house.personalities.get(str(name)).voice if name else {}
        except GreenroomError:
            return {}
