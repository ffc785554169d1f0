"""A backend whose every step a test decides: what it says stands in the last message, in words of one delta each.

"say one two"        deltas "one ", "two "
"wait NAME rest"     says "rest" after the file-less gate NAME was opened (see ``gates``)
"fail text"          says the text, then breaks like a backend that was cut off
"crash"              raises an exception that is not one of ours
"end REASON text"    says the text, then tells of its end; where that is "content_filter", fails thereafter
"hang"               says "hanging " and then nothing, until it is cancelled
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from typing import Any

from pydantic import Field

from greenroom.bindings.roles import (
    Binding,
    Effect,
    Engine,
    Model,
    Operation,
    Options,
    Place,
    SpeechToText,
    TextFilter,
    TextToSpeech,
    TextToText,
    Unit,
)
from greenroom.errors import BindingFailed
from greenroom.values import (
    Audio,
    Ended,
    FinishReason,
    ModelOutput,
    Prompt,
    Role,
    SpeechText,
    TextChunk,
    TextDelta,
    Transcript,
)


class Stage(Engine):
    """Shared by every operation, so that a test finds here what happened."""

    def __init__(self) -> None:
        self.gates: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.prompts: list[Prompt] = []
        self.cancelled: list[str] = []
        self.spoken: list[str] = []
        self.voices: list[str] = []
        self.extras: list[dict[str, Any]] = []
        self.transcribed = asyncio.Event()
        self.closed = False

    async def close(self) -> None:
        self.closed = True


class SayOptions(Options):
    model: str = "plain"
    secret_url: str = Field(default="", json_schema_extra={"access": "owner"})


class Say(TextToText[Stage]):
    Options = SayOptions

    @classmethod
    async def open_engine(cls, options: Any, place: Place) -> Engine:
        return Stage()

    @classmethod
    async def models(cls, options: Any, place: Place) -> Sequence[Model]:
        return [Model("plain"), Model("fancy")]

    async def generate(self, prompt: Prompt) -> AsyncIterator[ModelOutput]:
        self.engine.prompts.append(prompt)
        asked = prompt.raw if prompt.raw is not None else prompt.messages[-1].content
        word, _, rest = asked.rpartition("]: ")[2].partition(" ")
        try:
            if word == "wait":
                gate, _, rest = rest.partition(" ")
                await self.engine.gates[gate].wait()
            if word == "end":
                reason, _, rest = rest.partition(" ")
            if word == "crash":
                raise RuntimeError("the backend's own bug")
            for piece in rest.split():
                yield TextDelta(piece + " ")
                await asyncio.sleep(0)
            if word == "fail":
                raise BindingFailed("the backend was cut off", retryable=True)
            if word == "end":
                yield Ended(FinishReason(reason), 30, 5, 20, 2)
                if reason == FinishReason.CONTENT_FILTER:
                    raise BindingFailed("the backend's content filter objected")
            if word == "hang":
                yield TextDelta("hanging ")
                await asyncio.Event().wait()
        except (asyncio.CancelledError, GeneratorExit):
            self.engine.cancelled.append(asked)
            raise


class ToneOptions(Options):
    ms_per_character: float = 10.0
    voice: str = "plain"
    broken: bool = False


class Tone(TextToSpeech[Stage]):
    Options = ToneOptions

    @classmethod
    async def open_engine(cls, options: Any, place: Place) -> Engine:
        return Stage()

    async def speak(self, text: AsyncIterator[SpeechText]) -> AsyncIterator[Audio]:
        async for part in text:
            self.engine.spoken.append(part.text)
            self.engine.voices.append(self.options.voice)
            self.engine.extras.append(dict(part.extras))
            if self.options.broken:
                raise BindingFailed("the voice is out of order")
            frames = int(8000 * len(part.text) * self.options.ms_per_character / 1000)
            for start in range(0, frames, 800):
                yield Audio(b"\1\2" * min(800, frames - start), 8000)
                await asyncio.sleep(0)


class Hear(SpeechToText[Stage]):
    """Hears the bytes as text."""

    @classmethod
    async def open_engine(cls, options: Any, place: Place) -> Engine:
        return Stage()

    async def transcribe(self, audio: AsyncIterator[Audio], hint: str) -> AsyncIterator[Transcript]:
        heard = b""
        async for piece in audio:
            heard += piece.pcm
        self.engine.transcribed.set()
        yield Transcript(heard.decode("latin-1").strip("\0 "), final=False)
        yield Transcript(heard.decode("latin-1").strip("\0 "))


class Shout(TextFilter[Engine]):
    """Annotates: says how loud a sentence is."""

    unit = Unit.SENTENCE
    effect = Effect.ANNOTATE

    async def apply(self, text: AsyncIterator[TextChunk]) -> AsyncIterator[TextChunk]:
        async for chunk in text:
            yield TextChunk(chunk.text, {**chunk.extras, "loud": chunk.text.strip().endswith("!")})


OPERATIONS: dict[Role, type[Operation[Any]]] = {
    Role.T2T: Say,
    Role.TTS: Tone,
    Role.STT: Hear,
    Role.FILTER_TEXT: Shout,
}
BINDING = Binding(OPERATIONS)
