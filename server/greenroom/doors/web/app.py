"""Plain HTTP: what a browser, a load balancer and Prometheus ask for."""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from greenroom import __version__
from greenroom.doors.safety import Guard, Source
from greenroom.doors.web.assets import DEFAULT_LOGO, LOGO_NAMES, Assets, find_file, media_type
from greenroom.doors.web.landing import landing_page
from greenroom.errors import Forbidden

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]

SOCKET_PATH: Final = "/socket.io"
_WEBSOCKET_BYTES: Final = 17 * 1024 * 1024
"""a little more than the door takes, so that the door can say why it refuses"""
_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"SAMEORIGIN"),
    (b"content-security-policy", b"default-src 'none'; img-src 'self'; style-src 'unsafe-inline'; sandbox"),
)

Health = Callable[[], Awaitable[Mapping[str, Any]]]
"""What ``/health`` says beside ``status`` and ``version``: uptime, sessions, bindings"""


class Guarded:
    """Checks Host always, Origin where something may change, and adds the headers that every answer has."""

    def __init__(self, app: AsgiApp, guard: Guard) -> None:
        self._app = app
        self._guard = guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name for name, _ in message.get("headers", ())}
                extra = [header for header in _HEADERS if header[0] not in present]
                message = {**message, "headers": [*message.get("headers", ()), *extra]}
            await send(message)

        source = Source.of(scope)
        try:
            if scope["method"] in _SAFE_METHODS:
                self._guard.check_host(source)
            else:
                self._guard.check(source)
        except Forbidden as error:
            await JSONResponse(error.payload(), 403)(scope, receive, sending)
            return
        await self._app(scope, receive, sending)


def _failure(code: str, message: str, status: int) -> JSONResponse:
    return JSONResponse({"success": False, "error": message, "code": code}, status)


async def _http_error(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    if status == 404:
        return _failure("not_found", "there is nothing here", 404)
    if status == 405:
        answer = _failure("bad_request", f"{request.method} is not served here", 405)
        if isinstance(error, HTTPException) and error.headers:
            answer.headers.update(error.headers)
        return answer
    return _failure("bad_request", "this request is not served", status)


async def _internal_error(request: Request, error: Exception) -> Response:
    return _failure("internal", "something went wrong here; the log says what", 500)


def create_web_app(guard: Guard, assets: Assets, registry: CollectorRegistry, health: Health) -> AsgiApp:
    """:param registry: what ``/metrics`` shows."""

    async def get_health(request: Request) -> Response:
        return JSONResponse({"status": "ok", "version": __version__, **await health()})

    async def get_metrics(request: Request) -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    async def get_landing(request: Request) -> Response:
        return HTMLResponse(landing_page(f"{request.url.scheme}://{request.url.netloc}"))

    async def get_personality_asset(request: Request) -> Response:
        part = request.path_params
        folder = assets.personality_folder(part["language"], part["category"], part["name"])
        found = find_file(folder / "assets", part["file"]) if folder is not None else None
        if found is None:
            raise HTTPException(404)
        return FileResponse(found, media_type=media_type(found), headers={"cache-control": "max-age=60"})

    async def get_binding_logo(request: Request) -> Response:
        folder = assets.binding_folder(request.path_params["binding"])
        if folder is None:
            raise HTTPException(404)
        found = next((file for name in LOGO_NAMES if (file := find_file(folder, name)) is not None), DEFAULT_LOGO)
        return FileResponse(found, media_type=media_type(found), headers={"cache-control": "max-age=60"})

    async def get_default_model(request: Request) -> Response:
        return FileResponse(DEFAULT_LOGO, media_type="image/png", headers={"cache-control": "max-age=3600"})

    routes = [
        Route("/", get_landing),
        Route("/health", get_health),
        Route("/metrics", get_metrics),
        Route("/personalities/{language}/{category}/{name}/assets/{file}", get_personality_asset),
        Route("/bindings/{binding}/logo.png", get_binding_logo),
        Route("/images/default_model.png", get_default_model),
    ]
    app = Starlette(routes=routes, exception_handlers={HTTPException: _http_error, 500: _internal_error})
    return Guarded(app, guard)


def create_asgi_app(socket: AsgiApp, web: AsgiApp) -> AsgiApp:
    """The whole server: Socket.IO under its path, the rest by HTTP. Start and stop are the caller's."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["path"].rstrip("/") == SOCKET_PATH:
            await socket(scope, receive, send)
        elif scope["type"] == "http":
            await web(scope, receive, send)
        else:
            await receive()
            await send({"type": "websocket.close", "code": 1008})

    return app


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


def uvicorn_settings() -> dict[str, Any]:
    """What uvicorn needs to be told for this application, beside address and logging."""
    return {
        "ws": "auto",
        "ws_max_size": _WEBSOCKET_BYTES,
        "ws_per_message_deflate": False,
        "ws_ping_interval": None,  # engine.io has its own
        "lifespan": "off",
        "server_header": False,
        "access_log": False,
    }
