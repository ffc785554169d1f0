"""Sounds as the toyvoice that it runs with."""

from collections.abc import AsyncGenerator, AsyncIterator

import toyvoice  # type: ignore[import-not-found]

from greenroom.bindings.roles import Binding, Engine, TextToSpeech
from greenroom.values import Audio, Role, SpeechText


class Song(TextToSpeech[Engine]):
    async def speak(self, text: AsyncIterator[SpeechText]) -> AsyncGenerator[Audio, None]:
        sample = int(float(toyvoice.VERSION)).to_bytes(2, "little")
        async for part in text:
            yield Audio(sample * len(part.text), 8000)


BINDING = Binding({Role.TTS: Song})
