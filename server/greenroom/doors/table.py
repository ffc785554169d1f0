"""The doors by name, and how one is brought in: its module is imported when its first request comes.

    GET /v1/models --> Entrance("openai") --import, make--> OpenAIDoor(rooms).routes() --> Starlette

A start that waited for every protocol would wait for what most servers never speak. How often a client asks is counted
here, before any door's own code runs; the door only says no in its own words.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import Final, cast

from starlette.applications import Starlette
from starlette.requests import HTTPConnection

from greenroom.doors.asgi import AsgiApp, Receive, Scope, Send, answer_json, route_path
from greenroom.doors.door import Door, Rooms, count_request
from greenroom.doors.rates import TooMany
from greenroom.doors.web.failures import error_handlers
from greenroom.doors.web.guarded import Guarded
from greenroom.errors import GreenroomError, Unavailable

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DoorSpec:
    """Where a door's class is, made with ``Rooms``, and what comes to it."""

    target: str
    """``module:Class``"""
    http: tuple[str, ...] = ()
    """paths, with all that lies below each"""
    websockets: tuple[str, ...] = ()
    """paths, exactly"""
    light: frozenset[tuple[str, str]] = frozenset()
    """method and path of requests that count less than others"""
    own_words: bool = False
    """its clients understand failures in their own shape alone, those from before the door, too"""


DOORS: Final[Mapping[str, tuple[DoorSpec, ...]]] = MappingProxyType(
    {
        "jaison": (
            DoorSpec(
                "greenroom.doors.rest.door:RestDoor",
                http=("/api", "/openapi.json"),
                # jaison's Discord bot sends it for every packet of every microphone: 50 a second for each who speaks
                light=frozenset({("DELETE", "/api/job")}),
            ),
            DoorSpec("greenroom.doors.broadcast.door:BroadcastDoor", websockets=("/",)),
        ),
        "openai": (DoorSpec("greenroom.doors.openai.door:OpenAIDoor", http=("/v1",), own_words=True),),
    }
)
"""Those that have routes of their own; ``socketio`` and ``web`` are there from the start."""


class Entrance:
    """One door, brought in when it is first knocked at."""

    def __init__(self, name: str, spec: DoorSpec, rooms: Rooms) -> None:
        self.name = name
        self._spec = spec
        self._rooms = rooms
        self._opening = asyncio.Lock()
        self._opened: tuple[Door, AsgiApp] | None = None
        self._guarded = Guarded(self._serve, rooms.guard, self._refuse if spec.own_words else None)
        self._closed = False

    def serves(self, kind: str, path: str) -> bool:
        """:param kind: ``http`` or ``websocket``."""
        if kind == "websocket":
            return path in self._spec.websockets
        return any(path == prefix or path.startswith(f"{prefix}/") for prefix in self._spec.http)

    @property
    def clients(self) -> int:
        return self._opened[0].clients if self._opened is not None else 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._guarded(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            door, app = self._opened or await self._open()
        except Unavailable as error:
            await answer_json(scope, receive, send, 503, error.payload())
            return
        try:
            light = (scope.get("method"), route_path(scope)) in self._spec.light
            count_request(self._rooms, self.name, HTTPConnection(scope), light=light)
        except TooMany as error:
            await door.refuse(error, scope, receive, send)
            return
        await app(scope, receive, send)

    async def _refuse(self, error: GreenroomError, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            door, _ = self._opened or await self._open()
        except Unavailable:
            await answer_json(scope, receive, send, 403, error.payload())
            return
        await door.refuse(error, scope, receive, send)

    async def _open(self) -> tuple[Door, AsgiApp]:
        async with self._opening:
            if self._closed:
                raise Unavailable("the server is shutting down")
            if self._opened is None:
                module, _, name = self._spec.target.partition(":")
                # Reading and compiling modules takes tens of milliseconds: beside the event loop.
                made = getattr(await asyncio.to_thread(import_module, module), name)
                door = cast(Door, made(self._rooms))
                self._opened = door, Starlette(routes=list(door.routes()), exception_handlers=error_handlers())
                logger.debug("the door %s is open", self._spec.target)
            return self._opened

    async def close(self) -> None:
        self._closed = True
        if self._opened is not None:
            await self._opened[0].close()


def entrances(names: Iterable[str], rooms: Rooms, table: Mapping[str, Sequence[DoorSpec]] = DOORS) -> list[Entrance]:
    """Of those names that the table has."""
    return [Entrance(name, spec, rooms) for name in names for spec in table.get(name, ())]
