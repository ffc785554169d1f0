"""Speech by Kokoro, a sentence at a time, on this machine."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Hashable, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import Field

from greenroom.bindings.packages import load_packages
from greenroom.bindings.roles import Binding, Engine, Model, Options, Place, TextToSpeech, Voice
from greenroom.bindings.spoken_text import utterances, without_controls
from greenroom.bindings.threads import Emit, stream_from_thread
from greenroom.errors import BadRequest
from greenroom.values import Audio, Role, SpeechText, WordTime

from .model_files import choose_model, choose_voice_file, find_models, find_voice_files
from .synthesizer import Synthesizer
from .voices import find_language, listed, mixed_style, own_language, speaks

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

logger = logging.getLogger(__name__)

UTTERANCE_CHARACTERS: Final = 240
"""about what the model takes at once; a shorter piece sounds sooner and makes a stop quicker"""
_MADE_AHEAD: Final = 2
_SENTENCE_ENDS: Final = ".!?…。！？।"
_CLAUSE_ENDS: Final = ",;:、，；："


class KokoroOptions(Options):
    voice: str = Field(
        "af_heart", min_length=1, max_length=500, description="a voice, or a mixture: af_bella:2+am_adam:1"
    )
    language: str = Field("", description="how the text is pronounced: en-us, fr-fr; empty: as the voice's name says")
    speed: float = Field(1, ge=0.5, le=2, description="above 1 is faster")
    sentence_pause_ms: int = Field(250, ge=0, le=5000, description="silence after a sentence, in milliseconds")
    clause_pause_ms: int = Field(100, ge=0, le=5000, description="silence after a piece that ends with a comma")
    model: str = Field("", description="name of a model file in models/kokoro; empty: the only one, or kokoro-v1.0")
    voices_file: str = Field("", description="name of a file of voices in models/kokoro; empty: the only one")
    device: Literal["cpu", "cuda"] = Field("cpu", description="cuda needs the package onnxruntime-gpu")
    threads: int = Field(0, ge=0, le=256, description="processor threads for one sentence; 0: as it finds best")


class KokoroEngine(Engine):
    """The model, shared by all sessions, whatever their voices."""

    def __init__(self, synthesizer: Synthesizer) -> None:
        self.synthesizer = synthesizer


def _load(options: KokoroOptions, place: Place) -> KokoroEngine:
    load_packages("kokoro", ("numpy", "onnxruntime", "phonemizer", "espeakng_loader", "kokoro_onnx"))
    model = choose_model(place.models, options.model)
    synthesizer = Synthesizer(
        model, choose_voice_file(place.models, options.voices_file), options.device, options.threads
    )
    spoken = find_language(options.language, synthesizer.languages)
    synthesizer.warm_up(spoken or own_language(options.voice))
    return KokoroEngine(synthesizer)


class KokoroSpeech(TextToSpeech[KokoroEngine]):
    Options = KokoroOptions

    def __init__(self, engine: KokoroEngine, options: KokoroOptions) -> None:
        """:raises BadRequest: for a voice or a language that there is not, with the nearest ones"""
        super().__init__(engine, options)
        self._style = mixed_style(engine.synthesizer.voices, options.voice)
        language = options.language or own_language(options.voice)
        found = find_language(language, engine.synthesizer.languages)
        if found is None:
            known = ", ".join(engine.synthesizer.languages)
            raise BadRequest(f"kokoro pronounces no {language!r}; known: {known}", details={"field": "language"})
        self._language = found
        self._unknown: set[str] = set()

    @classmethod
    def engine_key(cls, options: Any) -> Hashable:
        return (options.model, options.voices_file, options.device, options.threads)

    @classmethod
    async def open_engine(cls, options: Any, place: Place) -> KokoroEngine:
        """:raises Unavailable, NotFound, BadRequest: with what is missing and the command that mends it"""
        return await asyncio.to_thread(_load, options, place)

    @classmethod
    async def models(cls, options: Any, place: Place) -> Sequence[Model]:
        found, voices = await asyncio.to_thread(lambda: (find_models(place.models), find_voice_files(place.models)))
        return [Model(path.stem, installed=bool(voices), size_bytes=path.stat().st_size) for path in found]

    async def voices(self) -> Sequence[Voice]:
        return listed(list(self.engine.synthesizer.voices))

    async def speak(self, text: AsyncIterator[SpeechText]) -> AsyncGenerator[Audio | WordTime, None]:
        """A chunk a sentence or piece. Closed, it stops after the piece that is being made."""
        async for part in text:
            style, language = self._manner(part)
            pieces = [piece for _, piece in utterances(without_controls(part.text), UTTERANCE_CHARACTERS)]
            async with aclosing(self._utter(pieces, style, language)) as chunks:
                async for audio in chunks:
                    yield audio

    def _utter(self, pieces: Sequence[str], style: "NDArray[np.float32]", language: str) -> AsyncGenerator[Audio, None]:
        synthesizer, speed = self.engine.synthesizer, self.options.speed

        def produce(emit: Emit[Audio]) -> None:
            for piece in pieces:
                pcm = synthesizer.speak(piece, style, speed, language)
                if pcm and not emit(Audio(pcm + self._pause(piece), synthesizer.sample_rate)):
                    return

        return stream_from_thread(produce, limit=_MADE_AHEAD, name="kokoro")

    def _pause(self, piece: str) -> bytes:
        """Silence, as the last mark asks for; the model's own is cut off."""
        last = piece.rstrip().rstrip("\"'”’»)]")[-1:]
        options: KokoroOptions = self.options
        if last and last in _SENTENCE_ENDS:
            pause_ms = options.sentence_pause_ms
        else:
            pause_ms = options.clause_pause_ms if last and last in _CLAUSE_ENDS else 0
        return bytes(2 * (self.engine.synthesizer.sample_rate * pause_ms // 1000))

    def _manner(self, part: SpeechText) -> "tuple[NDArray[np.float32], str]":
        style, language = self._style, self._language
        if part.voice:
            try:
                style = mixed_style(self.engine.synthesizer.voices, part.voice)
                language = self._language if self.options.language else own_language(part.voice)
            except BadRequest:
                self._say_once(part.voice)
        if part.language and not speaks(language, part.language):
            found = find_language(part.language, self.engine.synthesizer.languages)
            if found is None:
                self._say_once(part.language)
            else:
                language = found
        return style, language

    def _say_once(self, wanted: str) -> None:
        if wanted not in self._unknown and len(self._unknown) < 100:
            self._unknown.add(wanted)
            logger.warning("kokoro has nothing for %r: speaking as %s", wanted, self.options.voice)


BINDING = Binding({Role.TTS: KokoroSpeech})
