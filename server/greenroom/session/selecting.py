"""The desk for choosing binding, model and characters: applied at once to the turns that follow."""

from typing import Any

from greenroom.errors import BadRequest, Conflict, GreenroomError, NotFound
from greenroom.protocol.commands import (
    ActivatePersonality,
    AddPersonality,
    RemovePersonality,
    SelectBinding,
    SelectModel,
)
from greenroom.session.access import check_options
from greenroom.session.handle import Caller, Reply
from greenroom.session.models import check_model
from greenroom.session.operations import OperationSpec
from greenroom.session.session import Session
from greenroom.values import Role

_MAX_ON_CALL = 1000


class SelectingDesk:
    def __init__(self, session: Session) -> None:
        self._session = session
        session.handle(SelectBinding, self._binding)
        session.handle(SelectModel, self._model)
        session.handle(AddPersonality, self._add)
        session.handle(RemovePersonality, self._remove)
        session.handle(ActivatePersonality, self._activate)

    async def _binding(self, command: SelectBinding, caller: Caller) -> Reply:
        session = self._session
        found = session.house.bindings.get(command.binding_name)
        operation = found.operation(Role.T2T)
        options = dict(command.options or {})
        check_options(operation, options, caller.access, found.id)
        await session.operations.load(OperationSpec(Role.T2T, found.id, options))
        await session.changed(caller, binding=found.id, model=options.get("model"), operations=session.operations.ids())
        return {"success": True, "binding_name": found.id}

    async def _model(self, command: SelectModel, caller: Caller) -> Reply:
        session = self._session
        spec = session.operations.spec(Role.T2T)
        if spec is None:
            raise NotFound("Please select a binding first", kind="operation_unloaded")
        found = session.house.bindings.get(spec.id)
        if "model" not in found.operation(Role.T2T).Options.model_fields:
            raise BadRequest(f"binding {spec.id} has no models to choose from")
        options = {**session.house.binding_defaults(spec.id), **spec.options}
        model = await check_model(session.house, found, options, command.model_name)
        await session.operations.configure(Role.T2T, spec.id, {"model": model})
        await session.changed(caller, binding=spec.id, model=command.model_name)
        return {"success": True, "model_name": command.model_name}

    async def _add(self, command: AddPersonality, caller: Caller) -> Reply:
        session = self._session
        if len(session.personalities) >= _MAX_ON_CALL:
            raise Conflict(f"{_MAX_ON_CALL} personalities are on call; remove one first")
        personality = session.house.personalities.get(command.path)
        session.personalities.append(personality.id)
        await session.changed(caller, **self._on_call())
        return {"success": True, "name": personality.name, "id": len(session.personalities) - 1}

    async def _remove(self, command: RemovePersonality, caller: Caller) -> Reply:
        session = self._session
        index = self._index(command.id)
        removed = session.personalities.pop(index)
        if session.active > index or session.active >= len(session.personalities):
            session.active = max(0, session.active - 1)
        await session.changed(caller, **self._on_call())
        return {"success": True, "id": command.id, "name": removed}

    async def _activate(self, command: ActivatePersonality, caller: Caller) -> Reply:
        session = self._session
        index = self._index(command.id)
        personality = session.personality(session.personalities[index])
        session.active = index
        await session.changed(caller, personality={"id": personality.id, "name": personality.name}, **self._on_call())
        return {"success": True, "name": personality.name, "id": command.id}

    def _on_call(self) -> dict[str, Any]:
        return {"personalities": list(self._session.personalities), "active_personality": self._session.active}

    def _index(self, wanted: int | str) -> int:
        """An index, a numeric string, an id, or a name as it is shown. :raises NotFound: none of these fits."""
        session = self._session
        if isinstance(wanted, str) and wanted.isascii() and wanted.isdigit():
            wanted = int(wanted)
        if isinstance(wanted, int):
            if 0 <= wanted < len(session.personalities):
                return wanted
            raise NotFound("Personality ID not valid", details={"count": len(session.personalities)})
        if wanted in session.personalities:
            return session.personalities.index(wanted)
        for index, name in enumerate(session.personalities):
            try:
                if session.personality(name).name == wanted or name.rsplit("/", 1)[-1] == wanted:
                    return index
            except GreenroomError:
                continue
        raise NotFound(f"no personality {wanted[:80]!r} is on call in this session; add it with add_personality")
