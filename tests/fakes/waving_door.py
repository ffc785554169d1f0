"""A door with one of everything: JSON, a stream, an echo, and a word at the end."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from greenroom.doors.asgi import Receive, Scope, Send, answer_json
from greenroom.doors.door import Rooms
from greenroom.doors.table import DoorSpec
from greenroom.errors import GreenroomError

TABLE = {
    "openai": (DoorSpec("fakes.waving_door:WavingDoor", http=("/v1",)),),
    "jaison": (
        DoorSpec(
            "fakes.waving_door:WavingDoor", http=("/api", "/openapi.json"), light=frozenset({("DELETE", "/api/wave")})
        ),
        DoorSpec("fakes.waving_door:WavingDoor", websockets=("/",)),
    ),
}


class WavingDoor:
    def __init__(self, rooms: Rooms) -> None:
        self.rooms = rooms
        self._sockets: set[WebSocket] = set()

    def routes(self) -> Sequence[BaseRoute]:
        return [
            Route("/v1/wave", self._wave, methods=["GET", "POST"]),
            Route("/v1/stream", self._stream),
            Route("/v1/broken", self._broken),
            Route("/api/wave", self._wave, methods=["GET", "POST", "DELETE"]),
            WebSocketRoute("/", self._echo),
        ]

    @property
    def clients(self) -> int:
        return len(self._sockets)

    async def close(self) -> None:
        for socket in list(self._sockets):
            await socket.close(1001, "closing")

    async def refuse(self, error: GreenroomError, scope: Scope, receive: Receive, send: Send) -> None:
        await answer_json(scope, receive, send, 429, {"waved off": error.message})

    async def _wave(self, request: Request) -> Response:
        client = request.client
        return JSONResponse(
            {"url": str(request.url), "client": client.host if client else "", "body": str(await request.body())}
        )

    async def _broken(self, request: Request) -> Response:
        raise ZeroDivisionError

    async def _stream(self, request: Request) -> Response:
        async def pieces() -> AsyncIterator[str]:
            for number in range(3):
                yield f"data: {number}\n\n"
                await asyncio.sleep(0)

        return StreamingResponse(pieces(), media_type="text/event-stream")

    async def _echo(self, socket: WebSocket) -> None:
        await socket.accept()
        self._sockets.add(socket)
        try:
            await socket.send_json({"url": str(socket.url), "client": socket.client.host if socket.client else ""})
            while True:
                await socket.send_text(await socket.receive_text())
        except WebSocketDisconnect:
            return
        finally:
            self._sockets.discard(socket)
