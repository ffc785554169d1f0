"""Who may call: a shared secret where there is one, and no web page that merely runs on the same machine.

A page of a stranger can make a browser send requests to localhost, and can rebind its own name to 127.0.0.1. The first
carries an ``Origin`` that is not this server, the second a ``Host`` that is not this server's.
"""

import hmac
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
PROBES: Final = frozenset({"/", "/heartbeat"})
"""say nothing but that the server is there; whoever waits for it need not know the secret"""


def is_loopback(host: str) -> bool:
    return host.strip("[]") in LOOPBACK


class Guard:
    """:param hosts: names that a ``Host`` may have; empty: any, as on a unix socket or behind a secret.
    :param origins: other web pages that may call, as ``https://example.org``.
    """

    def __init__(self, app: ASGIApp, secret: str, hosts: Iterable[str], origins: Iterable[str]) -> None:
        self._app = app
        self._secret = f"Bearer {secret}".encode() if secret else b""
        self._hosts = frozenset(hosts)
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            refused = self._refused(scope)
            if refused is not None:
                if scope["type"] == "websocket":
                    await receive()
                await _refuse(refused, scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _refused(self, scope: Scope) -> tuple[int, str] | None:
        headers = Headers(scope=scope)
        host = _host_name(headers.get("host", ""))
        if self._hosts and host not in self._hosts:
            return 403, f"this server is not called {host[:100]!r}"
        origin = headers.get("origin")
        if origin is not None and origin not in self._origins and urlsplit(origin).netloc != headers.get("host"):
            return 403, f"pages of {origin[:100]!r} may not call this server"
        if self._secret and scope["path"] not in PROBES:
            given = headers.get("authorization", "").encode("latin-1")
            if not hmac.compare_digest(given, self._secret):
                return 401, "this server needs its secret as a bearer token"
        return None


async def _refuse(refused: tuple[int, str], scope: Scope, receive: Receive, send: Send) -> None:
    status, text = refused
    if scope["type"] == "websocket" and "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008})
        return
    headers = {"www-authenticate": "Bearer"} if status == 401 else {}
    if scope["type"] == "websocket":
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "websocket.http.response.start", "status": status, "headers": raw})
        await send({"type": "websocket.http.response.body", "body": text.encode()})
        return
    await PlainTextResponse(text, status, headers)(scope, receive, send)


def _host_name(host: str) -> str:
    """Of ``Host: name:port``."""
    if host.startswith("["):
        return host.partition("]")[0].strip("[]").lower()
    return host.partition(":")[0].lower()
