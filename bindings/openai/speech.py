"""Role tts: speech, passed on as it comes.

SpeechText -> POST /audio/speech -> PCM or WAV, cut anywhere -> Audio in whole frames, about 100 ms each
"""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from greenroom.bindings.roles import Options, TextToSpeech, Voice
from greenroom.bindings.spoken_text import utterances
from greenroom.bindings.wav import SoundFramer
from greenroom.errors import BindingFailed
from greenroom.values import Audio, SpeechText, WordTime

from .connection import ConnectionOptions, OpenAIEngine, OpenAIOperation, pieces_of, read_whole

if TYPE_CHECKING:
    import httpx2

_NEWER = ("ballad", "cedar", "marin", "verse")
"""tts-1 and tts-1-hd do not have these"""
_LONGEST = 4096
"""characters that OpenAI takes at once"""
_MAX_MESSAGE_BYTES = 1 << 20
_VOICES = (
    "alloy", "ash", "ballad", "cedar", "coral", "echo", "fable", "marin", "nova", "onyx", "sage", "shimmer", "verse",
)  # fmt: skip


class SpeechOptions(ConnectionOptions):
    model: str = Field("tts-1", min_length=1, description="the voice model, by the server's name for it")
    voice: str = Field("nova", min_length=1, description="the voice, by the server's name for it")
    speed: float = Field(1.0, ge=0.25, le=4, description="1: as fast as the voice speaks")
    instructions: str = Field("", max_length=4096, description="how to speak, for models that can be told")
    response_format: Literal["pcm", "wav"] = Field("pcm", description="wav for servers that send no bare PCM")
    pcm_sample_rate: int = Field(
        24_000, ge=8_000, le=192_000, description="Hz of bare PCM (16 bit, mono); a WAV says its own"
    )


class Speech(OpenAIOperation, TextToSpeech[OpenAIEngine]):
    Options: ClassVar[type[Options]] = SpeechOptions
    options: SpeechOptions

    async def speak(self, text: AsyncIterator[SpeechText]) -> AsyncIterator[Audio | WordTime]:
        """What has neither letter nor digit is not sent, as there is nothing to say. :raises BindingFailed:"""
        async for part in text:
            for _, piece in utterances(part.text, _LONGEST):
                async with aclosing(self._speak_one(piece, part.voice)) as sounds:
                    async for sound in sounds:
                        yield sound

    async def voices(self) -> Sequence[Voice]:
        """Those of OpenAI that the model has, and the configured one."""
        known = [name for name in _VOICES if name not in _NEWER or not self.options.model.startswith("tts-1")]
        names = known if self.options.voice in known else [self.options.voice, *known]
        return [Voice(name, name.replace("_", " ").title()) for name in names]

    async def _speak_one(self, text: str, voice: str) -> AsyncGenerator[Audio, None]:
        options = self.options
        body: dict[str, Any] = {
            "model": options.model,
            "input": text,
            "voice": voice or options.voice,
            "response_format": options.response_format,
        }
        if options.speed != 1.0:
            body["speed"] = options.speed
        if options.instructions:
            body["instructions"] = options.instructions
        async with self.engine.request("/audio/speech", body, retries=options.max_retries) as response:
            await self._refuse_other_formats(response)
            framer = SoundFramer(options.response_format == "wav", options.pcm_sample_rate)
            async with aclosing(pieces_of(response)) as pieces:
                async for data in pieces:
                    for sound in framer.feed(data):
                        yield sound
            for sound in framer.end():
                yield sound
        if not framer.sounded:
            raise BindingFailed(f"{self.engine.failures.host} sent no sound for a text", retryable=True)

    async def _refuse_other_formats(self, response: "httpx2.Response") -> None:
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind.startswith("text/") or kind == "application/json":
            said = (await read_whole(response, _MAX_MESSAGE_BYTES)).decode(errors="replace")
            raise self.engine.failures.nonsense(f"{self.engine.failures.clean(said)} in place of speech")
        if kind.startswith("audio/") and kind.partition("/")[2] in (
            "mpeg",
            "mp3",
            "ogg",
            "opus",
            "aac",
            "flac",
            "webm",
        ):
            raise BindingFailed(
                f"{self.engine.failures.host} sent {kind} although {self.options.response_format} was asked for; "
                "try the other response_format"
            )
