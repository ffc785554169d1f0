"""The operations of one session: one for each role, ordered lists for the two filter roles, each loaded on demand.

A slot holds what was chosen; the operation behind it is opened on first use, or at once when a client loads it. Users
hold an operation while they use it, so replacing one never pulls it from under a running turn.
"""

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, TypeVar

from greenroom.bindings.engines import Engines, LoadedOperation
from greenroom.bindings.guard import guarded
from greenroom.bindings.roles import AnyOperation
from greenroom.errors import BadRequest, BindingFailed, Conflict, GreenroomError, NotFound, Unavailable
from greenroom.session.access import reserved
from greenroom.values import Role

_VARIANTS_KEPT = 4

Kind = TypeVar("Kind", bound=AnyOperation)


@dataclass(frozen=True, slots=True)
class OperationSpec:
    """What was chosen for a role. ``options``: those given, without any default."""

    role: Role
    id: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def entry(self) -> dict[str, Any]:
        return {"role": str(self.role), "id": self.id, "config": dict(self.options)}


class _Slot:
    def __init__(self, spec: OperationSpec) -> None:
        self.spec = spec
        self.problem = ""
        self._variants: dict[str, LoadedOperation] = {}
        self._opening = asyncio.Lock()
        self._closed = False

    async def hold(self, engines: Engines, options: Mapping[str, Any]) -> LoadedOperation:
        """One more user of the operation with exactly these options, opened if need be."""
        key = json.dumps(options, sort_keys=True, default=str)
        async with self._opening:
            loaded = self._variants.pop(key, None)
            if loaded is None:
                try:
                    with guarded(self.spec.id):
                        loaded = await engines.load(self.spec.id, self.spec.role, options)
                except GreenroomError as error:
                    self.problem = error.message
                    raise
                self.problem = ""
            self._variants[key] = loaded
            held = loaded.hold()
            try:
                if self._closed:
                    await self.close()
                while len(self._variants) > _VARIANTS_KEPT:
                    await self._variants.pop(next(iter(self._variants))).release()
            except BaseException:
                await held.release()
                raise
            return held

    async def close(self) -> None:
        self._closed = True
        variants, self._variants = list(self._variants.values()), {}
        await release_all(variants)


