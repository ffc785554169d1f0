"""The interfaces that a binding implements: one small class per role, streaming in and streaming out.

    TextToText     Prompt                    -> TextDelta | ToolCall, ... [Ended]
    SpeechToText   Audio, ...                -> Transcript (partials), ..., Transcript (final)
    TextToSpeech   SpeechText, ...           -> Audio | WordTime, ...
    TextFilter     TextChunk, ...            -> TextChunk, ...
    AudioFilter    Audio, ...                -> Audio, ...
    Embedding      texts                     -> one vector a text

The state of a stream lives in its generator, so several run at once; the configuration lives in the operation, what was
loaded (weights, connections, child processes) in its engine, which every operation with an equal ``engine_key`` shares.
Closing a generator must stop the work behind it: generators are always consumed under ``contextlib.aclosing``.
A failure of the backend is raised as :class:`greenroom.errors.BindingFailed` with a sentence that says what to do.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

from greenroom.errors import BadRequest, Unavailable
from greenroom.values import Audio, ModelOutput, Prompt, Role, SpeechText, TextChunk, Transcript, WordTime

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from greenroom.bindings.program_card import ProgramCard
    from greenroom.bindings.programs import Programs

OWNER_ONLY: dict[str, Any] = {"access": "owner"}
"""Pass as ``Field(json_schema_extra=OWNER_ONLY)``: a URL, path or command that only the owner may set over the wire."""


class Options(BaseModel):
    """Base of every operation's options. Types, ranges and ``Field(description=...)`` are the form that users see."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, protected_namespaces=())


def no_programs() -> Programs:
    """Where there can be none. :raises Unavailable: always."""
    raise Unavailable("no external program can be started here")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a binding runs and what it may use."""

    binding_id: str
    folder: Path
    """the binding's own folder"""
    models: Path
    """``models/<binding id>``; may not exist"""
    secret: Callable[[str, str], str | None] = field(default=lambda _name, _url: None)
    """``secret(name, url)``: an environment or ``.env`` value, only if ``url`` is on a host the owner configured"""
    assets: Path = Path("assets")
    """``assets/<binding id>`` of the home; may not exist"""
    programs: Callable[[], Programs] = no_programs
    """the external programs of this process, shared by all bindings; :raises Unavailable: where there can be none"""
    program: ProgramCard | None = None
    """the ``program`` of the binding's card"""


@dataclass(frozen=True, slots=True)
class Voice:
    id: str
    name: str
    language: str = ""
    gender: str = ""


@dataclass(frozen=True, slots=True)
class Model:
    """A model that can be selected: ``name`` is what ``select_model`` takes."""

    name: str
    description: str = ""
    installed: bool = True
    size_bytes: int = 0


class Engine:
    """What is loaded and shared. Opened once per ``engine_key``, closed after its last operation left."""

    async def close(self) -> None: ...


E = TypeVar("E", bound=Engine)


class Operation(ABC, Generic[E]):
    """A light view on an engine for one role inside one session."""

    role: ClassVar[Role]
    Options: ClassVar[type[Options]] = Options

    def __init__(self, engine: E, options: Any) -> None:
        self.engine = engine
        self.options = options

    @classmethod
    def engine_key(cls, options: Any) -> Hashable:
        """What of the options decides which engine is needed: a model's path, a URL. Equal keys share one."""
        return ()

    @classmethod
    async def open_engine(cls, options: Any, place: Place) -> Engine:
        """Load what is needed. Heavy imports belong here; a slow synchronous load belongs into a thread."""
        return Engine()

    @classmethod
    async def models(cls, options: Any, place: Place) -> Sequence[Model]:
        """The models that can be chosen, without loading one; beside what ``models.yaml`` lists."""
        return ()

    async def close(self) -> None:
        """Free what this operation alone holds; the engine is closed by its owner."""


class TextToText(Operation[E]):
    role = Role.T2T
    keeps_formats: ClassVar[bool] = False
    """whether its answers keep to ``Prompt.response_format``"""

    @abstractmethod
    def generate(self, prompt: Prompt) -> AsyncIterator[ModelOutput]:
        """Text and tool calls as they come. Who knows why the model stopped and what it used ends with an ``Ended``,
        and lets no text wait for it."""
        ...

    async def tokenize(self, text: str) -> list[int | str]:
        """Tokens of the model; a backend that does not publish them splits into words and the spaces between."""
        return list(re.findall(r"\s+|\w+|[^\w\s]", text))

    async def detokenize(self, tokens: Sequence[int | str]) -> str:
        if not all(isinstance(token, str) for token in tokens):
            raise BadRequest("this model's tokens are strings; numbers cannot be turned back into text")
        return "".join(str(token) for token in tokens)


class SpeechToText(Operation[E]):
    role = Role.STT
    partials_grow: ClassVar[bool] = False
    """each partial, and the final text, begins with the partial before it: nothing that was heard is taken back"""

    @abstractmethod
    def transcribe(self, audio: AsyncIterator[Audio], hint: str) -> AsyncIterator[Transcript]:
        """Partials as they come, then exactly one final. ``hint``: names and words likely to be said."""
        ...


class TextToSpeech(Operation[E]):
    role = Role.TTS
    wants_extras: ClassVar[bool] = False
    """Its texts come with what filters said of them. Those that run beside the display are then waited for, so the
    first sound comes later."""

    @abstractmethod
    def speak(self, text: AsyncIterator[SpeechText]) -> AsyncIterator[Audio | WordTime]:
        """Sound as it is made. A ``WordTime`` counts from the call's first sample and precedes or follows its audio."""
        ...

    async def voices(self) -> Sequence[Voice]:
        return ()


class Unit(StrEnum):
    DELTA = "delta"
    SENTENCE = "sentence"


class Effect(StrEnum):
    TRANSFORM = "transform"
    """may change or drop text"""
    GATE = "gate"
    """nothing passes until it has judged"""
    ANNOTATE = "annotate"
    """adds extras, never changes text; runs beside the display path"""


class TextFilter(Operation[E]):
    role = Role.FILTER_TEXT
    unit: ClassVar[Unit] = Unit.DELTA
    effect: ClassVar[Effect] = Effect.TRANSFORM

    @abstractmethod
    def apply(self, text: AsyncIterator[TextChunk]) -> AsyncIterator[TextChunk]: ...


class AudioFilter(Operation[E]):
    role = Role.FILTER_AUDIO

    @abstractmethod
    def apply(self, audio: AsyncIterator[Audio]) -> AsyncIterator[Audio]: ...


class Embedding(Operation[E]):
    role = Role.EMBEDDING

    @abstractmethod
    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """-> ``[len(texts), dimensions]``"""
        ...


AnyOperation = Operation[Any]


@dataclass(frozen=True, slots=True)
class Binding:
    """What a ``binding.py`` exports as ``BINDING``."""

    operations: Mapping[Role, type[AnyOperation]]
