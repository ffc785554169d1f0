"""Speech by Piper's neural voices, a sentence at a time, on this machine."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Hashable, Sequence
from contextlib import aclosing
from typing import Any, Final, Literal

from pydantic import Field

from greenroom.bindings.packages import load_packages
from greenroom.bindings.roles import Binding, Engine, Model, Options, Place, TextToSpeech, Voice
from greenroom.bindings.spoken_text import utterances, without_controls
from greenroom.bindings.threads import Emit, stream_from_thread
from greenroom.errors import BadRequest
from greenroom.values import Audio, Role, SpeechText, WordTime

from .synthesizer import Synthesizer
from .voices import VoiceConfig, choose_speaker, choose_voice, find_voices, listed, read_config

logger = logging.getLogger(__name__)

UTTERANCE_CHARACTERS: Final = 600
"""what is longer is cut, so that no sentence takes all memory and a stop is never far"""
_MADE_AHEAD: Final = 2
"""sentences"""


class PiperOptions(Options):
    voice: str = Field("", description="name of an installed voice, with #speaker if it has several; empty: the only")
    speaker: str = Field(
        "", coerce_numbers_to_str=True, description="name or number of a speaker, where the voice has several"
    )
    length_scale: float | None = Field(None, ge=0.25, le=4, description="length of the sounds; below 1 is faster")
    noise_scale: float | None = Field(None, ge=0, le=2, description="liveliness of the sound")
    noise_w: float | None = Field(None, ge=0, le=2, description="liveliness of the rhythm")
    volume: float = Field(1, ge=0, le=4, description="loudness; above 1 it may distort")
    normalize: bool = Field(True, description="every sentence as loud as it can be without distortion")
    sentence_silence_ms: int = Field(0, ge=0, le=5000, description="silence after each sentence, in milliseconds")
    device: Literal["cpu", "cuda"] = Field("cpu", description="cuda needs the package onnxruntime-gpu")
    threads: int = Field(0, ge=0, le=256, description="processor threads for one sentence; 0: as it finds best")


class PiperEngine(Engine):
    """One voice, shared by all that speak with it."""

    def __init__(self, place: Place, config: VoiceConfig, synthesizer: Synthesizer) -> None:
        self.place = place
        self.config = config
        self.synthesizer = synthesizer


def _load(options: PiperOptions, place: Place) -> PiperEngine:
    load_packages("piper", ("numpy", "onnxruntime", "piper"))
    voice = choose_voice(place.models, options.voice)
    config = read_config(voice)
    synthesizer = Synthesizer(voice, config, options.device, options.threads)
    synthesizer.warm_up()
    return PiperEngine(place, config, synthesizer)


class PiperSpeech(TextToSpeech[PiperEngine]):
    Options = PiperOptions

    def __init__(self, engine: PiperEngine, options: PiperOptions) -> None:
        """:raises BadRequest: for a speaker that the voice does not have"""
        super().__init__(engine, options)
        if options.speaker and "#" in options.voice:
            raise BadRequest("the speaker is named twice: in voice and in speaker", details={"field": "speaker"})
        self._speaker = choose_speaker(engine.config, options.speaker or options.voice.partition("#")[2])
        self._unknown: set[str] = set()

    @classmethod
    def engine_key(cls, options: Any) -> Hashable:
        return (options.voice.partition("#")[0].strip().removesuffix(".onnx"), options.device, options.threads)

    @classmethod
    async def open_engine(cls, options: Any, place: Place) -> PiperEngine:
        """:raises Unavailable, NotFound, BadRequest: with what is missing and the command that mends it"""
        return await asyncio.to_thread(_load, options, place)

    @classmethod
    async def models(cls, options: Any, place: Place) -> Sequence[Model]:
        found = await asyncio.to_thread(find_voices, place.models)
        return [
            Model(voice.name, installed=voice.config_path.is_file(), size_bytes=voice.size_bytes) for voice in found
        ]

    async def voices(self) -> Sequence[Voice]:
        folder = self.engine.place.models
        return await asyncio.to_thread(lambda: listed(find_voices(folder), self.engine.synthesizer.name))

    async def speak(self, text: AsyncIterator[SpeechText]) -> AsyncGenerator[Audio | WordTime, None]:
        """A chunk a sentence. Closed, it stops after the sentence that is being made."""
        async for part in text:
            speaker = self._speaker_for(part)
            for _, piece in utterances(without_controls(part.text), UTTERANCE_CHARACTERS):
                async with aclosing(self._utter(piece, speaker)) as sentences:
                    async for audio in sentences:
                        yield audio

    def _utter(self, text: str, speaker: int | None) -> AsyncGenerator[Audio, None]:
        from piper import SynthesisConfig

        options: PiperOptions = self.options
        synthesizer = self.engine.synthesizer
        rate = synthesizer.sample_rate
        manner = SynthesisConfig(
            speaker_id=speaker,
            length_scale=options.length_scale,
            noise_scale=options.noise_scale,
            noise_w_scale=options.noise_w,
            normalize_audio=options.normalize,
            volume=options.volume,
        )
        silence = bytes(2 * (rate * options.sentence_silence_ms // 1000))

        def produce(emit: Emit[Audio]) -> None:
            for pcm in synthesizer.speak(text, manner):
                if pcm and not emit(Audio(pcm + silence, rate)):
                    return

        return stream_from_thread(produce, limit=_MADE_AHEAD, name="piper")

    def _speaker_for(self, part: SpeechText) -> int | None:
        """A text may name another speaker of this voice; what else it names is logged once."""
        wanted = part.voice.rpartition("#")[2]
        if wanted and part.voice != self.engine.synthesizer.name:
            try:
                return choose_speaker(self.engine.config, wanted)
            except BadRequest:
                if wanted not in self._unknown and len(self._unknown) < 100:
                    self._unknown.add(wanted)
                    logger.warning("%s has no speaker %r: speaking as configured", self.engine.synthesizer.name, wanted)
        return self._speaker


BINDING = Binding({Role.TTS: PiperSpeech})
