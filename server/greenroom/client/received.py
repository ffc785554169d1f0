"""What arrives, typed: wire name and payload -> an event of :mod:`greenroom.protocol.events` in its envelope."""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

from greenroom.protocol.events import (
    AudioChunk,
    AudioDropped,
    Event,
    JobEvent,
    Sentence,
    TextChunk,
    all_events,
)
from greenroom.values import Audio, ChunkType

_ENVELOPE = frozenset({"session", "seq", "request_id", "n"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Missed(Event):
    """Made by the client: these numbers never came and the server no longer has them. Both ends included."""

    from_seq: int
    to_seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown(JobEvent):
    """An event that this version of the client has no type for, or whose members it cannot read."""

    wire_name: str
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Received:
    """One event as it came.

    ``seq`` counts the session's events; ``None`` for those that went to this client alone, which have ``request_id``.
    """

    event: Event
    session: str | None = None
    seq: int | None = None
    request_id: str | None = None

    @property
    def name(self) -> str:
        return self.event.wire_name if isinstance(self.event, Unknown) else self.event.name

    @property
    def job_id(self) -> str | None:
        return self.event.job_id if isinstance(self.event, JobEvent) else None

    @property
    def text(self) -> str:
        """The piece of the answer that this event brings, else empty; joined they are the answer."""
        if isinstance(self.event, TextChunk) and self.event.type == ChunkType.CHUNK:
            return self.event.chunk
        return ""

    @property
    def audio(self) -> bytes:
        """The piece of the voice that this event brings, else empty: whole frames of little-endian PCM."""
        return self.voice.pcm if self.voice is not None else b""

    @property
    def voice(self) -> Audio | None:
        """The same with its format; ``None`` where the event brings no PCM."""
        if isinstance(self.event, AudioChunk) and self.event.format == "pcm_s16le" and self.event.audio:
            return Audio(self.event.audio, self.event.sr, self.event.sw, self.event.ch)
        return None


@dataclass(frozen=True, slots=True)
class _Shape:
    type: type[Event]
    names: frozenset[str]
    required: frozenset[str]


def _shape(event: type[Event]) -> _Shape:
    members = [item for item in fields(event) if item.name != "extras"]
    required = {item.name for item in members if item.default is MISSING and item.default_factory is MISSING}
    return _Shape(event, frozenset(item.name for item in members), frozenset(required))


_SHAPES: Mapping[str, _Shape] = {name: _shape(event) for name, event in all_events().items()}


def _event(name: str, data: Mapping[str, Any]) -> Event:
    shape = _SHAPES.get(name)
    if shape is None or not shape.required <= data.keys():
        job_id = data.get("job_id")
        return Unknown(wire_name=name, data=data, job_id=job_id if isinstance(job_id, str) else None)
    members: dict[str, Any] = {key: value for key, value in data.items() if key in shape.names}
    if shape.type is Sentence:
        members["extras"] = {key: value for key, value in data.items() if key not in shape.names | _ENVELOPE}
    return shape.type(**members)


def decode(name: str, data: object) -> Received:
    """Never raises: members that are not known are left out, what cannot be read becomes :class:`Unknown`."""
    members: Mapping[str, Any] = data if isinstance(data, dict) else {}
    seq, session, request_id = members.get("seq"), members.get("session"), members.get("request_id")
    return Received(
        _event(name, members),
        session=session if isinstance(session, str) else None,
        seq=seq if isinstance(seq, int) and name != AudioDropped.name else None,
        request_id=request_id if isinstance(request_id, str) else None,
    )
