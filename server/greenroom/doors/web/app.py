"""Plain HTTP: what a browser, a load balancer and Prometheus ask for; and the whole server as one ASGI application."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from greenroom import __version__
from greenroom.doors.asgi import AsgiApp, Receive, Scope, Send, answer_json, route_path
from greenroom.doors.proxies import Proxies
from greenroom.doors.safety import Guard
from greenroom.doors.web.assets import DEFAULT_LOGO, LOGO_NAMES, Assets, find_file, media_type
from greenroom.doors.web.failures import NOTHING_HERE, error_handlers
from greenroom.doors.web.guarded import Guarded
from greenroom.doors.web.landing import landing_page

__all__ = [
    "AsgiApp",
    "Guarded",
    "Health",
    "Receive",
    "Scope",
    "Send",
    "create_asgi_app",
    "create_web_app",
    "uvicorn_settings",
]

SOCKET_PATH: Final = "/socket.io"
_WEBSOCKET_BYTES: Final = 17 * 1024 * 1024
"""a little more than the door takes, so that the door can say why it refuses"""

Health = Callable[[], Awaitable[Mapping[str, Any]]]
"""What ``/health`` says beside ``status`` and ``version``: uptime, sessions, bindings"""


def create_web_app(guard: Guard, assets: Assets, registry: CollectorRegistry, health: Health) -> AsgiApp:
    """:param registry: what ``/metrics`` shows."""

    async def get_health(request: Request) -> Response:
        return JSONResponse({"status": "ok", "version": __version__, **await health()})

    async def get_metrics(request: Request) -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    async def get_landing(request: Request) -> Response:
        root = str(request.scope.get("root_path", ""))
        return HTMLResponse(landing_page(f"{request.url.scheme}://{request.url.netloc}", root))

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
    app = Starlette(routes=routes, exception_handlers=error_handlers())
    return Guarded(app, guard)


class Entrance(Protocol):
    """A door that has routes of its own; see :class:`greenroom.doors.table.Entrance`."""

    def serves(self, kind: str, path: str) -> bool: ...

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...


def create_asgi_app(
    socket: AsgiApp | None,
    web: AsgiApp | None,
    entrances: Sequence[Entrance] = (),
    proxies: Proxies | None = None,
) -> AsgiApp:
    """The doors of one address: Socket.IO under its path, each other door where its paths are, the rest by HTTP.

    ``None``: that door is not open here. Start and stop are the caller's.
    """
    seen_through = proxies or Proxies()

    def chosen(kind: str, path: str) -> AsgiApp | None:
        if path.rstrip("/") == SOCKET_PATH:
            return socket
        found = next((entrance for entrance in entrances if entrance.serves(kind, path)), None)
        return found or (web if kind == "http" else None)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        scope = seen_through.as_sent(scope)
        found = chosen(scope["type"], route_path(scope))
        if found is not None:
            await found(scope, receive, send)
        else:
            await answer_json(scope, receive, send, 404, NOTHING_HERE)

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
        "ws": "greenroom.doors.broadcast.deflate:Protocol",
        "ws_max_size": _WEBSOCKET_BYTES,
        "ws_per_message_deflate": False,  # but at jaison's websocket
        "ws_ping_interval": None,  # engine.io has its own
        "lifespan": "off",
        "server_header": False,
        "access_log": False,
        "proxy_headers": False,  # who is believed stands in the configuration
    }
