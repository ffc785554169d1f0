"""A Socket.IO client that measures: websocket frames as they come off the socket, stamped when they are read.

It does as little as it can for each frame, since a hundred of them share one process, and what they cost delays what
they measure. Times are ``time.monotonic`` seconds.
"""

import asyncio
import json
import struct
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

_HANDSHAKE = (
    "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: Upgrade\r\n"
    "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
)
_TEXT, _BINARY, _CLOSE = 1, 2, 8
_ANSWER_S = 30.0


@dataclass(frozen=True, slots=True)
class Received:
    """One event. ``at``: when its last byte had been read. ``audio``: bytes of its attachment."""

    name: str
    data: dict[str, Any]
    at: float
    audio: int = 0


class Wire(asyncio.Protocol):
    """:param heard: takes each event at once; without it they wait in :attr:`events`."""

    def __init__(self, port: int, auth: Mapping[str, Any], heard: Callable[[Received], None] | None = None) -> None:
        self._port = port
        self._auth = auth
        self.events: asyncio.Queue[Received] = asyncio.Queue()
        self._heard = heard or self.events.put_nowait
        self._buffer = bytearray()
        self._upgraded = False
        self._transport: asyncio.Transport | None = None
        self._waiting: tuple[str, dict[str, Any]] | None = None
        self._acks: dict[int, asyncio.Future[tuple[Any, float]]] = {}
        self._next_ack = 0
        self._joined: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.closed = asyncio.Event()
        self.closed_at = 0.0

    @classmethod
    async def join(cls, port: int, auth: Mapping[str, Any], heard: Callable[[Received], None] | None = None) -> "Wire":
        """Connected, and joined to the session that ``auth`` names. :raises ConnectionError: refused."""
        loop = asyncio.get_running_loop()
        _, wire = await loop.create_connection(lambda: cls(port, auth, heard), "127.0.0.1", port)
        await asyncio.wait_for(wire._joined, _ANSWER_S)
        return wire

    # what the benchmarks use

    def emit(self, event: str, data: Mapping[str, Any]) -> float:
        """Send an event that nobody waits for. -> when it was given to the socket"""
        at = time.monotonic()
        self._send(f"42{json.dumps([event, data])}")
        return at

    async def call(self, event: str, data: Mapping[str, Any] | None = None) -> tuple[dict[str, Any], float]:
        """-> the acknowledgement, and when it came. :raises RuntimeError: it tells of a failure."""
        self._next_ack += 1
        answer: asyncio.Future[tuple[Any, float]] = asyncio.get_running_loop().create_future()
        self._acks[self._next_ack] = answer
        self._send(f"42{self._next_ack}{json.dumps([event] if data is None else [event, data])}")
        reply, at = await asyncio.wait_for(answer, _ANSWER_S)
        if not reply.get("success"):
            raise RuntimeError(f"{event} failed: {reply}")
        return reply, at

    async def until(self, name: str, timeout_s: float = _ANSWER_S, **wanted: Any) -> Received:
        """The next event of that name whose data has the wanted values; what comes before it is dropped."""
        async with asyncio.timeout(timeout_s):
            while True:
                event = await self.events.get()
                if event.name == name and all(event.data.get(key) == value for key, value in wanted.items()):
                    return event

    def stop_reading(self) -> None:
        """From now on the kernel's buffers fill, and then the server's."""
        if self._transport is not None:
            self._transport.pause_reading()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # the protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by class
        self._transport.write(_HANDSHAKE.format(port=self._port).encode())

    def connection_lost(self, error: Exception | None) -> None:
        self.closed_at = time.monotonic()
        self.closed.set()
        lost = ConnectionError("the server closed the connection")
        waiting: list[asyncio.Future[Any]] = [*self._acks.values(), self._joined]
        for answer in waiting:
            if not answer.done():
                answer.set_exception(lost)
                answer.exception()

    def data_received(self, data: bytes) -> None:
        at = time.monotonic()
        buffer = self._buffer
        buffer += data
        if not self._upgraded:
            end = buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            if not buffer.startswith(b"HTTP/1.1 101"):
                self._joined.set_exception(ConnectionError(buffer[:200].decode("latin-1")))
                return
            del buffer[: end + 4]
            self._upgraded = True
            self._send("40" + json.dumps(dict(self._auth)))
        start = 0
        available = len(buffer)
        while available - start >= 2:
            size = buffer[start + 1] & 127
            head = 2
            if size == 126:
                head = 4
                if available - start < head:
                    break
                (size,) = struct.unpack_from(">H", buffer, start + 2)
            elif size == 127:
                head = 10
                if available - start < head:
                    break
                (size,) = struct.unpack_from(">Q", buffer, start + 2)
            if available - start < head + size:
                break
            body = start + head
            self._frame(buffer[start] & 15, buffer, body, body + size, at)
            start = body + size
        if start:
            del buffer[:start]

    def _frame(self, opcode: int, buffer: bytearray, start: int, end: int, at: float) -> None:
        if opcode == _BINARY:
            if self._waiting is not None:
                (name, data), self._waiting = self._waiting, None
                self._heard(Received(name, data, at, end - start))
            return
        if opcode == _CLOSE and self._transport is not None:
            self._transport.close()
        if opcode != _TEXT:
            return
        text = buffer[start:end].decode()
        kind = text[:2]
        if kind == "42":
            name, data = json.loads(text[2:])
            self._heard(Received(name, data, at))
        elif kind == "45":
            name, data = json.loads(text[text.index("-") + 1 :])
            self._waiting = (name, data)
        elif kind == "43":
            bracket = text.index("[")
            answer = self._acks.pop(int(text[2:bracket]), None)
            if answer is not None and not answer.done():
                answer.set_result((json.loads(text[bracket:])[0], at))
        elif kind == "40" and not self._joined.done():
            self._joined.set_result(None)
        elif kind == "44" and not self._joined.done():
            self._joined.set_exception(ConnectionError(text))
        elif text == "2":
            self._send("3")

    def _send(self, text: str) -> None:
        """Masked with zeros: a mask hides nothing, and these cost nothing."""
        data = text.encode()
        size = len(data)
        if size < 126:
            head = bytes([0x81, 0x80 | size])
        elif size < 65536:
            head = bytes([0x81, 0xFE]) + struct.pack(">H", size)
        else:
            head = bytes([0x81, 0xFF]) + struct.pack(">Q", size)
        if self._transport is not None:
            self._transport.write(head + b"\0\0\0\0" + data)
