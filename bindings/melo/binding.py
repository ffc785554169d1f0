"""Role tts: speech by MeloTTS, a sentence at a time, on this machine."""

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Hashable, Sequence
from typing import Any, Final

from pydantic import Field, field_validator

from greenroom.bindings.classifier import chosen_device
from greenroom.bindings.roles import OWNER_ONLY, Binding, Engine, Options, Place, TextToSpeech, Voice
from greenroom.bindings.spoken_text import utterances, without_controls
from greenroom.bindings.threads import Worker
from greenroom.errors import BadRequest, Unavailable
from greenroom.values import Audio, Role, SpeechText, WordTime

from .languages import LANGUAGES, language_of, plain_speaker
from .synthesizer import SLOWEST, Synthesizer, choose_speaker
from .voice_files import find_voice

logger = logging.getLogger(__name__)

UTTERANCE_CHARACTERS: Final = 250
"""what is longer is cut: the BERTs read 512 tokens at once, and a stop is never far"""
_UNKNOWN_NOTED: Final = 100


class MeloOptions(Options):
    config_filepath: str | None = Field(
        None, description="config.json of a voice; empty: that of the language", json_schema_extra=OWNER_ONLY
    )
    model_filepath: str | None = Field(
        None, description="checkpoint of a voice; empty: that of the language", json_schema_extra=OWNER_ONLY
    )
    speaker_id: str = Field(
        min_length=1,
        max_length=200,
        coerce_numbers_to_str=True,
        description="EN-Default, EN-US, EN-BR, EN_INDIA, EN-AU; ES, FR, ZH, JP, KR: a speaker of the voice",
    )
    device: str = Field("cpu", pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$", description="cpu, auto, cuda, cuda:1 or mps")
    language: str = Field("EN", description=", ".join(LANGUAGES))
    sdp_ratio: float = Field(0.2, ge=0, lt=1.25, description="liveliness of the rhythm: how much of it is drawn by lot")
    noise_scale: float = Field(0.6, ge=0, lt=1.25, description="liveliness of the sound")
    noise_scale_w: float = Field(0.8, ge=0, lt=1.25, description="how much the lengths of the sounds differ")
    speed: float = Field(
        1.0, gt=0, le=100, description=f"above 1 is faster, below slower; {SLOWEST} is as slow as it gets"
    )

    @field_validator("language")
    @classmethod
    def _is_known(cls, value: str) -> str:
        language = {"SP": "ES"}.get(value.upper(), value.upper())
        if language not in LANGUAGES:
            raise ValueError(f"MeloTTS speaks {', '.join(LANGUAGES)}")
        return language


class MeloEngine(Engine):
    """One voice, shared by all that speak with it; their sentences take turns."""

    def __init__(self, language: str) -> None:
        self.worker = Worker(f"melo {language}")
        self._synthesizer: Synthesizer | None = None

    @classmethod
    async def open(cls, options: MeloOptions, place: Place) -> "MeloEngine":
        """Load and warm up. :raises Unavailable: with what is missing, and what mends it"""
        engine = cls(options.language)
        try:
            await engine.worker.call(lambda: engine._load(options, place))
        except BaseException:
            engine.worker.close()
            raise
        return engine

    def _load(self, options: MeloOptions, place: Place) -> None:
        config, checkpoint = find_voice(place.models, options.language, options.config_filepath, options.model_filepath)
        try:
            device = chosen_device(options.device)
        except ImportError as error:
            raise Unavailable(
                f"melo needs the package {error.name} ({error}); install with: greenroom install melo"
            ) from error
        self._synthesizer = Synthesizer(place.models, options.language, config, checkpoint, device)

    @property
    def synthesizer(self) -> Synthesizer:
        if self._synthesizer is None:
            raise Unavailable("this voice has been closed")
        return self._synthesizer

    async def close(self) -> None:
        def free() -> None:
            self._synthesizer = None

        await self.worker.call(free)
        self.worker.close()


class MeloSpeech(TextToSpeech[MeloEngine]):
    Options = MeloOptions

    def __init__(self, engine: MeloEngine, options: MeloOptions) -> None:
        """:raises BadRequest: for a speaker that the voice does not have"""
        super().__init__(engine, options)
        self._speaker = choose_speaker(engine.synthesizer.speakers, options.speaker_id)
        self._manner = {
            "sdp_ratio": options.sdp_ratio,
            "noise_scale": options.noise_scale,
            "noise_scale_w": options.noise_scale_w,
            "speed": max(options.speed, SLOWEST),
        }
        self._unknown: set[str] = set()

    @classmethod
    def engine_key(cls, options: Any) -> Hashable:
        return options.language, options.config_filepath, options.model_filepath, options.device

    @classmethod
    async def open_engine(cls, options: Any, place: Place) -> MeloEngine:
        """:raises Unavailable: with what is missing, and the command that mends it"""
        return await MeloEngine.open(options, place)

    async def voices(self) -> Sequence[Voice]:
        synthesizer = self.engine.synthesizer
        return [Voice(name, name, language_of(name, synthesizer.language)) for name in synthesizer.speakers]

    async def speak(self, text: AsyncIterator[SpeechText]) -> AsyncGenerator[Audio | WordTime, None]:
        """16 bit mono, a chunk a sentence. Closed, it stops after the sentence that is being made.

        :raises BindingFailed: if the voice cannot say it
        """
        rate = self.engine.synthesizer.sample_rate
        async for part in text:
            speaker = self._speaker_for(part.voice)
            for _, piece in utterances(without_controls(part.text), UTTERANCE_CHARACTERS):
                if pcm := await self._utter(piece, speaker):
                    yield Audio(pcm, rate)

    async def _utter(self, text: str, speaker: int) -> bytes:
        synthesizer, manner = self.engine.synthesizer, self._manner
        return await self.engine.worker.call(lambda: _pcm16(synthesizer.speak(text, speaker, **manner)))

    def _speaker_for(self, wanted: str) -> int:
        """A text may name another speaker of this voice; what else it names is logged once."""
        if not wanted or plain_speaker(wanted) == plain_speaker(self.options.speaker_id):
            return self._speaker
        try:
            return choose_speaker(self.engine.synthesizer.speakers, wanted)
        except BadRequest:
            if wanted not in self._unknown and len(self._unknown) < _UNKNOWN_NOTED:
                self._unknown.add(wanted)
                logger.warning("MeloTTS has no speaker %r here: speaking as configured", wanted)
            return self._speaker


def _pcm16(sound: Any) -> bytes:
    import numpy as np

    return bytes(np.clip(np.rint(sound * 32767), -32768, 32767).astype("<i2").tobytes())


BINDING = Binding({Role.TTS: MeloSpeech})
