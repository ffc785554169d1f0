"""Role stt: a whole utterance, as KoboldCPP's whisper takes it; it gives no partial results.

Audio ... -> POST /api/extra/transcribe -> Transcript (final)
"""

import base64
import re
from collections.abc import AsyncIterator
from typing import ClassVar

from pydantic import Field

from greenroom.bindings.pcm import MonoConverter
from greenroom.bindings.roles import Options, SpeechToText
from greenroom.bindings.wav import wav_of
from greenroom.values import Audio, Transcript

from .connection import ConnectionOptions, KoboldEngine, KoboldOperation

_WHISPER_HZ = 16_000
_SHORTEST_BYTES = _WHISPER_HZ * 2 // 10
_HINT_CHARACTERS = 800
"""the model reads the last 224 tokens of it only"""
_NOTHING_SAID = re.compile(r"\s*[\[(](?:BLANK_AUDIO|silence|inaudible)[\])]\s*", re.IGNORECASE)


class TranscriptionOptions(ConnectionOptions):
    suppress_non_speech: bool = Field(True, description="leave out what is no speech, such as [music]")
    langcode: str = Field("en", max_length=16, description="what is spoken, as in ISO 639-1; auto: whisper finds out")


class Transcription(KoboldOperation, SpeechToText[KoboldEngine]):
    Options: ClassVar[type[Options]] = TranscriptionOptions
    options: TranscriptionOptions

    async def transcribe(self, audio: AsyncIterator[Audio], hint: str) -> AsyncIterator[Transcript]:
        """Less than a tenth of a second holds no word: an empty final, nothing sent. :raises BindingFailed:"""
        converter = MonoConverter(_WHISPER_HZ)
        pcm = bytearray()
        async for piece in audio:
            pcm += converter.feed(piece)
        if len(pcm) < _SHORTEST_BYTES:
            yield Transcript("")
            return
        body = {
            "prompt": hint[-_HINT_CHARACTERS:],
            "suppress_non_speech": self.options.suppress_non_speech,
            "langcode": self.options.langcode or "auto",
            "audio_data": base64.b64encode(wav_of(Audio(bytes(pcm), _WHISPER_HZ))).decode(),
        }
        answer = await self.engine.ask("/api/extra/transcribe", body, self.options.max_retries)
        text = answer.get("text")
        if not isinstance(text, str):
            raise self.engine.failures.nonsense("something that is no transcript")
        if not text:  # whisper gives at least a sign that nobody spoke
            version = await self.engine.look_up("/api/extra/version")
            if isinstance(version, dict) and version.get("transcribe") is False:
                raise await self.engine.empty("transcribe", "set whispermodel in the .kcpps file, or in its launcher")
        yield Transcript("" if _NOTHING_SAID.fullmatch(text) else text.strip())
