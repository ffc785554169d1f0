"""Wyoming's frames: a line of JSON, then as many bytes of JSON and of payload as the line says.

    {"type": "audio-chunk", "data_length": 44, "payload_length": 2048}\\n{"rate": 16000, ...}<2048 bytes>

The wyoming package's own reader takes any length that it is told and any JSON; this one has bounds.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from greenroom.errors import BadRequest, TooLarge, TooSlow

MAX_LINE_BYTES: Final = 64 * 1024
MAX_DATA_BYTES: Final = 1024 * 1024
MAX_PAYLOAD_BYTES: Final = 1024 * 1024
_FAILURES: Final = frozenset({"error", "not-handled"})
_VERSION: Final = "1.8.0"
"""of the protocol, as the package of that version speaks it"""


@dataclass(frozen=True, slots=True)
class Event:
    type: str
    data: Mapping[str, Any] = field(default_factory=dict)
    payload: bytes = b""

    def encoded(self) -> bytes:
        header: dict[str, Any] = {"type": self.type, "version": _VERSION}
        data = json.dumps(self.data, ensure_ascii=False).encode() if self.data else b""
        if data:
            header["data_length"] = len(data)
        if self.payload:
            header["payload_length"] = len(self.payload)
        return b"".join((json.dumps(header).encode(), b"\n", data, self.payload))


class Incoming:
    """:param idle_s: how long a client may be silent. :param part_s: how long one event may take to arrive."""

    def __init__(self, reader: asyncio.StreamReader, *, idle_s: float, part_s: float) -> None:
        self._reader = reader
        self._idle_s = idle_s
        self._part_s = part_s

    async def next(self) -> Event | None:
        """The next event; ``None`` when the client has gone, or has been silent for too long.

        :raises BadRequest: it is no event. :raises TooLarge, TooSlow: it is too long, or does not arrive.
        """
        first = await self._first_byte()
        if not first:
            return None
        try:
            async with asyncio.timeout(self._part_s):
                return await self._rest(first)
        except TimeoutError:
            raise TooSlow(f"an event did not arrive within {self._part_s:g} s") from None
        except asyncio.IncompleteReadError:
            return None

    async def _first_byte(self) -> bytes:
        try:
            async with asyncio.timeout(self._idle_s):
                return await self._reader.read(1)
        except TimeoutError:
            return b""

    async def _rest(self, first: bytes) -> Event:
        try:
            line = first if first == b"\n" else first + await self._reader.readuntil(b"\n")
        except asyncio.LimitOverrunError:
            raise TooLarge(f"the first line of an event has more than {MAX_LINE_BYTES} bytes") from None
        header = _object(line, "the first line of an event")
        kind = header.get("type")
        if not isinstance(kind, str) or not 0 < len(kind) <= 64:
            raise BadRequest("the first line of an event has no type")
        data = header.get("data")
        if data is None:
            data = {}
        elif not isinstance(data, dict):
            raise BadRequest(f"{kind}: data: wanted an object")
        size = _length(header, "data_length", MAX_DATA_BYTES, kind)
        if size:
            data = {**data, **_object(await self._reader.readexactly(size), f"{kind}: its data")}
        size = _length(header, "payload_length", MAX_PAYLOAD_BYTES, kind)
        return Event(kind, data, await self._reader.readexactly(size) if size else b"")


def _object(raw: bytes, what: str) -> dict[str, Any]:
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        raise BadRequest(f"{what} is no JSON") from None
    if not isinstance(found, dict):
        raise BadRequest(f"{what} is no JSON object")
    return found


def _length(header: Mapping[str, Any], name: str, limit: int, kind: str) -> int:
    value = header.get(name)
    if value is None:
        return 0
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise BadRequest(f"{kind}: {name}: wanted a number of bytes")
    if value > limit:
        raise TooLarge(f"{kind}: {name}: at most {limit} bytes are taken")
    return value


class Outgoing:
    """Events for one client, each whole.

    :param patience_s: how long it may leave its socket full.
    :param discreet: the sentence of a failure -> what may be told of it.
    """

    def __init__(
        self, writer: asyncio.StreamWriter, *, patience_s: float, discreet: Callable[[str], str] = str
    ) -> None:
        self._writer = writer
        self._patience_s = patience_s
        self._discreet = discreet
        self._ended = False
        if not self._has_gone:
            writer.transport.set_write_buffer_limits(high=128 * 1024)

    @property
    def _has_gone(self) -> bool:
        """uvloop's transport takes nothing then, and says so by errors that are no ``OSError``."""
        return self._writer.transport.is_closing()

    async def send(self, kind: str, data: Mapping[str, Any] | None = None, payload: bytes = b"") -> None:
        """:raises TooSlow: it does not read. :raises ConnectionError: it has gone, or nothing more was to be sent."""
        if self._ended or self._has_gone:
            raise ConnectionError("nothing more is sent to this client")
        data = data or {}
        if kind in _FAILURES and isinstance(text := data.get("text"), str):
            data = {**data, "text": self._discreet(text)}
        self._writer.write(Event(kind, data, payload).encoded())
        try:
            async with asyncio.timeout(self._patience_s):
                await self._writer.drain()
        except TimeoutError:
            self._writer.transport.abort()
            raise TooSlow("this client does not read what it asked for") from None

    def end(self) -> None:
        """Nothing more will be sent; reading goes on. :raises OSError: it has gone."""
        self._ended = True
        if self._has_gone:
            raise ConnectionError("this client has gone")
        if self._writer.can_write_eof():
            self._writer.write_eof()

    async def close(self, patience_s: float) -> None:
        """Let it have what was written, for so long; then the connection is dropped."""
        self._writer.close()
        try:
            async with asyncio.timeout(patience_s):
                await self._writer.wait_closed()
        except (TimeoutError, OSError) as error:
            error.__traceback__ = None  # the stream keeps it, and its frames the stream
            self._writer.transport.abort()
