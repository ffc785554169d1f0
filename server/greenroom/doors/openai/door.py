"""OpenAI's API over HTTP, under ``/v1``: each path to its endpoint, each failure in the shape that its clients know."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from starlette.requests import HTTPConnection
from starlette.routing import BaseRoute, Route

from greenroom.doors.bounds import Room
from greenroom.doors.door import Rooms, grant_of, told
from greenroom.doors.openai.admission import Admission
from greenroom.doors.openai.backends import Backends
from greenroom.doors.openai.completing import chat, complete
from greenroom.doors.openai.context import Context
from greenroom.doors.openai.embedding import embed
from greenroom.doors.openai.exchange import ClientLeft, Exchange, Receive, Scope, Send
from greenroom.doors.openai.failures import UnknownPath, WrongMethod, failure_of
from greenroom.doors.openai.hearing import transcribe, translate
from greenroom.doors.openai.models import ModelDirectory
from greenroom.doors.openai.speaking import speaking_models, speech, voices
from greenroom.doors.openai.voices import VoiceLists
from greenroom.errors import GreenroomError, Internal
from greenroom.protocol.grant import Grant

logger = logging.getLogger(__name__)

Endpoint = Callable[[Context, Exchange, Grant], Awaitable[None]]
_FORMS: Final = frozenset({"audio/transcriptions", "audio/translations"})
"""paths that take a form; others take JSON"""
_CLOSE_S: Final = 0.5


async def list_models(context: Context, exchange: Exchange, grant: Grant) -> None:
    exchange.watch()
    await exchange.json({"object": "list", "data": await context.models.listing(await context.session(grant))})


async def retrieve_model(context: Context, exchange: Exchange, grant: Grant) -> None:
    exchange.watch()
    name = exchange.path.removeprefix("models/")
    await exchange.json(await context.models.entry(await context.session(grant), name))


ENDPOINTS: Final[Mapping[str, Mapping[str, Endpoint]]] = {
    "models": {"GET": list_models},
    "chat/completions": {"POST": chat},
    "completions": {"POST": complete},
    "embeddings": {"POST": embed},
    "audio/speech": {"POST": speech},
    "audio/models": {"GET": speaking_models},
    "audio/voices": {"GET": voices},
    "audio/transcriptions": {"POST": transcribe},
    "audio/translations": {"POST": translate},
}
_ONE_MODEL: Final[Mapping[str, Endpoint]] = {"GET": retrieve_model}


class OpenAIDoor:
    """See :class:`greenroom.doors.door.Door`."""

    def __init__(self, rooms: Rooms) -> None:
        models = ModelDirectory(rooms.house)
        self._rooms = rooms
        self._context = Context(
            rooms,
            models,
            Backends(rooms.house, models),
            Admission(lambda: rooms.house.config.value.generation.max_parallel),
            VoiceLists(),
        )
        self._bodies = Room()
        self._running: dict[Exchange, asyncio.Task[None] | None] = {}

    def routes(self) -> Sequence[BaseRoute]:
        application = _Application(self)
        return [Route("/v1", application), Route("/v1/{path:path}", application)]

    @property
    def clients(self) -> int:
        """answers that are on their way"""
        return len(self._running)

    async def close(self) -> None:
        for exchange in list(self._running):
            exchange.stop()
        tasks = [task for task in self._running.values() if task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=_CLOSE_S)
        await self._context.backends.close()
        await self._context.models.close()

    async def refuse(self, error: GreenroomError, scope: Scope, receive: Receive, send: Send) -> None:
        await Exchange(scope, receive, send, self._bodies).fail(failure_of(error))

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(scope, receive, send, self._bodies)
        self._running[exchange] = asyncio.current_task()
        try:
            await exchange.run(self._answer(exchange))
        finally:
            del self._running[exchange]

    async def _answer(self, exchange: Exchange) -> None:
        try:
            grant = grant_of(self._rooms.guard, HTTPConnection(exchange.scope))
            await _endpoint(exchange)(self._context, exchange, grant)
        except ClientLeft:
            return
        except GreenroomError as error:
            if exchange.started:
                logger.warning("%s broke off: %s", exchange.request_id, error.code)
            # No name for what is told: where it is the error itself, this frame would hold it, and it this frame.
            await exchange.fail(failure_of(told(self._rooms, HTTPConnection(exchange.scope), error)))
        except Exception:  # the boundary of a request; logged, and answered as internal
            logger.exception("%s broke", exchange.request_id)
            broken = Internal(f"the server failed at this request; its log tells more under {exchange.request_id}")
            await exchange.fail(failure_of(broken))


class _Application:
    """The same, as what a route takes for an application that answers every method."""

    def __init__(self, door: OpenAIDoor) -> None:
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._door.serve(scope, receive, send)


def _endpoint(exchange: Exchange) -> Endpoint:
    """:raises UnknownPath, WrongMethod: with what there is. :raises WrongContent:"""
    path = exchange.path.rstrip("/")
    methods = ENDPOINTS.get(path)
    if methods is None and path.startswith("models/"):
        methods = _ONE_MODEL
    if methods is None:
        known = ", ".join(f"/v1/{name}" for name in ENDPOINTS)
        raise UnknownPath(f"there is no {exchange.method} /v1/{path[:200]}; there are {known}")
    if exchange.method not in methods:
        raise WrongMethod(
            f"/v1/{path[:200]} takes {', '.join(methods)}, not {exchange.method}", details={"allowed": list(methods)}
        )
    if exchange.method == "POST" and path not in _FORMS:
        exchange.require_json()
    return methods[exchange.method]
