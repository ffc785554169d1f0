"""ASGI as the doors use it: its types, the path that a request means, and answers given without a framework."""

import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]

_DENIAL = "websocket.http.response"


def route_path(scope: Mapping[str, Any]) -> str:
    """The path below the server's own root: ``/api/response``, wherever a reverse proxy puts it."""
    root = str(scope.get("root_path", ""))
    path = str(scope["path"])
    return path[len(root) :] if root and path.startswith(f"{root}/") else path


async def answer_json(
    scope: Scope, receive: Receive, send: Send, status: int, body: Mapping[str, Any], *headers: tuple[bytes, bytes]
) -> None:
    """To a request, or instead of a websocket's handshake."""
    encoded = json.dumps(body, ensure_ascii=False).encode()
    start = "http.response"
    if scope["type"] == "websocket":
        await receive()
        if _DENIAL not in (scope.get("extensions") or {}):
            await send({"type": "websocket.close", "code": 1008, "reason": ""})
            return
        start = _DENIAL
    length = str(len(encoded)).encode()
    fields = [(b"content-type", b"application/json"), (b"content-length", length), *headers]
    await send({"type": f"{start}.start", "status": status, "headers": fields})
    await send({"type": f"{start}.body", "body": b"" if scope.get("method") == "HEAD" else encoded})
