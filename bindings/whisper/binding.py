"""Role stt: OpenAI's Whisper under faster-whisper, on this machine.

Audio ... -> 16 kHz mono -> stretches of speech -> Transcript (partials) ..., Transcript (final)
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Hashable, Sequence
from typing import Literal

from pydantic import Field

from greenroom.bindings.hub_models import check_folder
from greenroom.bindings.roles import OWNER_ONLY, Binding, Model, Options, Place, SpeechToText
from greenroom.values import Audio, Role, Transcript

from .listening import Listening
from .model_names import WEIGHTS, find_model, listed
from .recognizer import How, Recognizer

_MAX_PROMPT = 1000


class WhisperOptions(Options):
    model: str = Field(
        "base",
        max_length=200,
        description="tiny, base, small, medium, large-v3, turbo, distil-large-v3; a folder in models/whisper; or "
        "owner/name as on the hub, for a model in ctranslate2's form",
    )
    model_path: str = Field("", description="folder of a model, in place of `model`", json_schema_extra=OWNER_ONLY)
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto, cpu, cuda or cuda:1")
    compute_type: Literal[
        "auto", "default", "int8", "int8_float32", "int8_float16", "int8_bfloat16", "int16", "float16", "bfloat16",
        "float32",
    ] = Field("auto", description="numbers that the model reckons with; auto: the quickest of the device, default: as "
        "the model was stored")  # fmt: skip
    language: str = Field(
        "", pattern=r"^[a-z]{0,3}$", description="what is spoken, as en, de, ja; empty: found out from the sound"
    )
    task: Literal["transcribe", "translate"] = Field(
        "transcribe", description="translate: whatever is spoken, written in English"
    )
    beam_size: int = Field(5, ge=1, le=20, description="readings that are weighed; 1 is the quickest")
    vad_filter: bool = Field(True, description="look for speech first: silence and noise are not taken for words")
    partial_every_s: float = Field(
        1.0, ge=0, le=30, description="seconds after which live sound is heard anew, if the model is idle; 0: never"
    )
    window_s: float = Field(
        25.0, ge=5, le=29, description="the longest stretch heard in one go; what lies before it is not heard again"
    )
    use_hint: bool = Field(
        True, description="tell the model the conversation's last lines: names and words likely to be said"
    )
    prompt: str = Field("", max_length=_MAX_PROMPT, description="names and words likely to be said, or a style")
    threads: int = Field(0, ge=0, le=256, description="processor threads of one recognition; 0: four, or fewer")
    parallel: int = Field(2, ge=1, le=16, description="recognitions at once; further ones wait")


class WhisperRecognition(SpeechToText[Recognizer]):
    Options = WhisperOptions

    @classmethod
    def engine_key(cls, options: WhisperOptions) -> Hashable:
        return (
            options.model, options.model_path, options.device, options.compute_type, options.threads, options.parallel
        )  # fmt: skip

    @classmethod
    async def open_engine(cls, options: WhisperOptions, place: Place) -> Recognizer:
        """:raises Unavailable, BadRequest: about the model or the packages, with what mends it"""
        if options.model_path:
            folder = check_folder(options.model_path, config=WEIGHTS)
        else:
            folder = find_model(options.model, place.models, place.binding_id)
        return await asyncio.to_thread(
            Recognizer.load, folder, options.device, options.compute_type, options.threads, options.parallel
        )

    @classmethod
    async def models(cls, options: WhisperOptions, place: Place) -> Sequence[Model]:
        return listed(place.models)

    async def transcribe(self, audio: AsyncIterator[Audio], hint: str) -> AsyncGenerator[Transcript, None]:
        """Partials while the sound comes, as often as the model is idle.

        :raises BadRequest: for what is no sound, or a language that the model does not know
        :raises BindingFailed: if the model fails
        """
        options = self.options
        self.engine.check_language(options.language)
        prompt = " ".join(filter(None, (options.prompt.strip(), hint.strip() if options.use_hint else "")))
        how = How(options.language, options.task, options.beam_size, prompt)
        listening = Listening(self.engine, how, window_s=options.window_s, finds_speech=options.vad_filter)
        collecting = asyncio.create_task(listening.collect(audio), name="whisper: sound")
        known = ""
        try:
            while await listening.more(options.partial_every_s):
                text = await listening.listen()
                if text and text != known:
                    known = text
                    yield Transcript(text, final=False)
            await collecting
            text = await listening.listen()
            while not listening.is_done:
                if text and text != known:
                    known = text
                    yield Transcript(text, final=False)
                text = await listening.listen()
            yield Transcript(text)
        finally:
            collecting.cancel()
            await asyncio.gather(collecting, return_exceptions=True)


BINDING = Binding({Role.STT: WhisperRecognition})
