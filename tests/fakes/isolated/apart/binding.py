"""A backend in another process, which tells the test over a socket what happens to it.

"say one two"      deltas "one ", "two "
"pid"              its process number
"secret"           what ``place.secret`` gives for NAME at http://host
"hang"             "hanging ", then nothing; tells "cancelled" when it is
"die words"        "dying ", prints the words, then kills its own process
"exit"             leaves with exit code 3
"busy" "crash" "cut"    Busy with details; an exception that is not ours; BindingFailed that may be tried again
"fail words"       BindingFailed with them
"flood 20"         prints so many MiB without the end of a line, then "flooded "
"produced"         how many pieces of sound its voices have given
"""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from greenroom.bindings.roles import (
    AudioFilter,
    Binding,
    Effect,
    Embedding,
    Engine,
    Model,
    Options,
    Place,
    SpeechToText,
    TextFilter,
    TextToSpeech,
    TextToText,
    Unit,
    Voice,
)
from greenroom.errors import BadRequest, BindingFailed, Busy
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
    ToolCall,
    Transcript,
    WordTime,
)


class ApartOptions(Options):
    tell: int = Field(0, description="port on which the test listens")
    style: str = Field("plain", description="plain or loud")
    url: str = Field("", json_schema_extra={"access": "owner"})


class Backend(Engine):
    def __init__(self, place: Place, tell: int) -> None:
        self.place = place
        self.produced = 0
        self._socket = socket.create_connection(("127.0.0.1", tell)) if tell else None
        self.tell("opened")

    def tell(self, text: str) -> None:
        if self._socket is not None:
            self._socket.sendall(f"{text}\n".encode())

    async def close(self) -> None:
        self.tell("closed")
        if self._socket is not None:
            self._socket.close()


def key_of(cls: Any, options: Any) -> Hashable:
    return options.tell  # type: ignore[no-any-return]


async def open_backend(cls: Any, options: Any, place: Place) -> Backend:
    return Backend(place, options.tell)


class Text(TextToText[Backend]):
    Options = ApartOptions
    keeps_formats = True
    options: ApartOptions
    engine_key = classmethod(key_of)
    open_engine = classmethod(open_backend)

    def __init__(self, engine: Backend, options: ApartOptions) -> None:
        super().__init__(engine, options)
        if options.style not in ("plain", "loud"):
            raise BadRequest(f"there is no style {options.style!r}", details={"field": "style"})

    @classmethod
    async def models(cls, options: Any, place: Place) -> Sequence[Model]:
        return [Model("small", f"of process {os.getpid()}", size_bytes=3)]

    async def tokenize(self, text: str) -> list[int | str]:
        return [ord(character) for character in text]

    async def detokenize(self, tokens: Sequence[int | str]) -> str:
        return "".join(chr(int(token)) for token in tokens)

    async def generate(self, prompt: Prompt) -> AsyncGenerator[ModelOutput, None]:
        word, _, rest = prompt.messages[-1].content.partition(" ")
        match word:
            case "pid":
                yield TextDelta(str(os.getpid()))
            case "produced":
                yield TextDelta(str(self.engine.produced))
            case "secret":
                yield TextDelta(str(self.engine.place.secret("NAME", "http://host")))
            case "tool":
                yield TextDelta("thinking", thought=True)
                yield ToolCall("1", "look", {"where": ["up", 2.5, None]})
                yield Ended(FinishReason.TOOL_CALLS, 30, 5, None, 2)
            case "die":
                yield TextDelta("dying ")
                print(rest, file=sys.stderr, flush=True)
                os.kill(os.getpid(), signal.SIGKILL)
                await asyncio.Event().wait()
            case "exit":
                os._exit(3)
            case "flood":
                for _ in range(int(rest)):
                    os.write(1, b"x" * 2**20)
                yield TextDelta("flooded ")
            case "busy":
                raise Busy("come later", kind="all_taken", details={"places": 2})
            case "fail":
                raise BindingFailed(rest)
            case "cut":
                raise BindingFailed("the backend was cut off", retryable=True)
            case "crash":
                raise RuntimeError("the backend's own bug")
        try:
            for piece in rest.split() if word == "say" else ():
                yield TextDelta(f"{piece.upper() if self.options.style == 'loud' else piece} ")
            if word == "hang":
                yield TextDelta("hanging ")
                await asyncio.Event().wait()
        except (asyncio.CancelledError, GeneratorExit):
            self.engine.tell("cancelled")
            raise


class Tone(TextToSpeech[Backend]):
    Options = ApartOptions
    engine_key = classmethod(key_of)
    open_engine = classmethod(open_backend)

    async def voices(self) -> Sequence[Voice]:
        return [Voice("a", "Anna", "en", "female")]

    async def speak(self, text: AsyncIterator[SpeechText]) -> AsyncGenerator[Audio | WordTime, None]:
        """A number asks for so many pieces of 64 KiB; any other text is spoken as its own bytes."""
        async for part in text:
            if part.text.isdigit():
                for _ in range(int(part.text)):
                    self.engine.produced += 1
                    yield Audio(bytes(65_536), 24_000)
            else:
                yield WordTime(part.text, 0.0, 1.5)
                yield Audio(part.text.encode("utf-16-le"), 8000)


class Ear(SpeechToText[Backend]):
    Options = ApartOptions
    partials_grow = True
    engine_key = classmethod(key_of)
    open_engine = classmethod(open_backend)

    async def transcribe(self, audio: AsyncIterator[Audio], hint: str) -> AsyncGenerator[Transcript, None]:
        """Partials as pieces come, so that a test sees both directions at once."""
        heard = 0
        if hint == "deaf":
            try:
                yield Transcript("deaf", final=False)
                await asyncio.Event().wait()
            finally:
                self.engine.tell("cancelled")
        async for piece in audio:
            heard += len(piece.pcm)
            yield Transcript(f"{hint}{heard}", final=False)
        yield Transcript(f"{hint}{heard}")


class Upper(TextFilter[Backend]):
    Options = ApartOptions
    unit = Unit.SENTENCE
    effect = Effect.ANNOTATE
    engine_key = classmethod(key_of)
    open_engine = classmethod(open_backend)

    async def apply(self, text: AsyncIterator[TextChunk]) -> AsyncGenerator[TextChunk, None]:
        async for chunk in text:
            yield TextChunk(chunk.text.upper(), {**chunk.extras, "length": len(chunk.text)})
            if chunk.text == "enough":
                return


class Backwards(AudioFilter[Backend]):
    Options = ApartOptions
    engine_key = classmethod(key_of)
    open_engine = classmethod(open_backend)

    async def apply(self, audio: AsyncIterator[Audio]) -> AsyncGenerator[Audio, None]:
        async for piece in audio:
            yield Audio(piece.pcm[::-1], piece.sample_rate, 1)


class Lengths(Embedding[Backend]):
    Options = ApartOptions
    engine_key = classmethod(key_of)
    open_engine = classmethod(open_backend)

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return np.array([[len(text), 0.5] for text in texts], dtype=np.float32)


BINDING = Binding(
    {
        Role.T2T: Text,
        Role.TTS: Tone,
        Role.STT: Ear,
        Role.FILTER_TEXT: Upper,
        Role.FILTER_AUDIO: Backwards,
        Role.EMBEDDING: Lengths,
    }
)
