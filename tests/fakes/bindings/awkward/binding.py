"""A backend that does what well-behaved ones do not. What it is to do stands in the last message, as with ``scripted``.

"say one two"        deltas "one ", "two "
"linger text"        says the text, then waits; when it is closed, it closes only once the gate "closed" is open
"stubborn text"      the same, and nothing but the gate "closed" ends it
"blame text"         says the text, then waits; when it is closed, it raises an exception of its own
"vanish"             is cancelled from inside, as by an SDK that cancels its own futures
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Hashable
from typing import Any, ClassVar

from pydantic import Field

from greenroom.bindings.roles import (
    OWNER_ONLY,
    Binding,
    Engine,
    Operation,
    Options,
    Place,
    SpeechToText,
    TextFilter,
    TextToSpeech,
    TextToText,
)
from greenroom.values import Audio, Prompt, Role, SpeechText, TextChunk, TextDelta, ToolCall, Transcript, WordTime


class Stage(Engine):
    """Shared by every operation of one role; ``closed`` tells that the last user has let go."""

    def __init__(self) -> None:
        self.gates: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.reached: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.closed = asyncio.Event()

    async def close(self) -> None:
        self.reached["closing"].set()
        if "hold" in self.gates:
            await self.gates["hold"].wait()
        self.closed.set()


class AwkwardOptions(Options):
    delay_opening: bool = False
    break_on_close: bool = False
    extra_body: str = Field(default="", json_schema_extra=OWNER_ONLY)


class Awkward(Operation[Stage]):
    Options = AwkwardOptions
    opening: ClassVar[asyncio.Event]
    """an engine that is to open late waits for it"""
    opened: ClassVar[list[Stage]]

    def __init_subclass__(cls) -> None:
        cls.opening, cls.opened = asyncio.Event(), []

    @classmethod
    def engine_key(cls, options: Any) -> Hashable:
        return str(options.extra_body)

    @classmethod
    async def open_engine(cls, options: Any, place: Place) -> Engine:
        if options.delay_opening:
            await cls.opening.wait()
        stage = Stage()
        cls.opened.append(stage)
        return stage

    async def close(self) -> None:
        if self.options.break_on_close:
            raise RuntimeError("this operation does not close")


class Say(Awkward, TextToText[Stage]):
    async def generate(self, prompt: Prompt) -> AsyncIterator[TextDelta | ToolCall]:
        asked = prompt.raw if prompt.raw is not None else prompt.messages[-1].content
        word, _, rest = asked.rpartition("]: ")[2].partition(" ")
        try:
            if word == "vanish":
                raise asyncio.CancelledError
            for piece in rest.split():
                yield TextDelta(piece + " ")
                await asyncio.sleep(0)
            if word != "say":
                self.engine.reached["said"].set()
                await asyncio.Event().wait()
        finally:
            self.engine.reached["ending"].set()
            if word == "blame":
                raise RuntimeError("not my fault")
            if word == "linger":
                await self.engine.gates["closed"].wait()
            while word == "stubborn" and not self.engine.gates["closed"].is_set():
                try:
                    await self.engine.gates["closed"].wait()
                except asyncio.CancelledError:
                    continue


class Tone(Awkward, TextToSpeech[Stage]):
    """100 ms for each word, whose time follows its sound; the words "... wait NAME" wait for that gate."""

    async def speak(self, text: AsyncIterator[SpeechText]) -> AsyncIterator[Audio | WordTime]:
        async for part in text:
            at_ms = offset = 0
            for word in part.text.split():
                offset = part.text.index(word, offset)
                if word.strip(",.").isupper() and len(word) > 2:
                    self.engine.reached[word.strip(",.")].set()
                    await self.engine.gates[word.strip(",.")].wait()
                yield Audio(b"\1\2" * 800, 8000)
                yield WordTime(word, at_ms, at_ms + 100, offset)
                at_ms += 100


class Deaf(Awkward, SpeechToText[Stage]):
    """Never hears the end."""

    async def transcribe(self, audio: AsyncIterator[Audio], hint: str) -> AsyncIterator[Transcript]:
        async for _ in audio:
            pass
        self.engine.reached["listening"].set()
        await asyncio.Event().wait()
        yield Transcript("")


class Enough(Awkward, TextFilter[Stage]):
    """Passes one chunk and has had enough."""

    async def apply(self, text: AsyncIterator[TextChunk]) -> AsyncIterator[TextChunk]:
        async for chunk in text:
            yield chunk
            return


OPERATIONS: dict[Role, type[Operation[Any]]] = {
    Role.T2T: Say,
    Role.TTS: Tone,
    Role.STT: Deaf,
    Role.FILTER_TEXT: Enough,
}
BINDING = Binding(OPERATIONS)
