"""Role tts: KoboldCPP makes a text's whole speech before it sends any; it is passed on as it comes.

SpeechText -> POST /api/extra/tts -> WAV, cut anywhere -> Audio in whole frames, about 100 ms each
"""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import ClassVar

from pydantic import Field

from greenroom.bindings.roles import Options, TextToSpeech, Voice
from greenroom.bindings.wav import SoundFramer
from greenroom.values import Audio, SpeechText, WordTime

from .connection import ConnectionOptions, KoboldEngine, KoboldOperation

_VOICES = ("kobo", "cheery", "sleepy", "shouty", "chatty")
"""of KoboldCPP's first voice model, where it lists none"""
_ANY_PCM_HZ = 24_000
"""never used: what comes is a WAV, which says its rate"""


class SpeechOptions(ConnectionOptions):
    voice: str = Field("kobo", min_length=1, description="one of the voices that KoboldCPP lists, or any other name")


class Speech(KoboldOperation, TextToSpeech[KoboldEngine]):
    Options: ClassVar[type[Options]] = SpeechOptions
    options: SpeechOptions

    async def speak(self, text: AsyncIterator[SpeechText]) -> AsyncIterator[Audio | WordTime]:
        """What has neither letter nor digit is not sent, as there is nothing to say. :raises BindingFailed:"""
        async for piece in text:
            if not any(character.isalnum() for character in piece.text):
                continue
            async with aclosing(self._speak_one(piece)) as sounds:
                async for sound in sounds:
                    yield sound

    async def voices(self) -> Sequence[Voice]:
        listed = await self.engine.look_up("/api/extra/speakers_list")
        names = [name for name in listed if isinstance(name, str)] if isinstance(listed, list) else list(_VOICES)
        if self.options.voice not in names:
            names.insert(0, self.options.voice)
        return [Voice(name, name.replace("_", " ").title()) for name in names]

    async def _speak_one(self, piece: SpeechText) -> AsyncGenerator[Audio, None]:
        engine = self.engine
        body = {"input": piece.text, "voice": piece.voice or self.options.voice, "speaker_json": ""}
        response = await engine.open("/api/extra/tts", body, self.options.max_retries)
        framer = SoundFramer(True, _ANY_PCM_HZ)
        async with engine.reading(response):
            if response.content_type.startswith("text/") or response.content_type == "application/json":
                said = (await engine.read_whole(response)).decode(errors="replace")
                raise engine.failures.nonsense(f"{engine.failures.clean(said)} in place of speech")
            async for data in response.content.iter_any():
                for sound in framer.feed(data):
                    yield sound
            for sound in framer.end():
                yield sound
        if not framer.sounded:
            raise await engine.empty("tts", "set ttsmodel in the .kcpps file, or in KoboldCPP's launcher")
