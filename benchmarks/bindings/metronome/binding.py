"""A backend that costs nearly nothing: what is measured with it is the server.

The first word of an answer is the time at which it was due (``time.monotonic``, the same for every process of a
machine); word k is due k / tokens_per_s after it. A reader can thus say of every word how late it is.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from pydantic import Field

from greenroom.bindings.roles import Binding, Engine, Operation, Options, TextToSpeech, TextToText
from greenroom.values import Audio, Prompt, Role, SpeechText, TextDelta, ToolCall

_SENTENCE = (
    " The", " old", " stage", " light", " waits,", " and", " a", " voice", " carries", " far", " tonight.",
)  # fmt: skip
_PIECE_MS = 100


class TextOptions(Options):
    tokens_per_s: float = Field(30.0, gt=0, description="words a second")
    tokens: int = Field(300, ge=1, description="words of an answer")


class Ticking(TextToText[Engine]):
    Options = TextOptions

    async def generate(self, prompt: Prompt) -> AsyncIterator[TextDelta | ToolCall]:
        begin = time.monotonic()
        yield TextDelta(f"{begin:.6f}")
        for index in range(1, self.options.tokens):
            await asyncio.sleep(max(0.0, begin + index / self.options.tokens_per_s - time.monotonic()))
            yield TextDelta(_SENTENCE[(index - 1) % len(_SENTENCE)])


class SoundOptions(Options):
    sample_rate: int = Field(24_000, ge=8_000, description="Hz")
    channels: int = Field(1, ge=1, le=2)
    ms_per_character: float = Field(60.0, gt=0, description="length of speech")


class Humming(TextToSpeech[Engine]):
    Options = SoundOptions

    async def speak(self, text: AsyncIterator[SpeechText]) -> AsyncIterator[Audio]:
        options = self.options
        piece = bytes(range(256)) * (options.sample_rate * 2 * options.channels * _PIECE_MS // 1000 // 256 + 1)
        piece = piece[: options.sample_rate * 2 * options.channels * _PIECE_MS // 1000]
        async for part in text:
            for _ in range(max(1, round(len(part.text) * options.ms_per_character / _PIECE_MS))):
                # A copy, as every sound of a real voice is its own: shared bytes would hide what a session keeps.
                yield Audio(bytes(bytearray(piece)), options.sample_rate, 2, options.channels)


OPERATIONS: dict[Role, type[Operation[Any]]] = {Role.T2T: Ticking, Role.TTS: Humming}
BINDING = Binding(OPERATIONS)
