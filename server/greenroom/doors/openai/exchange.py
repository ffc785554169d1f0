"""One HTTP request and its answer, straight on ASGI: every piece is sent the moment it is there, and a client that
leaves is noticed at once.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from secrets import token_hex
from typing import Any, Final
from urllib.parse import parse_qs

from greenroom.doors.bounds import Room, silence, too_silent
from greenroom.doors.openai.failures import Failure, WrongContent, failure_of
from greenroom.errors import BadRequest, GreenroomError, TooLarge, TooSlow, Unavailable

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

EVENT_STREAM: Final = "text/event-stream; charset=utf-8"
_JSON: Final = frozenset({"application/json", "application/x-www-form-urlencoded"})
_STALLED_S: Final = 60.0
"""a client that takes nothing for so long is let go"""
_LAST_WORD_S: Final = 0.2
"""how long a stream's end may take when the server stops"""


class ClientLeft(BadRequest):
    """In the middle of its request."""


class Exchange:
    """:param room: for what is read of its body, until it has been answered."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, room: Room | None = None) -> None:
        self.scope = scope
        self._room = room or Room()
        self._held_bytes = 0
        self.request_id = f"req_{token_hex(12)}"
        self.started = False
        self.ended = False
        self._receive = receive
        self._send = send
        self._headers = {
            "x-request-id": self.request_id,
            "access-control-expose-headers": "x-request-id, retry-after",
        }
        self._content_type = ""
        self._task: asyncio.Task[Any] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._left = False
        self._stopped = False

    @property
    def path(self) -> str:
        """Behind ``/v1/``."""
        return str(self.scope["path_params"].get("path", ""))

    @property
    def method(self) -> str:
        return str(self.scope["method"])

    def header(self, name: str) -> str:
        """The first of that name (in lower case); empty if there is none."""
        wanted = name.encode("latin-1")
        return next((value.decode("latin-1") for key, value in self.scope["headers"] if key == wanted), "")

    def query(self, name: str) -> str:
        """The last of that name; empty if there is none."""
        values = parse_qs(self.scope.get("query_string", b"").decode("latin-1"))
        return str(values.get(name, [""])[-1])

    # the request

    def require_json(self) -> None:
        """What says nothing of its body, or what curl says of any, may be JSON all the same.

        :raises WrongContent: it says that its body is something else.
        """
        kind = self.header("content-type").partition(";")[0].strip().lower()
        if kind and kind not in _JSON and not kind.endswith("+json"):
            raise WrongContent(f"the body must be application/json, not {kind[:100]}")

    async def body(self, limit: int) -> bytes:
        """:raises TooLarge: more than ``limit`` bytes. :raises ClientLeft, TooSlow: it does not come to its end.
        :raises Busy: no room.
        """
        announced = self.header("content-length")
        if announced.isascii() and announced.isdigit() and int(announced) > limit:
            raise _too_large(limit)
        pieces: list[bytes] = []
        size = 0
        while True:
            try:
                async with silence():
                    message = await self._receive()
            except TimeoutError:
                raise too_silent() from None
            if message["type"] == "http.disconnect":
                raise ClientLeft("the client left before its request had come")
            piece = message.get("body", b"")
            size += len(piece)
            self._held_bytes += len(piece)
            self._room.take(len(piece))
            if size > limit:
                raise _too_large(limit)
            pieces.append(piece)
            if not message.get("more_body"):
                return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    # the answer

    async def whole(
        self, content: bytes, content_type: str, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        head = {**(headers or {}), "content-type": content_type, "content-length": str(len(content))}
        self.ended = True
        await self._start(status, head)
        await self._send({"type": "http.response.body", "body": content})

    async def json(self, value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        await self.whole(json.dumps(value).encode("ascii"), "application/json", status, headers)

    def will_stream(self, content_type: str) -> None:
        """The status goes out with the first piece, so that what fails before it is told as a failure."""
        self._content_type = content_type

    async def write(self, piece: bytes) -> None:
        """:raises TooSlow: the client has taken nothing for a minute."""
        if not self.started:
            head = {"content-type": self._content_type, "cache-control": "no-cache", "x-accel-buffering": "no"}
            await self._start(200, head)
        try:
            async with asyncio.timeout(_STALLED_S):
                await self._send({"type": "http.response.body", "body": piece, "more_body": True})
        except TimeoutError:
            raise TooSlow(f"the client took nothing for {_STALLED_S:g} s") from None

    async def end(self, piece: bytes = b"") -> None:
        if not self.started:
            await self.write(piece)
            piece = b""
        self.ended = True
        await self._send({"type": "http.response.body", "body": piece})

    async def fail(self, failure: Failure) -> None:
        """As a status, or at the end of an event stream as an event.

        A stream of bytes has no way to tell of it: it stays without its end, so that nobody takes it for whole.
        """
        if self.ended:
            return
        if not self.started:
            await self.json(failure.body(), failure.status, failure.headers)
        elif self._content_type == EVENT_STREAM:
            await self.end(b"data: " + json.dumps(failure.body()).encode("ascii") + b"\n\n")

    async def _start(self, status: int, head: Mapping[str, str]) -> None:
        self.started = True
        headers = [(k.encode("latin-1"), v.encode("latin-1")) for k, v in (*self._headers.items(), *head.items())]
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    # who leaves

    async def run(self, work: Awaitable[None]) -> None:
        """Do the work, unless the client leaves (from :meth:`watch` on) or the server stops: then it is cancelled."""
        self._task = asyncio.current_task()
        try:
            await work
        except asyncio.CancelledError:
            if not (self._left or self._stopped) or self._task is None or self._task.uncancel():
                raise
            if self._stopped and not self._left:
                await self._last_word()
        finally:
            self._task = None
            self._room.give_back(self._held_bytes)
            self._held_bytes = 0
            # A cancelled task keeps its traceback, and that this exchange: forgotten here, or they hold each other.
            watching, self._watching = self._watching, None
            if watching is not None:
                watching.cancel()

    def watch(self) -> None:
        """The request has been read: what comes now is the end of the connection."""
        self._watching = asyncio.get_running_loop().create_task(self._until_gone())
        self._watching.add_done_callback(self._gone)

    async def _until_gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

    def _gone(self, watching: asyncio.Task[None]) -> None:
        if watching.cancelled() or watching.exception() is not None:
            return
        if not self.ended and self._task is not None and not self._stopped:
            self._left = True
            self._task.cancel()

    def stop(self) -> None:
        """The server stops: a stream is told so."""
        if self._task is not None and not self.ended and not self._left and not self._stopped:
            self._stopped = True
            self._task.cancel()

    async def _last_word(self) -> None:
        stopping = Unavailable("the server is shutting down; it may come back in a moment")
        try:
            async with asyncio.timeout(_LAST_WORD_S):
                await self.fail(failure_of(stopping))
        except TimeoutError:
            return


def _too_large(limit: int) -> GreenroomError:
    return TooLarge(f"the request is larger than {limit} bytes, the most that is taken here")
