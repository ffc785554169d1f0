"""What flite says, in pieces of a tenth of a second, at 16 kHz."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from fakes.flite import flite
from greenroom.bindings.roles import Binding, Engine, Options, TextToSpeech, Voice
from greenroom.values import Audio, Role, SpeechText


class FliteOptions(Options):
    voice: str = "slt"


class Flite(TextToSpeech[Engine]):
    Options = FliteOptions

    async def voices(self) -> Sequence[Voice]:
        return [Voice("slt", "Sally", "en-us", "female"), Voice("rms", "Ron", "en-us", "male")]

    async def speak(self, text: AsyncIterator[SpeechText]) -> AsyncIterator[Audio]:
        async for part in text:
            sound = await asyncio.to_thread(flite, part.text, part.voice or self.options.voice)
            for at in range(0, len(sound.pcm), 3200):
                yield Audio(sound.pcm[at : at + 3200], sound.sample_rate)


BINDING = Binding({Role.TTS: Flite})
