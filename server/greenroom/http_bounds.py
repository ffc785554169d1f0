"""HTTP connections as uvicorn serves them, with the bounds that it leaves to a proxy in front of it.

    the head of a request     64 KiB, 256 fields, and 30 s to arrive; so long may a connection do nothing, too
    requests in line          16 behind the one that is answered
    connections               as many as the server has descriptors for

Without them, a stranger without any token fills the memory with one endless header, or takes every descriptor.
"""

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES: Final = 64 * 1024
MAX_FIELDS: Final = 256
HEAD_S: Final = 30.0
MAX_IN_LINE: Final = 16


class _TooMuch(ValueError):
    """The parser turns it into its own error, and uvicorn that into status 400."""


class BoundedHttp(HttpToolsProtocol):
    max_connections = 10_000
    head_s = HEAD_S

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        self._in_head = True
        self._fields = 0
        self._held_bytes = 0
        """since something was last complete: a head, a piece of a body, a message"""
        self._moved = False
        self._late: asyncio.TimerHandle | None = None
        if len(self.connections) > self.max_connections:
            self.transport.abort()
            return
        self._await_request()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._moved = False
        super().data_received(data)
        if self.parser is None or self.transport.is_closing() or self.transport.get_protocol() is not self:
            return
        self._held_bytes = 0 if self._moved else self._held_bytes + len(data)
        if self._held_bytes > MAX_HEAD_BYTES:
            self._refuse()
        elif len(self.pipeline) > MAX_IN_LINE:
            self.transport.abort()
        elif not self._is_answering:
            self._await_request()

    def handle_websocket_upgrade(self) -> None:
        super().handle_websocket_upgrade()
        self.parser = None  # type: ignore[assignment]  # it holds this one, of which the connection knows no more

    @property
    def _is_answering(self) -> bool:
        return not self._in_head and self.cycle is not None and not self.cycle.response_complete

    def _refuse(self) -> None:
        if self._in_head and (self.cycle is None or self.cycle.response_complete):
            self.send_400_response("The head of this request is too large.")
        else:
            self.transport.abort()

    # waiting

    def _await_request(self) -> None:
        """Unless uvicorn's own, shorter clock for idle connections runs, or ours already does."""
        if self._late is None and self.timeout_keep_alive_task is None:
            self._late = self.loop.call_later(self.head_s, self._drop)

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _drop(self) -> None:
        self._late = None
        if self._is_answering or self.transport.get_protocol() is not self:
            return
        self.transport.abort()

    # the parser

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        self._fields = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields += 1
        if self._fields > MAX_FIELDS:
            raise _TooMuch
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._moved = True
        self._stop_waiting()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._moved = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._moved = True
        super().on_message_complete()


def bounded_http(max_connections: int) -> type[Any]:
    """A protocol for uvicorn's ``http`` setting. :param max_connections: at once, of one server."""
    return type("BoundedHttp", (BoundedHttp,), {"max_connections": max_connections})