class Operations:
    """:param defaults: ``defaults(binding_id)`` gives the owner's options for that binding, the weakest of all."""

    def __init__(self, engines: Engines, defaults: Callable[[str], Mapping[str, Any]]) -> None:
        self._engines = engines
        self._defaults = defaults
        self._single: dict[Role, _Slot] = {}
        self._filters: dict[Role, list[_Slot]] = {Role.FILTER_TEXT: [], Role.FILTER_AUDIO: []}
        self._closed = False

    # what there is

    def specs(self) -> list[OperationSpec]:
        return [slot.spec for slot in self._slots()]

    def spec(self, role: Role) -> OperationSpec | None:
        slot = self._single.get(role)
        return slot.spec if slot else None

    def ids(self) -> dict[str, Any]:
        """``{role: id or None}``, and a list of ids for each filter role."""
        return {
            str(role): [slot.spec.id for slot in self._filters[role]]
            if role.is_filter
            else (self._single[role].spec.id if role in self._single else None)
            for role in Role
        }

    def listing(self) -> list[dict[str, Any]]:
        return [{**slot.spec.entry(), **({"error": slot.problem} if slot.problem else {})} for slot in self._slots()]

    def _slots(self) -> Iterable[_Slot]:
        yield from self._single.values()
        for slots in self._filters.values():
            yield from slots

    # changing

    def plan(self, specs: Iterable[OperationSpec]) -> None:
        """Fill an empty set of operations without opening any; a filter named twice counts once."""
        for spec in specs:
            if not spec.role.is_filter:
                self._single[spec.role] = _Slot(spec)
            elif all(slot.spec.id != spec.id for slot in self._filters[spec.role]):
                self._filters[spec.role].append(_Slot(spec))

    async def load(self, spec: OperationSpec) -> None:
        """Open, and only then replace what was there; a filter is appended.

        :raises Conflict: for a filter that is loaded already. Otherwise as :meth:`Engines.load`.
        """
        if spec.role.is_filter and any(slot.spec.id == spec.id for slot in self._filters[spec.role]):
            raise Conflict(f"Can not add already active {spec.role.name} {spec.id}", kind="operation_duplicate")
        slot = await self._opened(spec)
        if spec.role.is_filter:
            self._filters[spec.role].append(slot)
        else:
            await self._replace(spec.role, slot)

    async def unload(self, role: Role, operation_id: str | None) -> OperationSpec:
        """:raises NotFound: when there is none, or another one. :raises BadRequest: for a filter without an id."""
        slot = self._find(role, operation_id)
        if role.is_filter:
            self._filters[role].remove(slot)
        else:
            del self._single[role]
        await slot.close()
        return slot.spec

    async def configure(self, role: Role, operation_id: str | None, settings: Mapping[str, Any]) -> None:
        """Open with the changed settings before the old ones go: a refused setting changes nothing."""
        old = self._find(role, operation_id)
        slot = await self._opened(OperationSpec(role, old.spec.id, {**old.spec.options, **settings}))
        if role.is_filter:
            position = self._filters[role].index(old)
            self._filters[role][position] = slot
            await old.close()
        else:
            await self._replace(role, slot)

    async def replace_all(self, specs: Sequence[OperationSpec]) -> None:
        """Close everything and plan these; each is opened here so that a bad one shows.

        :raises GreenroomError: the first that did not open; the earlier ones stay.
        """
        await self._clear()
        for spec in specs:
            await self.load(spec)

    async def close(self) -> None:
        """Let go of all of them, for good."""
        self._closed = True
        await self._clear()

    async def _clear(self) -> None:
        slots = list(self._slots())
        self._single.clear()
        for filters in self._filters.values():
            filters.clear()
        async with AsyncExitStack() as stack:
            for slot in slots:
                stack.push_async_callback(slot.close)

    async def _opened(self, spec: OperationSpec) -> _Slot:
        slot = _Slot(spec)
        held = await slot.hold(self._engines, self._options(spec, {}))
        await held.release()
        if self._closed:
            await slot.close()
            raise Unavailable("the session is closed")
        return slot

    async def _replace(self, role: Role, slot: _Slot) -> None:
        old = self._single.get(role)
        self._single[role] = slot
        if old is not None:
            await old.close()

    def _find(self, role: Role, operation_id: str | None) -> _Slot:
        if role.is_filter:
            if operation_id is None:
                raise BadRequest(f"role {role} is a list: name the id of the filter that is meant")
            for slot in self._filters[role]:
                if slot.spec.id == operation_id:
                    return slot
            raise NotFound(f"No operation {role.name} with id {operation_id} loaded", kind="operation_unloaded")
        slot_or_none = self._single.get(role)
        if slot_or_none is None or (operation_id is not None and slot_or_none.spec.id != operation_id):
            what = f"with id {operation_id} " if operation_id else ""
            raise NotFound(f"No operation of type {role.name} {what}loaded", kind="operation_unloaded")
        return slot_or_none

    # using

    def _options(self, spec: OperationSpec, overlay: Mapping[str, Any]) -> dict[str, Any]:
        return {**self._defaults(spec.id), **overlay, **spec.options}

    def has(self, role: Role) -> bool:
        return role in self._single

    async def hold(
        self,
        role: Role,
        overlays: Mapping[str, Mapping[str, Any]] | None = None,
        changes: Mapping[str, Any] | None = None,
    ) -> LoadedOperation:
        """The operation of a role, to be released by the caller.

        ``overlays``: by binding id, options that a character wants; what was configured for the session wins over them,
        and what only the owner may set is not taken from a character. ``changes``: options of this one use, which win
        over all; whoever passes them has checked what the client may set.

        :raises Unavailable: when the role has none. Otherwise as :meth:`Engines.load`.
        """
        slot = self._single.get(role)
        if slot is None:
            raise Unavailable(
                f"No operation of type {role.name} loaded; load one with operation_load", kind="operation_unloaded"
            )
        overlay = (overlays or {}).get(slot.spec.id)
        if overlay:
            operation = self._engines.operation(slot.spec.id, role)
            overlay = {name: value for name, value in overlay.items() if name not in reserved(operation, overlay)}
        return await slot.hold(self._engines, {**self._options(slot.spec, overlay or {}), **(changes or {})})

    async def hold_filters(self, role: Role, operation_id: str | None = None) -> list[LoadedOperation]:
        """Every filter of a role in order, or the one named; each to be released by the caller."""
        slots = [self._find(role, operation_id)] if operation_id else list(self._filters[role])
        held: list[LoadedOperation] = []
        try:
            for slot in slots:
                held.append(await slot.hold(self._engines, self._options(slot.spec, {})))
        except BaseException:
            await release_all(held)
            raise
        return held

    async def hold_unlisted(self, role: Role, operation_id: str) -> LoadedOperation:
        """An operation that the session has not loaded, for one use."""
        spec = OperationSpec(role, operation_id)
        with guarded(operation_id):
            return await self._engines.load(operation_id, role, self._options(spec, {}))


async def release_all(held: Iterable[LoadedOperation]) -> None:
    """Every one, the first first, also where this is cancelled on the way.

    As contextlib's exit stack would; but what is raised in one leaves its frame and the traceback holding each other.
    """
    left = iter(held)
    loaded = next(left, None)
    if loaded is not None:
        try:
            await loaded.release()
        finally:
            await release_all(left)


def operation_as(kind: type[Kind], loaded: LoadedOperation) -> Kind:
    """:raises BindingFailed: for a binding whose class for a role does not have that role's interface."""
    if not isinstance(loaded.operation, kind):
        raise BindingFailed(f"{loaded.binding_id}: its {loaded.role} is no {kind.__name__}")
    return loaded.operation
