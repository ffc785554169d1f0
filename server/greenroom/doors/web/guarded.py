"""Where a request comes from is checked before any door's endpoint sees it, and every answer gets the same headers."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final

from greenroom.doors.asgi import AsgiApp, Message, Receive, Scope, Send, answer_json
from greenroom.doors.safety import Guard, Source
from greenroom.errors import Forbidden

_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"SAMEORIGIN"),
    (b"content-security-policy", b"default-src 'none'; img-src 'self'; style-src 'unsafe-inline'; sandbox"),
)
_MAX_ASKED_BYTES: Final = 1024
_OWN_PREFLIGHTS: Final = "/api/"
"""jaison's interface answers them itself: its methods, its text"""
Refuse = Callable[[Forbidden, Scope, Receive, Send], Awaitable[None]]
"""answers a request in the words that a door's clients know"""

_OF_A_BODY: Final = frozenset({b"content-length", b"content-type", b"allow"})


class Guarded:
    """Checks Host always, Origin where something may change or a websocket opens, answers preflights of allowed
    origins, and adds the headers that every answer has."""

    def __init__(self, app: AsgiApp, guard: Guard, refuse: Refuse | None = None) -> None:
        """:param refuse: ``None``: as the server does where it has no door's words."""
        self._app = app
        self._guard = guard
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        source = Source.of(scope)
        lasting = scope["type"] == "websocket"
        headers = _HEADERS if lasting or not self._guard.allows_origin(source) else (*_HEADERS, *_shared_with(source))
        try:
            if not lasting and scope["method"] in _SAFE_METHODS:
                self._guard.check_host(source)
            else:
                self._guard.check(source)
        except Forbidden as error:
            if self._refuse is None or lasting:
                await answer_json(scope, receive, send, 403, error.payload(), *headers)
            else:
                await self._refuse(error, scope, receive, _adding(send, headers))
            return
        if lasting:
            await self._app(scope, receive, send)
            return
        asked = _preflight(scope) if headers is not _HEADERS and not scope["path"].startswith(_OWN_PREFLIGHTS) else None
        if asked is not None:
            send = _or_allow(send, asked)

        await self._app(scope, receive, _adding(send, headers))


def _adding(send: Send, headers: Iterable[tuple[bytes, bytes]]) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            present = {name for name, _ in message.get("headers", ())}
            extra = [header for header in headers if header[0] not in present]
            message = {**message, "headers": [*message.get("headers", ()), *extra]}
        await send(message)

    return sending


def _shared_with(source: Source) -> tuple[tuple[bytes, bytes], ...]:
    """A page of this origin may read the answer."""
    return ((b"access-control-allow-origin", str(source.origin).encode("latin-1")), (b"vary", b"Origin"))


def _preflight(scope: Mapping[str, Any]) -> list[tuple[bytes, bytes]] | None:
    """What a browser asks for before it sends the request itself; ``None`` if this is no such question."""
    headers = dict(scope["headers"])
    method = headers.get(b"access-control-request-method")
    if scope["method"] != "OPTIONS" or method is None:
        return None
    asked = headers.get(b"access-control-request-headers", b"")
    allowed = [
        (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
        (b"access-control-max-age", b"600"),
    ]
    if asked and len(asked) <= _MAX_ASKED_BYTES:
        allowed.append((b"access-control-allow-headers", asked))
    if headers.get(b"access-control-request-private-network") == b"true":
        allowed.append((b"access-control-allow-private-network", b"true"))
    return allowed


def _or_allow(send: Send, allowed: list[tuple[bytes, bytes]]) -> Send:
    """A door that knows nothing of preflights refuses them: then this answers in its place."""
    replaced = False

    async def sending(message: Message) -> None:
        nonlocal replaced
        if message["type"] == "http.response.start" and message["status"] >= 400:
            replaced = True
            kept = [header for header in message["headers"] if header[0] not in _OF_A_BODY]
            await send({**message, "status": 204, "headers": [*kept, *allowed]})
            await send({"type": "http.response.body", "body": b""})
        elif not replaced:
            await send(message)

    return sending
