"""Role stt: Whisper and its like, by transformers.

Audio ... -> 16 kHz mono -> stretches of at most 28 s, cut where it is quietest -> Transcripts
"""

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from pydantic import Field

from greenroom.bindings.roles import Options, SpeechToText
from greenroom.errors import BadRequest, Unavailable
from greenroom.values import Audio, Transcript

from .loading import ModelOptions, TorchModel, TransformersOperation
from .recording import SAMPLE_RATE, Recording

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_MAX_PROMPT_TOKENS: Final = 200
_WARM_UP_S: Final = 1


class RecognitionOptions(ModelOptions):
    language: str = Field(
        "", pattern=r"^[a-z]{0,3}$", description="what is spoken, as en, de, ja; empty: found out from the sound"
    )
    task: Literal["transcribe", "translate"] = Field(
        "transcribe", description="translate: whatever is spoken, written in English"
    )
    num_beams: int = Field(1, ge=1, le=20, description="readings that are weighed; 1 is the quickest")
    partial_every_s: float = Field(
        2.0, ge=0, le=30, description="seconds after which live sound is heard anew, if the model is idle; 0: never"
    )
    quiet_db: float = Field(
        -55.0, ge=-100, le=0, description="a stretch with nothing louder, in dB below full scale, is silence"
    )
    use_hint: bool = Field(
        True, description="tell the model the conversation's last lines: names and words likely to be said"
    )


class SpeechModel(TorchModel):
    kind = "speech recognition model"

    def load(self) -> None:
        from transformers import AutoFeatureExtractor, AutoModelForSpeechSeq2Seq, AutoTokenizer

        self.tokenizer: Any = AutoTokenizer.from_pretrained(self.folder, **self.loading)
        self._extractor: Any = AutoFeatureExtractor.from_pretrained(self.folder, **self.loading)
        self._model = self.placed(AutoModelForSpeechSeq2Seq.from_pretrained(self.folder, **self.weights))
        if self._extractor.sampling_rate != SAMPLE_RATE:
            raise Unavailable(f"the model {self.name} wants sound of {self._extractor.sampling_rate} Hz, not 16000")

    def warm_up(self) -> None:
        import numpy as np

        noise = np.random.default_rng(0).normal(0, 0.01, _WARM_UP_S * SAMPLE_RATE).astype(np.float32)
        self.text(noise, {"max_new_tokens": 2}, "", threading.Event())

    @property
    def is_whisper(self) -> bool:
        return str(self.model.config.model_type) == "whisper"

    def check_language(self, language: str) -> None:
        """:raises BadRequest: for one that the model does not know."""
        known = getattr(self.model.generation_config, "lang_to_id", None) or {}
        if not known and self.is_whisper and language == "en":  # its English models have no signs for languages
            return
        if language and f"<|{language}|>" not in known:
            names = ", ".join(sorted(name.strip("<|>") for name in known)) or "one language alone"
            raise BadRequest(
                f"the model {self.name} does not know the language {language!r}; it knows {names}",
                details={"field": "language"},
            )

    def text(self, samples: "NDArray[np.float32]", how: dict[str, Any], hint: str, left: threading.Event) -> str:
        """In a thread. What is said in at most 30 s; ``left`` set: it stops at the next token."""
        import torch

        model = self.model
        features = self._extractor(
            samples, sampling_rate=SAMPLE_RATE, return_tensors="pt", return_attention_mask=True
        ).to(model.device)
        for name, tensor in features.items():
            if tensor.is_floating_point():
                features[name] = tensor.to(model.dtype)

        def is_left(input_ids: Any, _: Any, **__: Any) -> Any:
            return torch.full((input_ids.shape[0],), left.is_set(), dtype=torch.bool, device=input_ids.device)

        asked = dict(how)
        if self.is_whisper:
            asked["return_timestamps"] = True
            if hint:
                prompt = self.tokenizer.get_prompt_ids(hint, return_tensors="pt").to(model.device)
                asked["prompt_ids"] = torch.cat([prompt[:1], prompt[1:][-_MAX_PROMPT_TOKENS:]])
        tokens = model.generate(**features, **asked, stopping_criteria=[is_left])
        if not isinstance(tokens, torch.Tensor):
            tokens = tokens["sequences"]
        return str(self.tokenizer.batch_decode(tokens, skip_special_tokens=True)[0]).strip()


class Recognition(TransformersOperation, SpeechToText[TorchModel]):
    Options: ClassVar[type[Options]] = RecognitionOptions
    options: RecognitionOptions
    engine: SpeechModel
    default_model = "openai/whisper-base"
    engine_type = SpeechModel
    architectures = ("WhisperForConditionalGeneration", "ForSpeechSeq2Seq", "MoonshineForConditionalGeneration",
        "Speech2TextForConditionalGeneration")  # fmt: skip

    async def transcribe(self, audio: AsyncIterator[Audio], hint: str) -> AsyncGenerator[Transcript, None]:
        """Partials while the sound comes, as often as the model is idle. Left early, it stops at its next token.

        :raises BadRequest: for what is no sound, or a language that the model does not know
        :raises BindingFailed: if the model fails
        """
        options = self.options
        self.engine.check_language(options.language)
        recording = Recording(options.quiet_db)
        collecting = asyncio.create_task(recording.collect(audio), name="transformers: sound")
        left = threading.Event()
        settled: list[str] = []
        known = ""
        try:
            while not recording.is_done:
                if not await recording.more(options.partial_every_s, lambda: self.engine.is_busy):
                    await collecting
                stretch = recording.stretch()
                text = await self._heard(stretch.samples, hint, left) if stretch.is_loud else ""
                said = " ".join(filter(None, (*settled, text)))
                if stretch.is_settled:
                    recording.drop(len(stretch.samples))
                    settled.append(text)
                if said and said != known and not recording.is_done:
                    known = said
                    yield Transcript(said, final=False)
            yield Transcript(" ".join(filter(None, settled)))
        finally:
            left.set()
            collecting.cancel()
            await asyncio.gather(collecting, return_exceptions=True)

    async def _heard(self, samples: "NDArray[np.float32]", hint: str, left: threading.Event) -> str:
        options = self.options
        how: dict[str, Any] = {"num_beams": options.num_beams}
        if self.engine.is_whisper and getattr(self.engine.model.generation_config, "is_multilingual", False):
            how |= {"task": options.task, "language": options.language or None}
        prompt = hint.strip() if options.use_hint else ""
        return await self.engine.call(lambda: self.engine.text(samples, how, prompt, left))
