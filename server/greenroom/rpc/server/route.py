"""An endpoint as a route of Starlette, matched on the raw path: an encoded slash is no slash."""

from typing import Any
from urllib.parse import quote

from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Match, NoMatchFound
from starlette.types import Receive, Scope, Send

from greenroom.rpc.address import RoutePattern
from greenroom.rpc.failures import ERROR_HEADER, CallRefused, header_of
from greenroom.rpc.server import http, socket
from greenroom.rpc.server.calling import Method

PARAMS = "greenroom_path"


class EndpointRoute(BaseRoute):
    """A slash too many at the end is answered with 307 to the URL without it."""

    def __init__(self, method: Method, address: str) -> None:
        self._method = method
        self._pattern = RoutePattern.of(method.model, address)
        self._is_websocket = method.model.protocol.is_websocket
        self.path = "/" + address
        self.name = method.model.name

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        kind = scope["type"]
        if kind != ("websocket" if self._is_websocket else "http"):
            return Match.NONE, {}
        raw = raw_path(scope)
        found: Any
        try:
            found = self._pattern.match(raw)
            if found is None and raw.endswith("/") and self._pattern.match(raw[:-1]) is not None:
                found = (
                    self._pattern.match(raw[:-1]) if self._is_websocket else RedirectResponse(_slashless(scope, raw))
                )
        except CallRefused as error:
            found = PlainTextResponse(error.message, error.status, {ERROR_HEADER: header_of(error)})
        if found is None:
            return Match.NONE, {}
        verb = self._method.model.protocol.http_method
        return (Match.FULL if verb is None or scope["method"] == verb.value else Match.PARTIAL), {PARAMS: found}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = scope[PARAMS]
        if self._is_websocket:
            if isinstance(found, Response):
                await receive()
                await send({"type": "websocket.close", "code": 1008})
                return
            await socket.converse(self._method, found, scope, receive, send)
            return
        verb = self._method.model.protocol.http_method
        if verb is not None and scope["method"] != verb.value:
            found = JSONResponse({"detail": "Method Not Allowed"}, 405, {"allow": verb.value})
        if isinstance(found, Response):
            await found(scope, receive, send)
        else:
            await http.answer(self._method, found, scope, receive, send)

    def url_path_for(self, name: str, /, **path_params: Any) -> Any:
        raise NoMatchFound(name, path_params)


def raw_path(scope: Scope) -> str:
    """Below the place where the application is mounted."""
    raw = scope.get("raw_path")
    path: str = raw.decode("latin-1") if raw else quote(scope["path"])
    return path.removeprefix(quote(scope.get("root_path", "").rstrip("/")))


def _slashless(scope: Scope, raw: str) -> str:
    query = scope["query_string"].decode("latin-1")
    return quote(scope.get("root_path", "")) + raw[:-1] + (f"?{query}" if query else "")
