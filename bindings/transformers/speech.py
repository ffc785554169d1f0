"""Role tts: VITS (facebook/mms-tts-...) and other models that turn text into sound, sentence by sentence.

SpeechText ... -> utterances -> pipeline -> Audio of 16 bit at the model's own rate
"""

import threading
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any, ClassVar, Final

from pydantic import Field

from greenroom.bindings.roles import Options, TextToSpeech, Voice
from greenroom.bindings.spoken_text import is_speakable, utterances, without_controls
from greenroom.errors import BadRequest, BindingFailed, Unavailable
from greenroom.values import Audio, SpeechText, WordTime

from .loading import ModelOptions, TorchModel, TransformersOperation

_NEED_MORE: Final = ("speecht5", "fastspeech2_conformer")
"""kinds that make spectrograms, for which a second model would be fetched"""
_LONGEST: Final = 400
"""characters of an utterance; longer ones take memory with the square"""
_FULL_SCALE: Final = 32767
_WARM_UP: Final = "hello"


class SpeechOptions(ModelOptions):
    speaker: int = Field(0, ge=0, le=100_000, description="number of the speaker, where the model has several")
    speaking_rate: float = Field(1.0, ge=0.25, le=4, description="above 1: faster; for VITS models")
    volume: float = Field(1.0, ge=0, le=4, description="loudness; above 1 it may distort")


class VoiceModel(TorchModel):
    kind = "voice"

    def load(self) -> None:
        from transformers import AutoConfig, AutoModelForTextToWaveform, pipeline

        kind = AutoConfig.from_pretrained(self.folder, **self.loading).model_type
        if kind in _NEED_MORE:
            raise Unavailable(
                f"{self.name} is a {kind} model, which needs a vocoder beside it; choose a VITS model such as "
                "facebook/mms-tts-eng"
            )
        model = AutoModelForTextToWaveform.from_pretrained(self.folder, **self.weights)
        self._model = self.placed(model)
        self._pipe: Any = pipeline(
            "text-to-audio", model=self._model, tokenizer=str(self.folder), device=self.device, trust_remote_code=False
        )
        if not self._pipe.sampling_rate:
            raise Unavailable(f"the voice in {self.folder} does not say its sample rate")
        self._drawing = threading.Lock()

    def warm_up(self) -> None:
        self.sound(_WARM_UP, 0, 1.0, 1.0)

    @property
    def speakers(self) -> int:
        return int(getattr(self.model.config, "num_speakers", 1) or 1)

    def sound(self, text: str, speaker: int, rate: float, volume: float) -> Audio | None:
        """In a thread; ``None``: the model knows none of the letters."""
        import numpy as np

        model = self.model
        if not any(self._pipe.tokenizer(text)["input_ids"]):
            return None
        given: dict[str, Any] = {"forward_params": {"speaker_id": speaker}} if self.speakers > 1 else {}
        with self._drawing:  # the rate is the model's, not the call's
            if hasattr(model, "speaking_rate"):
                model.speaking_rate = rate
            made = self._pipe(text, **given)
        samples = np.asarray(made["audio"], np.float32)
        samples = samples.reshape(-1, samples.shape[-1]).mean(0)  # [channels, samples], or samples alone
        if not samples.size or not np.isfinite(samples).all():
            raise BindingFailed(f"the voice {self.name} made no sound", retryable=True)
        loud = np.clip(samples * volume, -1, 1) * _FULL_SCALE
        return Audio(loud.astype("<i2").tobytes(), int(made["sampling_rate"]))


class Speech(TransformersOperation, TextToSpeech[TorchModel]):
    Options: ClassVar[type[Options]] = SpeechOptions
    options: SpeechOptions
    engine: VoiceModel
    default_model = "facebook/mms-tts-eng"
    engine_type = VoiceModel
    architectures = ("VitsModel", "BarkModel", "ForTextToSpeech", "CsmForConditionalGeneration")

    async def speak(self, text: AsyncIterator[SpeechText]) -> AsyncGenerator[Audio | WordTime, None]:
        """Left early, it stops after the utterance that is being made.

        :raises BadRequest: for a speaker that the voice has not; :raises BindingFailed: if the model fails
        """
        options = self.options
        async for item in text:
            speaker = self._speaker(item.voice)
            for _, part in utterances(without_controls(item.text), _LONGEST):
                if not is_speakable(part):
                    continue
                audio = await self._made(part.strip(), speaker, options.speaking_rate, options.volume)
                if audio is not None:
                    yield audio

    async def _made(self, text: str, speaker: int, rate: float, volume: float) -> Audio | None:
        return await self.engine.call(lambda: self.engine.sound(text, speaker, rate, volume))

    def _speaker(self, voice: str) -> int:
        count = self.engine.speakers
        if voice and not voice.isdecimal():
            raise BadRequest(f"this voice's speakers are numbers from 0 to {count - 1}, not {voice!r}")
        speaker = int(voice) if voice else self.options.speaker
        if speaker >= count:
            raise BadRequest(
                f"the voice {self.engine.name} has {count} speakers, numbered from 0", details={"field": "speaker"}
            )
        return speaker

    async def voices(self) -> Sequence[Voice]:
        """The speakers of the model."""
        return [Voice(str(number), f"{self.engine.name}, {number}") for number in range(self.engine.speakers)]
