"""What the server sends, one frozen dataclass per event; the class variable ``name`` is the wire name.

``payload(event)`` is the wire form without its envelope: ``session, seq`` of a session's event are added when it is
numbered, ``request_id, n`` of a private one by the door. Members that are ``None`` are left out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar

from greenroom.values import ChunkType, Ended


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    name: ClassVar[str] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEvent(Event):
    job_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStarted(JobEvent):
    """First event of a job, sent when its turn comes. ``args``: what was asked, audio as ``true``."""

    name: ClassVar[str] = "job_started"
    job_type: str
    args: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextChunk(JobEvent):
    """A piece of the answer; the pieces of type 0 joined are the text of ``text_generated``."""

    name: ClassVar[str] = "text_chunk"
    chunk: str
    type: int = ChunkType.CHUNK
    index: int | None = None
    """number of the sentence in which the piece begins"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence(JobEvent):
    """A whole sentence: as shown, as spoken, and what filters said of it (``emotion`` ...; merged into the payload)."""

    name: ClassVar[str] = "sentence"
    index: int
    text: str
    speech: str
    extras: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioChunk(JobEvent):
    """A piece of the voice, playable as it comes. ``t_ms`` counts from the start of the turn's audio."""

    name: ClassVar[str] = "audio_chunk"
    index: int
    part: int
    audio: bytes
    sr: int
    sw: int
    ch: int
    format: str = "pcm_s16le"
    t_ms: float
    duration_ms: float
    volumes: list[float]
    """loudness 0..1 for each 20 ms"""
    last: bool = False
    """the sentence's last part; may be empty"""
    words: list[dict[str, Any]] | None = None
    """where the voice tells: words of the sentence, each once: ``{text, start_ms, end_ms, visemes?: [{id, start_ms}]}``
    with times that count as ``t_ms`` does; ``id`` is a shape of the mouth by Azure's numbers, 0 to 21"""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextGenerated(JobEvent):
    """The whole text. What the model's backend tells of its end comes along: ``finish_reason`` (``stop``, ``length``,
    ``tool_calls``, ``content_filter``), and in ``usage`` what it counted: ``prompt_tokens`` (of them
    ``cached_tokens``), ``completion_tokens`` (of them ``reasoning_tokens``)."""

    name: ClassVar[str] = "text_generated"
    text: str
    finish_reason: str | None = None
    usage: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobProgress(JobEvent):
    name: ClassVar[str] = "job_progress"
    result: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptBuilt(JobEvent):
    """Only to clients that asked for it with ``auth.debug``."""

    name: ClassVar[str] = "prompt_built"
    instruction_prompt: str
    history: list[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript(JobEvent):
    name: ClassVar[str] = "transcript"
    user: str
    content: str
    final: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextAdded(JobEvent):
    """A line is in the context, and durable. ``line``: as it stands in the script."""

    name: ClassVar[str] = "context_added"
    line_id: str
    kind: str
    user: str | None = None
    timestamp: float
    content: str
    line: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextChanged(JobEvent):
    """A line was trimmed to what was heard, edited or (``removed``) taken out."""

    name: ClassVar[str] = "context_changed"
    line_id: str
    content: str | None = None
    removed: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCalled(JobEvent):
    name: ClassVar[str] = "tool_call"
    tool: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResult(JobEvent):
    name: ClassVar[str] = "tool_result"
    tool: str
    content: str
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Interrupted(JobEvent):
    """Clients drop what they have buffered of that job's audio."""

    name: ClassVar[str] = "interrupted"
    heard: str
    unheard: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFinished(JobEvent):
    """Last event of a job, exactly one: ``timing`` of a success, ``error {code, type, reason}`` of a failure. Where a
    model was asked and its backend tells: ``finish_reason`` and ``usage``, as in ``text_generated``."""

    name: ClassVar[str] = "job_finished"
    job_type: str
    success: bool
    timing: Mapping[str, float] | None = None
    error: Mapping[str, Any] | None = None
    finish_reason: str | None = None
    usage: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationError(JobEvent):
    """lollms' form of a failed turn."""

    name: ClassVar[str] = "generation_error"
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StateChanged(Event):
    """The part of the state that changed, and who changed it."""

    name: ClassVar[str] = "state_changed"
    changed: Mapping[str, Any]
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioDropped(Event):
    """Stands in a replay where audio was left out, both ends included."""

    name: ClassVar[str] = "audio_dropped"
    from_seq: int
    to_seq: int


# To one client alone


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionJoined(Event):
    name: ClassVar[str] = "session_joined"
    session: str
    role: str
    epoch: str
    seq: int
    """number of the last event before those that follow"""
    resumed: bool
    missed: int
    server: Mapping[str, Any]
    state: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Closing(Event):
    """The server is about to close the connection: ``too_slow``, ``shutdown`` or another code."""

    name: ClassVar[str] = "closing"
    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Busy(Event):
    name: ClassVar[str] = "busy"
    message: str = "I am busy. Come back later."


@dataclass(frozen=True, slots=True, kw_only=True)
class Buzzy(Event):
    """The older spelling of ``busy``; both are sent."""

    name: ClassVar[str] = "buzzy"
    message: str = "I am buzzy. Come back later."


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationCanceled(Event):
    name: ClassVar[str] = "generation_canceled"
    message: str = "Generation is canceled."


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallProgress(Event):
    """How far an installation is, from 0 to 100. The last one says what the acknowledgement says; with ``status`` false
    it failed."""

    name: ClassVar[str] = "install_progress"
    status: bool = True
    error: str = ""
    binding_name: str
    binding_folder: str
    """the same, as lollms has it"""
    model_name: str | None = None
    """of a model: the name by which it is installed"""
    model_url: str | None = None
    """where the model comes from: an address, or a repository of the hub"""
    phase: str
    """preparing, resolving, downloading, building, installing, checking, done"""
    message: str
    start_time: str
    """as lollms writes it, the server's time: 2023-07-31 18:05:09"""
    total_size: int
    """bytes of what is known to be fetched; it may grow"""
    downloaded_size: int
    progress: float
    speed: float
    """bytes a second"""


def of_end(ended: Ended | None) -> dict[str, Any]:
    """The members that tell of a model's end: ``finish_reason`` and ``usage``."""
    if ended is None:
        return {}
    return {"finish_reason": ended.reason and str(ended.reason), "usage": ended.usage() or None}


def all_events() -> dict[str, type[Event]]:
    """Every event by wire name."""

    def below(base: type[Event]) -> list[type[Event]]:
        return [found for child in base.__subclasses__() for found in (child, *below(child))]

    return {event.name: event for event in below(Event) if event.name}


def _field_names(event: type[Event]) -> tuple[str, ...]:
    return tuple(item.name for item in fields(event) if item.name != "extras")


_FIELD_NAMES: Mapping[type[Event], tuple[str, ...]] = {event: _field_names(event) for event in all_events().values()}


PERFORMERS_ONLY = frozenset({"original_content"})
"""Of what filters add to a sentence: text that a moderation holds back is not for those who only look on."""


_TOLD_OF_AN_OPERATION = ("role", "id")
_CONFIGURING = frozenset({"config_update", "context_configure"})


def for_viewers(event: Event) -> Event:
    """The event as viewers hear it; the same object if there is nothing to hold back. They may not read settings, and
    so are not told what somebody sets."""
    if isinstance(event, JobStarted):
        if event.job_type in _CONFIGURING and event.args:
            return replace(event, args={})
        ops = event.args.get("ops")
        return replace(event, args={"ops": [_named(item) for item in ops]}) if isinstance(ops, list) else event
    if isinstance(event, JobProgress):
        result = event.result
        return replace(event, result=_named(result)) if all(name in result for name in _TOLD_OF_AN_OPERATION) else event
    if isinstance(event, Sentence) and not PERFORMERS_ONLY.isdisjoint(event.extras):
        return replace(
            event, extras={name: value for name, value in event.extras.items() if name not in PERFORMERS_ONLY}
        )
    return event


def _named(item: Any) -> dict[str, Any]:
    """Which operation is meant, without its settings."""
    return {name: item[name] for name in _TOLD_OF_AN_OPERATION if isinstance(item, Mapping) and name in item}


def payload(event: Event) -> dict[str, Any]:
    wire: dict[str, Any] = {}
    if isinstance(event, Sentence):
        wire.update(event.extras)
    for name in _FIELD_NAMES[type(event)]:
        value = getattr(event, name)
        if value is not None:
            wire[name] = value
    return wire
