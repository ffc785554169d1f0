"""Engines are shared and counted: a hundred sessions with the same model hold one."""

import asyncio
import logging
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import ValidationError

from greenroom.bindings.discovery import BindingShelf, FoundBinding
from greenroom.bindings.roles import AnyOperation, Engine, Options, Place
from greenroom.errors import BadRequest, BindingFailed, GreenroomError, Unavailable
from greenroom.values import Role

logger = logging.getLogger(__name__)

EngineKey = tuple[str, type[AnyOperation] | str, Hashable]


@dataclass(slots=True)
class _Held:
    opening: asyncio.Task[Engine]
    users: int = 0


class PlaceMaker(Protocol):
    """Says where a binding runs; built by the composition root, which knows the folders and the secrets."""

    def place(self, found: FoundBinding) -> Place: ...


def parse_options(operation: type[AnyOperation], raw: Mapping[str, Any], name: str) -> Options:
    """:raises BadRequest: naming the option, what it wanted, and the options there are."""
    try:
        return operation.Options.model_validate(dict(raw))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "options"
        known = ", ".join(operation.Options.model_fields) or "none"
        raise BadRequest(
            f"{name}: option {where}: {first['msg']}; its options: {known}",
            details={
                "field": where,
                "errors": [{"field": ".".join(map(str, e["loc"])), "message": e["msg"]} for e in error.errors()],
            },
        ) from error


class LoadedOperation:
    """An operation in use, with what it was made from. Close it exactly once; closing twice is harmless."""

    def __init__(
        self,
        binding_id: str,
        operation: AnyOperation,
        raw_options: Mapping[str, Any],
        key: EngineKey,
        engines: "Engines",
    ) -> None:
        self.binding_id = binding_id
        self.operation = operation
        self.raw_options = dict(raw_options)
        """the options as given, without the defaults: what is stored and shown"""
        self._key = key
        self._engines = engines
        self._users = 1

    @property
    def role(self) -> Role:
        return self.operation.role

    def hold(self) -> "LoadedOperation":
        """Another user: a running turn keeps its snapshot although the session selects something else."""
        self._users += 1
        return self

    async def release(self) -> None:
        self._users -= 1
        if self._users == 0:
            try:
                await self.operation.close()
            except (Exception, SystemExit):  # the boundary to a binding's own code
                logger.exception("closing an operation of %s failed", self.binding_id)
            finally:
                await self._engines.release(self._key)


class Engines:
    """Opens operations; the same engine serves all whose binding and ``engine_key`` are equal."""

    def __init__(self, shelf: BindingShelf, places: PlaceMaker) -> None:
        self._shelf = shelf
        self._places = places
        self._held: dict[EngineKey, _Held] = {}
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def open_count(self) -> int:
        return len(self._held)

    def open_keys(self, found: FoundBinding) -> list[Hashable]:
        """The ``engine_key`` of each engine of a binding that is open, or being opened."""
        return [key[2] for key in self._held if key[0] == str(found.folder)]

    def place(self, found: FoundBinding) -> Place:
        return self._places.place(found)

    def operation(self, binding_id: str, role: Role) -> type[AnyOperation]:
        """:raises NotFound, Unavailable: as :meth:`load` does."""
        return self._shelf.get(binding_id).operation(role)

    async def load(self, binding_id: str, role: Role, raw_options: Mapping[str, Any]) -> LoadedOperation:
        """:raises NotFound, BadRequest, Unavailable, BindingFailed: each with a sentence that says what to do."""
        found = self._shelf.get(binding_id)
        if found.status == "missing_packages":
            raise Unavailable(found.problem)
        if found.elsewhere is not None and not found.loaded:  # its process may have to tell what it offers
            await asyncio.to_thread(found.load)
        operation_type = found.operation(role)
        options = parse_options(operation_type, raw_options, binding_id)
        place = self._places.place(found)
        opener = getattr(operation_type.open_engine, "__func__", operation_type.open_engine)
        key: EngineKey = (str(found.folder), opener.__qualname__, operation_type.engine_key(options))
        engine = await self._acquire(key, operation_type, options, place)
        try:
            operation = operation_type(engine, options)
        except BaseException:
            await self.release(key)
            raise
        return LoadedOperation(binding_id, operation, raw_options, key, self)

    async def _acquire(self, key: EngineKey, operation: type[AnyOperation], options: Options, place: Place) -> Engine:
        held = self._held.get(key)
        if held is None:
            opening = asyncio.get_running_loop().create_task(
                _open(operation, options, place), name=f"open {place.binding_id}"
            )
            held = self._held[key] = _Held(opening)
        held.users += 1
        try:
            return await asyncio.shield(held.opening)
        except BaseException:
            await self.release(key)
            raise

    async def release(self, key: EngineKey) -> None:
        held = self._held.get(key)
        if held is None:  # the server has closed every engine already
            return
        held.users -= 1
        if held.users > 0:
            return
        del self._held[key]
        closing = asyncio.get_running_loop().create_task(_close(held), name=f"close {key[0]}")
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        # Whoever was the last to leave may be cancelled; the engine is closed all the same.
        await asyncio.shield(closing)

    async def close(self) -> None:
        held, self._held = list(self._held.values()), {}
        for one in held:
            await _close(one)
        await asyncio.gather(*self._closing)


async def _open(operation: type[AnyOperation], options: Options, place: Place) -> Engine:
    try:
        return await operation.open_engine(options, place)
    except GreenroomError:
        raise
    except (Exception, SystemExit) as error:
        logger.exception("opening %s failed", place.binding_id)
        raise BindingFailed(f"{place.binding_id} could not be loaded: {type(error).__name__}: {error}") from error


async def _close(held: _Held) -> None:
    if not held.opening.done():
        held.opening.cancel()
    results = await asyncio.gather(held.opening, return_exceptions=True)
    if isinstance(results[0], Engine):
        try:
            await results[0].close()
        except (Exception, SystemExit):  # the boundary to a binding's own code
            logger.exception("closing an engine failed")
