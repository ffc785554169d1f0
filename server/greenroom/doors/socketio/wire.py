"""Socket.IO packets: strings and attachments <-> events, with every bound that a hostile peer tests.

{"audio": b"..."}  -->  Body  -->  Encoded('51-["audio_chunk",{"audio":{"_placeholder":true,"num":0}}]', b"...")
'213["say",{"text":"hi"}]'  -->  Header(EVENT, ack_id=13, body='["say",...]')  -->  ("say", [{"text": "hi"}])
"""

import json
import math
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from greenroom.doors.socketio.transport import MESSAGE, Packet
from greenroom.errors import BadRequest, TooLarge

CONNECT, DISCONNECT, EVENT, ACK, CONNECT_ERROR, BINARY_EVENT, BINARY_ACK = range(7)

MIB: Final = 1024 * 1024
MAX_FRAME_BYTES: Final = 16 * MIB
MAX_ATTACHMENTS: Final = 4
MAX_EVENT_CHARS: Final = MIB
MAX_EVENT_NAME_CHARS: Final = 128
MAX_ARGUMENTS: Final = 8
MAX_NESTING: Final = 32
MAX_MEMBERS: Final = 1024
"""of one object"""
_MAX_INTEGER: Final = 2**64
_TEXT_FRAME: Final = 0x81
_BINARY_FRAME: Final = 0x82
_LARGER_EVENTS: Final[Mapping[str, int]] = {"context_add": MAX_FRAME_BYTES}
"""a recording may come as base64"""

_HEADER = re.compile(r"([0-6])(?:(\d{1,10})-)?(?:(/[^,]*),?)?(\d{0,15})", re.ASCII)
_HARMLESS: Final = frozenset({str, bool, type(None)})
_NAME = re.compile(r'\s*\[\s*"([^"\\]{1,128})"')


class Malformed(Exception):
    """A frame that is no Socket.IO packet at all."""


@dataclass(frozen=True, slots=True)
class Body:
    """JSON text, with placeholders where the attachments belong."""

    text: str
    attachments: tuple[bytes, ...] = ()


@dataclass(slots=True)
class Encoded:
    """One Socket.IO packet. What goes to websockets is the same for all clients that it goes to, and is made once; for
    polling (base64) each client gets its own packets, since an engine.io packet remembers the encoding that was asked
    of it first."""

    text: str
    attachments: tuple[bytes, ...] = ()
    size: int = field(init=False)
    _shared: tuple[Packet, ...] | None = field(init=False, default=None, repr=False, compare=False)
    _frames: tuple[bytes, ...] | None = field(init=False, default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.size = len(self.text) + sum(map(len, self.attachments))

    @property
    def shared(self) -> tuple[Packet, ...]:
        """engine.io's packets, for websockets alone."""
        if self._shared is None:
            self._shared = self.fresh()
            for packet in self._shared:
                packet.encode()  # so that no poll, however it came by it, can make it another encoding for all
        return self._shared

    @property
    def frames(self) -> tuple[bytes, ...]:
        """The same as websocket frames of a server, to be written one after the other."""
        if self._frames is None:
            text = f"{MESSAGE}{self.text}".encode()
            head = _frame_head(_TEXT_FRAME, len(text)) + text
            if not self.attachments:
                self._frames = (head,)
            else:
                frames = []
                for part in self.attachments:
                    frames += [head + _frame_head(_BINARY_FRAME, len(part)), part]
                    head = b""
                self._frames = tuple(frames)
        return self._frames

    def fresh(self) -> tuple[Packet, ...]:
        return (Packet(MESSAGE, self.text), *(Packet(MESSAGE, part) for part in self.attachments))


def _frame_head(kind: int, size: int) -> bytes:
    """Of an unmasked frame that is a whole message (RFC 6455, 5.2)."""
    if size < 126:
        return bytes((kind, size))
    if size < 1 << 16:
        return struct.pack("!BBH", kind, 126, size)
    return struct.pack("!BBQ", kind, 127, size)


class _Encoder:
    """One pass of the JSON encoder that moves binary data out into attachments."""

    def __init__(self) -> None:
        self.attachments: list[bytes] = []

    def default(self, value: Any) -> Any:
        if isinstance(value, bytes | bytearray | memoryview):
            self.attachments.append(bytes(value))
            return {"_placeholder": True, "num": len(self.attachments) - 1}
        if isinstance(value, Mapping):
            return dict(value)
        if isinstance(value, set | frozenset):
            return sorted(value, key=str)
        return str(value)


def encode_body(value: Any) -> Body:
    """Always succeeds for what a payload may hold: numbers that JSON does not know become null.

    Non-ASCII characters are escaped, so that the text stays valid whatever lone surrogates it holds.
    """
    encoder = _Encoder()
    try:
        text = json.JSONEncoder(separators=(",", ":"), allow_nan=False, default=encoder.default).encode(value)
    except (ValueError, TypeError):
        encoder = _Encoder()
        text = json.JSONEncoder(separators=(",", ":"), allow_nan=False, default=encoder.default).encode(_plain(value))
    return Body(text, tuple(encoder.attachments))


def _plain(value: Any, left: int = MAX_NESTING) -> Any:
    if left == 0:
        return None
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(item, left - 1) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item, left - 1) for item in value]
    return value


