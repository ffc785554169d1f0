"""REST under ``/api``: from a request to a command, and from its acknowledgement to jaison's envelope."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from greenroom.doors.door import DoorCaller, Rooms, grant_of, told
from greenroom.doors.rest.endpoints import CANCEL, ENDPOINTS, Endpoint
from greenroom.doors.rest.given import given_config
from greenroom.doors.rest.reading import Bodies
from greenroom.doors.rest.wire import failure, reply
from greenroom.doors.safety import Source
from greenroom.doors.socketio.dispatch import internal_error
from greenroom.errors import BadRequest, Conflict, Forbidden, GreenroomError, NotFound, Unavailable
from greenroom.protocol.commands import Command, ConfigGet, ListOperations
from greenroom.protocol.grant import Grant
from greenroom.values import Access

PREFIX: Final = "/api"
SESSION_HEADER: Final = "x-greenroom-session"
_NO_JOB: Final = "Job ID does not exist or already finished"
_CLOSE_S: Final = 0.3


@dataclass(frozen=True, slots=True)
class _Asked:
    """One request whose token has been looked at."""

    request: Request
    grant: Grant
    session: str


_Handler = Callable[[_Asked], Awaitable[Response]]


class RestDoor:
    """Every answer is in the envelope, also where a path or a method is unknown. Its catch-all route is the last."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        self._bodies = Bodies()
        self._working: set[asyncio.Task[Any]] = set()
        self._closing = False
        self._openapi: dict[str, Any] | None = None
        self._paths: dict[str, dict[str, _Handler]] = {
            "operations": {"GET": self._operations},
            "config": {"GET": self._config},
            "job": {"DELETE": self._cancel},
        }
        for endpoint in ENDPOINTS:
            self._paths.setdefault(endpoint.path, {})[endpoint.method] = partial(self._job, endpoint)

    def routes(self) -> Sequence[BaseRoute]:
        known = [Route(f"{PREFIX}/{path}", _Served(self, handlers)) for path, handlers in self._paths.items()]
        return [
            *known,
            Route("/openapi.json", _Served(self, {"GET": self._describe}, public=True)),
            Route(PREFIX, _Served(self, {})),
            Route(f"{PREFIX}/{{path:path}}", _Served(self, {})),
        ]

    @property
    def clients(self) -> int:
        return 0

    async def close(self) -> None:
        self._closing = True
        if self._working:
            await asyncio.wait(self._working, timeout=_CLOSE_S)
        for task in self._working:
            task.cancel()

    # one request

    async def refuse(self, error: GreenroomError, scope: Scope, receive: Receive, send: Send) -> None:
        response = failure(error)
        self._let_pages_read(response, Source.of(scope))
        await response(scope, receive, send)

    async def answer(self, request: Request, handlers: Mapping[str, _Handler], *, public: bool) -> Response:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 -- a server runs each request in a task
        self._working.add(task)
        source = Source.of(request.scope)
        try:
            response = await self._answer(request, handlers, source, public=public)
        except GreenroomError as error:
            response = failure(told(self._rooms, request, error))
        except ClientDisconnect:
            response = failure(BadRequest("the request ended too early"))
        except Exception:  # noqa: BLE001 -- the boundary of one event
            response = failure(internal_error(f"{request.method} {request.scope.get('path', '')[:80]}"))
        finally:
            self._working.discard(task)
        self._let_pages_read(response, source)
        return response

    async def _answer(
        self, request: Request, handlers: Mapping[str, _Handler], source: Source, *, public: bool
    ) -> Response:
        if not handlers:
            raise NotFound("there is no such endpoint; /openapi.json lists those there are")
        method = "GET" if request.method == "HEAD" else request.method
        if method == "OPTIONS":
            return self._preflight(request, handlers, source)
        if method not in handlers:
            allowed = _methods(handlers)
            response = failure(BadRequest(f"{request.method} is not served here; {allowed} is"), 405)
            response.headers["allow"] = allowed
            return response
        if self._closing:
            raise Unavailable("the server is shutting down")
        return await handlers[method](self._asked(request, public=public))

    def _asked(self, request: Request, *, public: bool) -> _Asked:
        guard, default = self._rooms.guard, self._rooms.default_session
        if public:
            return _Asked(request, Grant(Access.VIEWER), default)
        grant = grant_of(guard, request)
        wanted = request.query_params.get("session") or request.headers.get(SESSION_HEADER)
        name = wanted or grant.session_or(default)
        grant.require_session(name)
        return _Asked(request, grant, name)

    def _preflight(self, request: Request, handlers: Mapping[str, _Handler], source: Source) -> Response:
        """What a browser asks before it lets a page of another origin send JSON."""
        if source.origin is not None and not self._rooms.guard.allows_origin(source):
            raise Forbidden(
                f"pages of {source.origin[:100]!r} may not use this server; "
                "if they should, add it to server.allowed_origins in the configuration"
            )
        headers = "Content-Type"
        if self._rooms.guard.has_tokens:
            headers += ", Authorization, X-API-Key, X-Greenroom-Session"
        answer = PlainTextResponse(
            "Success",
            headers={
                "access-control-allow-methods": _methods(handlers),
                "access-control-allow-headers": headers,
                "access-control-max-age": "600",
            },
        )
        if request.headers.get("access-control-request-private-network") == "true":
            answer.headers["access-control-allow-private-network"] = "true"
        return answer

    def _let_pages_read(self, response: Response, source: Source) -> None:
        """For allowed origins only. Who sends no Origin is no page of another one, and is told what jaison tells."""
        response.headers["vary"] = "Origin"
        if source.origin is None:
            if not source.cross_site:  # a picture or a script of such a page asks without an Origin
                response.headers["access-control-allow-origin"] = "*"
        elif self._rooms.guard.allows_origin(source):
            response.headers["access-control-allow-origin"] = source.origin

    # what is asked

    async def _execute(self, asked: _Asked, command: Command) -> Mapping[str, Any]:
        command.permit(asked.grant)
        handle = await self._rooms.sessions.get(asked.session)
        caller = DoorCaller(label="rest", grant=asked.grant)
        try:
            return await handle.execute(command, caller)
        finally:
            handle.forget(caller.client_id)

    async def _job(self, endpoint: Endpoint, asked: _Asked) -> Response:
        command = endpoint.command(await self._bodies.read(asked.request))
        done = await self._execute(asked, command)
        return reply(endpoint.message, {"job_id": done["job_id"]})

    async def _operations(self, asked: _Asked) -> Response:
        loaded = (await self._execute(asked, ListOperations()))["operations"]
        named = {role: "unknown" if found is None else found for role, found in loaded.items()}
        return reply("Loaded operations gotten", named)

    async def _config(self, asked: _Asked) -> Response:
        await self._execute(asked, ConfigGet())  # who may see it is decided there
        return reply("Current config gotten", given_config(self._rooms.house.config))

    async def _cancel(self, asked: _Asked) -> Response:
        data = await self._bodies.read(asked.request)
        if not data.get("job_id"):
            raise BadRequest("Request missing job_id")
        command = CANCEL.command(data)
        try:
            await self._execute(asked, command)
        except (NotFound, Conflict):
            return failure(BadRequest(_NO_JOB))
        return reply("Job flagged for cancellation", None)

    async def _describe(self, asked: _Asked) -> Response:
        if self._openapi is None:
            from greenroom.doors.rest.openapi import openapi

            self._openapi = openapi(tokens=self._rooms.guard.has_tokens)
        below = str(asked.request.scope.get("root_path", "")).rstrip("/")
        return JSONResponse({**self._openapi, "servers": [{"url": f"{below}{PREFIX}"}]})


class _Served:
    """One path, for every method: an unknown one is answered in the envelope as well."""

    def __init__(self, door: RestDoor, handlers: Mapping[str, _Handler], *, public: bool = False) -> None:
        self._door = door
        self._handlers = handlers
        self._public = public

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._door.answer(Request(scope, receive), self._handlers, public=self._public)
        await response(scope, receive, send)


def _methods(handlers: Mapping[str, object]) -> str:
    order = ("GET", "POST", "PUT", "DELETE")
    return ", ".join(name for name in order if name in handlers)
