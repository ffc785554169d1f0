"""The operations behind this door's requests: those of the session, or of a binding that no session has loaded, which
then stays open for a while, since the next request is likely to ask for it again.
"""

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from greenroom.bindings.engines import LoadedOperation
from greenroom.bindings.roles import AnyOperation, TextToText
from greenroom.doors.openai.failures import unsupported
from greenroom.doors.openai.models import ModelDirectory, Target, binding_options
from greenroom.errors import Unavailable
from greenroom.session.access import check_options
from greenroom.session.house import House
from greenroom.session.operations import Operations, OperationSpec
from greenroom.session.session import Session
from greenroom.values import Access, Role

_KEPT = 4
_KEPT_S = 600.0
_SWEEP_S = 30.0
_MORE = "extra_body"


@dataclass(slots=True)
class _Kept:
    operations: Operations
    used_at: float


class Backends:
    def __init__(self, house: House, models: ModelDirectory) -> None:
        self._house = house
        self._models = models
        self._kept: OrderedDict[tuple[str, Role], _Kept] = OrderedDict()
        self._sweeper: asyncio.Task[None] | None = None
        self._closed = False

    async def hold(
        self,
        session: Session,
        role: Role,
        target: Target,
        access: Access,
        changes: Mapping[str, Any],
        *,
        formatted: bool = False,
        voices: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> LoadedOperation:
        """To be released by the caller.

        ``changes``: options that the client asks for; those that the binding does not have are left out. ``formatted``:
        the answer is to keep to a format. ``voices``: by binding, what a character wants, weaker than what the
        session's owner chose.

        :raises ModelNotFound, Unavailable, BadRequest, Forbidden: each with what to do.
        """
        own = session.operations.spec(role)
        if target.binding:
            await self._models.check(session, target, role)
        elif own is None:
            raise Unavailable(
                f"the session {session.name} has no operation of the role {role}; load one, or name a binding as model",
                kind="operation_unloaded",
            )
        binding_id = target.binding or (own.id if own else "")
        operation = await self._operation(binding_id, role)
        if formatted and not (issubclass(operation, TextToText) and operation.keeps_formats):
            raise unsupported("response_format", f"{binding_id} cannot be held to a format")
        wanted = {name: value for name, value in changes.items() if name in operation.Options.model_fields}
        if target.model:
            wanted["model"] = target.model
        members = _beyond(operation, changes)
        wanted = {name: value for name, value in wanted.items() if name not in members}
        check_options(operation, wanted, access, binding_id)
        if members:
            configured = binding_options(session, binding_id, role).get(_MORE)
            wanted[_MORE] = {**(configured if isinstance(configured, Mapping) else {}), **members}
        if own is not None and own.id == binding_id:
            return await session.operations.hold(role, voices, wanted)
        return await self._operations(binding_id, role).hold(role, voices, wanted)

    async def _operation(self, binding_id: str, role: Role) -> type[AnyOperation]:
        found = self._house.bindings.get(binding_id)
        return found.operation(role) if found.loaded else await asyncio.to_thread(found.operation, role)

    def _operations(self, binding_id: str, role: Role) -> Operations:
        if self._closed:
            raise Unavailable("the server is shutting down")
        place = (binding_id, role)
        kept = self._kept.pop(place, None)
        if kept is None:
            operations = Operations(self._house.engines, self._house.binding_defaults)
            operations.plan([OperationSpec(role, binding_id)])
            kept = _Kept(operations, 0.0)
        kept.used_at = time.monotonic()
        self._kept[place] = kept
        self._sweeper = self._sweeper or asyncio.get_running_loop().create_task(self._sweep(), name="sweep bare models")
        return kept.operations

    async def _sweep(self) -> None:
        """What nobody has asked for lately is closed; who still uses it keeps it until then."""
        while True:
            await asyncio.sleep(_SWEEP_S)
            now = time.monotonic()
            for place, kept in list(self._kept.items()):
                if len(self._kept) > _KEPT or now - kept.used_at > _KEPT_S:
                    del self._kept[place]
                    await kept.operations.close()

    async def close(self) -> None:
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sweeper
        kept, self._kept = list(self._kept.values()), OrderedDict()
        for one in kept:
            await one.operations.close()


def _beyond(operation: type[AnyOperation], changes: Mapping[str, Any]) -> dict[str, Any]:
    """What a backend that speaks this API may well understand although the binding's option has closer bounds, as the
    penalties of jaison have: clients' own controls go from -2 to 2."""
    fields = operation.Options.model_fields
    if _MORE not in fields:
        return {}
    return {name: value for name, value in changes.items() if name in fields and not _fits(fields[name], value)}


def _fits(field: FieldInfo, value: Any) -> bool:
    form: Any = Annotated[field.annotation, field]
    try:
        TypeAdapter(form).validate_python(value)
    except ValidationError:
        return False
    return True