def event_packet(name: str, body: Body) -> Encoded:
    kind = f"{BINARY_EVENT}{len(body.attachments)}-" if body.attachments else str(EVENT)
    return Encoded(f'{kind}["{name}",{body.text}]', body.attachments)


def ack_packet(ack_id: int, body: Body) -> Encoded:
    kind = f"{BINARY_ACK}{len(body.attachments)}-" if body.attachments else str(ACK)
    return Encoded(f"{kind}{ack_id}[{body.text}]", body.attachments)


def connect_packet(client_id: str) -> Encoded:
    return Encoded(f"{CONNECT}{encode_body({'sid': client_id}).text}")


def refusal_packet(message: str, data: Mapping[str, Any], namespace: str = "/") -> Encoded:
    where = "" if namespace == "/" else f"{namespace[:100]},"
    return Encoded(f"{CONNECT_ERROR}{where}{encode_body({'message': message, 'data': data}).text}")


@dataclass(frozen=True, slots=True)
class Header:
    kind: int
    attachments: int
    namespace: str
    ack_id: int | None
    body: str
    """not yet parsed"""

    @property
    def event(self) -> str:
        """Name of the event as far as it can be seen without parsing; else empty."""
        found = _NAME.match(self.body)
        return found[1] if found else ""


def read_header(text: str) -> Header:
    """:raises Malformed: it is no Socket.IO packet."""
    found = _HEADER.match(text)
    if found is None:
        raise Malformed("no packet type")
    kind, count, namespace, ack_id = int(found[1]), found[2], found[3], found[4]
    binary = kind in (BINARY_EVENT, BINARY_ACK)
    if binary != (count is not None):
        raise Malformed("the number of attachments does not fit the packet type")
    return Header(
        kind,
        int(count or 0),
        (namespace or "/").partition("?")[0],
        int(ack_id) if ack_id else None,
        text[found.end() :],
    )


def check_size(header: Header) -> None:
    """:raises TooLarge: the text or the number of attachments is beyond what this event may have."""
    limit = _LARGER_EVENTS.get(header.event, MAX_EVENT_CHARS)
    if len(header.body) > limit:
        raise TooLarge(f"an event of {len(header.body)} characters; at most {limit} are taken")
    if header.attachments > MAX_ATTACHMENTS:
        raise TooLarge(f"{header.attachments} attachments; at most {MAX_ATTACHMENTS} are taken")


def parse_event(body: str, attachments: list[bytes] | None = None) -> tuple[str, list[Any]]:
    """Name and arguments. ``attachments``: of a binary event, all of them.

    :raises BadRequest: with what is wrong. :raises TooLarge: too deep, or too many members.
    """
    value = parse_json(body)
    if not isinstance(value, list) or not value or not isinstance(value[0], str):
        raise BadRequest("an event is a list that begins with its name")
    name, arguments = value[0], value[1:]
    if not name or len(name) > MAX_EVENT_NAME_CHARS:
        raise BadRequest(f"an event's name has 1 to {MAX_EVENT_NAME_CHARS} characters")
    if len(arguments) > MAX_ARGUMENTS:
        raise BadRequest(f"{len(arguments)} arguments; at most {MAX_ARGUMENTS} are taken")
    return name, _checked(arguments, attachments, MAX_NESTING)


def parse_json(text: str) -> Any:
    """:raises BadRequest: it is not JSON, or nested without end."""
    try:
        return json.loads(text, parse_constant=_no_constant)
    except RecursionError:
        raise TooLarge(f"nested deeper than {MAX_NESTING} levels") from None
    except ValueError:
        raise BadRequest("the data is not valid JSON") from None


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def _checked(value: Any, attachments: list[bytes] | None, left: int) -> Any:
    """The same value, with attachments in the places that name them."""
    if isinstance(value, list):
        if left == 0:
            raise TooLarge(f"nested deeper than {MAX_NESTING} levels")
        for index, item in enumerate(value):
            if type(item) not in _HARMLESS:
                value[index] = _checked(item, attachments, left - 1)
        return value
    if isinstance(value, dict):
        if left == 0:
            raise TooLarge(f"nested deeper than {MAX_NESTING} levels")
        if len(value) > MAX_MEMBERS:
            raise TooLarge(f"an object with {len(value)} members; at most {MAX_MEMBERS} are taken")
        if attachments is not None and value.get("_placeholder") is True:
            return _attachment(value, attachments)
        for key, item in value.items():
            if type(item) not in _HARMLESS:
                value[key] = _checked(item, attachments, left - 1)
        return value
    if isinstance(value, float) and not math.isfinite(value):
        raise BadRequest("a number is too large")
    if isinstance(value, int) and not -_MAX_INTEGER < value < _MAX_INTEGER:
        raise BadRequest("a number is too large")
    return value


def _attachment(placeholder: dict[str, Any], attachments: list[bytes]) -> bytes:
    number = placeholder.get("num")
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < len(attachments):
        raise BadRequest("the data names an attachment that was not sent")
    return attachments[number]
