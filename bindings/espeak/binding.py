"""Speech by espeak-ng: small, fast, a hundred languages, audibly a machine."""

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from pydantic import Field

from greenroom.bindings.roles import Binding, Engine, Options, Place, TextToSpeech, Voice
from greenroom.bindings.threads import Emit, Worker
from greenroom.errors import BadRequest
from greenroom.values import Audio, Role, SpeechText, WordTime

from .library import Library, Manner, Word
from .text import ends_a_clause, speakable, utterances
from .voices import Voices

logger = logging.getLogger(__name__)


class EspeakOptions(Options):
    voice: str = Field("en-us", description="language code, with +variant for another timbre: en-us, de, en-gb+f3")
    rate: int = Field(175, ge=80, le=450, description="speed in words a minute")
    pitch: int = Field(50, ge=0, le=99, description="height of the voice")
    pitch_range: int = Field(50, ge=0, le=99, description="how much the pitch moves; 0 is a monotone")
    volume: int = Field(100, ge=0, le=200, description="loudness; above 100 it may distort")
    word_gap_ms: int = Field(0, ge=0, le=1000, description="extra silence between words, in milliseconds, by tens")


class EspeakEngine(Engine):
    """The library, its voices, and the one thread in which all sessions' utterances take turns."""

    def __init__(self, library: Library, voices: Voices, worker: Worker) -> None:
        self.library = library
        self.voices = voices
        self.worker = worker

    async def close(self) -> None:
        self.worker.close()


def _load() -> tuple[Library, Voices]:
    library = Library()
    return library, Voices(library.voices(), library.variants())


class EspeakSpeech(TextToSpeech[EspeakEngine]):
    Options = EspeakOptions

    def __init__(self, engine: EspeakEngine, options: EspeakOptions) -> None:
        """:raises BadRequest: for a voice that there is not, with the nearest ones."""
        super().__init__(engine, options)
        voice = engine.voices.find(options.voice)
        if voice is None:
            near = ", ".join(engine.voices.near(options.voice)) or "en-us, en-us+f3, de, fr-fr"
            raise BadRequest(f"espeak has no voice {options.voice!r}; nearest: {near}", details={"field": "voice"})
        self._voice = voice
        self._manner = Manner(
            engine.voices.native(voice),
            options.rate,
            options.pitch,
            options.pitch_range,
            options.volume,
            options.word_gap_ms,
        )
        self._unknown: set[str] = set()

    @classmethod
    async def open_engine(cls, options: Any, place: Place) -> EspeakEngine:
        worker = Worker("espeak")
        try:
            library, voices = await worker.call(_load)
        except BaseException:
            worker.close()
            raise
        return EspeakEngine(library, voices, worker)

    async def voices(self) -> Sequence[Voice]:
        return self.engine.voices.listed(self._voice)

    async def speak(self, text: AsyncIterator[SpeechText]) -> AsyncGenerator[Audio | WordTime, None]:
        """Offsets of words count through all the texts of the call, as if they were joined."""
        rate = self.engine.library.sample_rate
        samples = offset = 0
        async for part in text:
            manner = replace(self._manner, voice=self._native_voice(part))
            for start, piece in utterances(speakable(part.text)):
                begin_ms = 1000 * samples / rate
                async with aclosing(self._utter(piece, manner)) as items:
                    async for item in items:
                        if isinstance(item, bytes):
                            samples += len(item) // 2
                            yield Audio(item, rate)
                        else:
                            at = start + item.offset
                            word = part.text[at : at + item.length]
                            yield WordTime(word, begin_ms + item.start_ms, begin_ms + item.end_ms, offset + at)
            offset += len(part.text)

    def _utter(self, text: str, manner: Manner) -> AsyncGenerator[bytes | Word, None]:
        """One turn in the worker; between two, other sessions have theirs."""
        manner = replace(manner, end_pause=ends_a_clause(text))
        synthesize = self.engine.library.synthesize

        def produce(emit: Emit[bytes | Word]) -> None:
            synthesize(text, manner, emit)

        return self.engine.worker.stream(produce)

    def _native_voice(self, part: SpeechText) -> str:
        """A voice or language that this backend lacks is logged once, and the configured voice speaks."""
        voices = self.engine.voices
        voice = voices.find(part.voice) if part.voice else None
        if voice is None and part.language:
            voice = voices.for_language(part.language, self._voice)
        if voice is not None:
            return voices.native(voice)
        wanted = part.voice or part.language
        if wanted and wanted not in self._unknown and len(self._unknown) < 100:
            self._unknown.add(wanted)
            logger.warning("espeak has no voice for %r: speaking as %s", wanted, self._voice)
        return self._manner.voice


BINDING = Binding({Role.TTS: EspeakSpeech})
