"""The small values that every room passes to the next: roles, access, text, audio."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any, Self
from uuid import uuid4


def new_id() -> str:
    return str(uuid4())


class Role(StrEnum):
    """What an operation does. Filters form an ordered list; of every other role one is active."""

    STT = "stt"
    MCP = "mcp"
    T2T = "t2t"
    TTS = "tts"
    FILTER_TEXT = "filter_text"
    FILTER_AUDIO = "filter_audio"
    EMBEDDING = "embedding"

    @property
    def is_filter(self) -> bool:
        return self in (Role.FILTER_TEXT, Role.FILTER_AUDIO)


class Access(IntEnum):
    """What a client may do; each level includes the ones below."""

    VIEWER = 0
    PERFORMER = 1
    OWNER = 2

    @classmethod
    def parse(cls, name: str) -> Self:
        """:raises ValueError: for an unknown name."""
        try:
            return cls[name.upper()]
        except KeyError:
            known = ", ".join(level.name.lower() for level in cls)
            raise ValueError(f"unknown role {name!r}; known roles: {known}") from None

    def __str__(self) -> str:
        return self.name.lower()


class ChunkType(IntEnum):
    """``text_chunk.type``, with the numbers of lollms from July 2023 to January 2024."""

    CHUNK = 0
    FULL = 1
    FULL_INVISIBLE_TO_AI = 2
    FULL_INVISIBLE_TO_USER = 3
    EXCEPTION = 4
    WARNING = 5
    INFO = 6
    STEP = 7
    STEP_START = 8
    STEP_PROGRESS = 9
    STEP_END = 10
    JSON_INFOS = 11
    REF = 12
    CODE = 13
    UI = 14


@dataclass(frozen=True, slots=True)
class Audio:
    """Whole frames of signed little-endian PCM (unsigned for one byte a sample, as in WAV)."""

    pcm: bytes
    sample_rate: int
    """Hz"""
    sample_width: int = 2
    """bytes a sample"""
    channels: int = 1

    @property
    def frame_bytes(self) -> int:
        return self.sample_width * self.channels

    @property
    def duration_ms(self) -> float:
        return 1000 * len(self.pcm) / (self.frame_bytes * self.sample_rate)


@dataclass(frozen=True, slots=True)
class Viseme:
    """The shape that the mouth takes from a moment on: 0 is silence, 1 to 21 as in Microsoft's set for speech."""

    id: int
    start_ms: float


@dataclass(frozen=True, slots=True)
class WordTime:
    """When a word of the spoken text sounds, counted from the start of the same ``speak`` call."""

    text: str
    start_ms: float
    end_ms: float
    offset: int = -1
    """index of the word's first character in the text given to ``speak``; -1 if unknown"""
    visemes: tuple[Viseme, ...] = ()
    """from this word's start to the next one's, where the voice tells them; times count as the word's do"""


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of a model's answer as it leaves the model. ``thought``: reasoning, kept apart from the answer."""

    text: str
    thought: bool = False


@dataclass(frozen=True, slots=True)
class ToolCall:
    id: str
    name: str
    arguments: Mapping[str, Any]


class FinishReason(StrEnum):
    """Why a model stopped, in OpenAI's words."""

    STOP = "stop"
    """it had said all, or came to a stop text"""
    LENGTH = "length"
    """its tokens ran out"""
    TOOL_CALLS = "tool_calls"
    CONTENT_FILTER = "content_filter"
    """it, or a filter of its maker, would not go on"""


@dataclass(frozen=True, slots=True)
class Ended:
    """Last item of a model's stream, where the backend tells it: why it stopped and what that took.

    ``None``: not told. A backend that fails for a reason known here (nothing said within ``max_tokens``, an answer
    withheld) may give it before it raises.
    """

    reason: FinishReason | None = None
    prompt_tokens: int | None = None
    """those from a cache as well"""
    completion_tokens: int | None = None
    """those of thoughts as well"""
    cached_tokens: int | None = None
    """of the prompt's"""
    reasoning_tokens: int | None = None
    """of the completion's"""

    def usage(self) -> dict[str, int]:
        """The counts that were told, by their names here."""
        counts = {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "cached_tokens": self.cached_tokens,
            "reasoning_tokens": self.reasoning_tokens,
        }
        return {name: count for name, count in counts.items() if count is not None}


ModelOutput = TextDelta | ToolCall | Ended
"""what a text model's stream consists of"""


@dataclass(frozen=True, slots=True)
class TextChunk:
    """Text between filters. ``extras`` are what filters added (``emotion`` ...); they ride on ``sentence``."""

    text: str
    extras: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SpeechText:
    """Text to be spoken. Empty ``language`` or ``voice``: as the operation is configured."""

    text: str
    language: str = ""
    voice: str = ""
    extras: Mapping[str, Any] = field(default_factory=dict)
    """what text filters said of it (``emotion`` ...), for a voice that asks for it; see ``TextToSpeech``"""


@dataclass(frozen=True, slots=True)
class Transcript:
    text: str
    final: bool = True


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a model draws tokens; ``None`` leaves the backend's own default."""

    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    repeat_penalty: float | None = None
    repeat_last_n: int | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Image:
    """A picture that a message shows: its bytes with their media type (``image/png``), or where it lies on the web."""

    media_type: str = ""
    data: bytes = field(default=b"", repr=False)
    url: str = ""
    """http or https; fetched by the backend, never by this server"""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a chat: ``role`` is ``system``, ``user``, ``assistant`` or ``tool``."""

    role: str
    content: str
    name: str = ""
    tool_call_id: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    images: tuple[Image, ...] = ()


@dataclass(frozen=True, slots=True)
class ToolSpec:
    name: str
    description: str
    parameters: Mapping[str, Any]
    """JSON schema of the arguments"""


@dataclass(frozen=True, slots=True)
class Persona:
    """What a scripted backend may use of a character; ``extras`` is the personality's own block for that binding."""

    name: str = ""
    user_name: str = ""
    language: str = "english"
    greetings: tuple[str, ...] = ()
    extras: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a text model is asked. ``raw`` set: continue exactly this text, no chat template, messages ignored."""

    system: str = ""
    messages: tuple[Message, ...] = ()
    tools: tuple[ToolSpec, ...] = ()
    raw: str | None = None
    sampling: Sampling = Sampling()
    persona: Persona = Persona()
    must_call: bool = False
    """a call of one of ``tools`` is wanted, no text; who cannot be told so decides by itself"""
    response_format: Mapping[str, Any] | None = None
    """as OpenAI's API has it: ``{"type": "json_object"}``, ``{"type": "json_schema", "json_schema": {"schema": {}}}``;
    only for operations that say that they keep to it"""
