"""Speech by the voices of the operating system, through pyttsx3."""

import logging
import shutil
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field

from greenroom.bindings.roles import OWNER_ONLY, Binding, Engine, Options, Place, TextToSpeech, Voice
from greenroom.bindings.spoken_text import utterances, without_controls
from greenroom.bindings.threads import Emit, Worker
from greenroom.errors import BadRequest, BindingFailed
from greenroom.values import Audio, Role, SpeechText, WordTime

from .speaker import Manner, Speaker

logger = logging.getLogger(__name__)
"""by the server's name: the list of voices is for its log, and reaches that from the binding's own process too"""

UTTERANCE_CHARACTERS: Final = 240
_CHUNK_MS: Final = 200
_WARM_UP_S: Final = 60.0


class PyttsOptions(Options):
    voice: str = Field("", description="id or name of a system voice; empty: one by gender")
    gender: Literal["female", "male", "any"] = Field("female", description="which voice where none is named")
    rate: int = Field(200, ge=50, le=500, description="speed in words a minute")
    volume: float = Field(1, ge=0, le=1, description="loudness")
    working_file: str = Field(
        "", description="sound file through which speech is handed over; empty: a temporary one",
        json_schema_extra=OWNER_ONLY,
    )  # fmt: skip
    timeout_s: float = Field(30, ge=1, le=600, description="how long a piece of 240 characters may take, in seconds")


class PyttsEngine(Engine):
    """pyttsx3, the one thread in which it lives, and a folder for its sound file."""

    def __init__(self, speaker: Speaker, worker: Worker, folder: Path) -> None:
        self.speaker = speaker
        self.worker = worker
        self.file = folder / "speech.wav"

    async def close(self) -> None:
        folder, speaker = self.file.parent, self.speaker

        def leave() -> None:
            speaker.close()
            shutil.rmtree(folder, ignore_errors=True)

        try:
            await self.worker.call(leave)
        finally:
            self.worker.close()


class PyttsSpeech(TextToSpeech[PyttsEngine]):
    Options = PyttsOptions

    def __init__(self, engine: PyttsEngine, options: PyttsOptions) -> None:
        """:raises BadRequest: for a voice that there is not, with the nearest, or a file in no folder"""
        super().__init__(engine, options)
        voices = engine.speaker.voices
        voice = voices.find(options.voice) if options.voice else voices.default(options.gender)
        if voice is None:
            near = ", ".join(voices.near(options.voice))
            raise BadRequest(f"this system has no voice {options.voice!r}; nearest: {near}", details={"field": "voice"})
        self._voice = voice
        self._file = Path(options.working_file).expanduser() if options.working_file else engine.file
        if not self._file.parent.is_dir():
            raise BadRequest(f"working_file: there is no folder {self._file.parent}", details={"field": "working_file"})
        self._unknown: set[str] = set()

    @classmethod
    async def open_engine(cls, options: Any, place: Place) -> PyttsEngine:
        """:raises Unavailable: with what is missing and what mends it"""
        worker = Worker("pytts")
        folder = Path(tempfile.mkdtemp(prefix="greenroom-pytts-"))
        try:
            speaker = await worker.call(Speaker)
            engine = PyttsEngine(speaker, worker, folder)
            manner = Manner(speaker.voices.default(options.gender), options.rate, 0)
            await worker.call(lambda: speaker.speak("One.", manner, engine.file, _WARM_UP_S))
        except BaseException:
            worker.close(lambda: shutil.rmtree(folder, ignore_errors=True))  # whoever gave up did so in its middle
            raise
        listed = ", ".join(voice.id for voice in speaker.voices.all)
        logger.info("pytts speaks by %s; its voices: %s", speaker.driver, listed)
        return engine

    async def voices(self) -> Sequence[Voice]:
        return self.engine.speaker.voices.all

    async def speak(self, text: AsyncIterator[SpeechText]) -> AsyncGenerator[Audio | WordTime, None]:
        """Closed, it stops after the piece that is being made."""
        async for part in text:
            manner = Manner(self._voice_for(part), self.options.rate, self.options.volume)
            for _, piece in utterances(without_controls(part.text), UTTERANCE_CHARACTERS):
                async with aclosing(self._utter(piece, manner)) as chunks:
                    async for audio in chunks:
                        if audio.pcm:
                            yield audio

    def _utter(self, text: str, manner: Manner) -> AsyncGenerator[Audio, None]:
        """One turn in the worker; between two, other sessions have theirs."""
        speaker, file, timeout_s = self.engine.speaker, self._file, self.options.timeout_s

        def produce(emit: Emit[Audio]) -> None:
            try:
                audio = speaker.speak(text, manner, file, timeout_s, lambda: emit(Audio(b"", 1)))
            except OSError as error:
                raise BindingFailed(f"the sound file {file} cannot be used: {error}") from error
            if audio is None:
                return
            step = audio.frame_bytes * max(1, audio.sample_rate * _CHUNK_MS // 1000)
            for at in range(0, len(audio.pcm), step):
                piece = audio.pcm[at : at + step]
                if not emit(Audio(piece, audio.sample_rate, audio.sample_width, audio.channels)):
                    return

        return self.engine.worker.stream(produce)

    def _voice_for(self, part: SpeechText) -> str:
        """A voice or language that the system lacks is logged once, and the configured voice speaks."""
        voices = self.engine.speaker.voices
        voice = voices.find(part.voice) if part.voice else None
        if voice is None and part.language:
            voice = voices.for_language(part.language, self._voice)
        if voice is not None:
            return voice
        wanted = part.voice or part.language
        if wanted and wanted not in self._unknown and len(self._unknown) < 100:
            self._unknown.add(wanted)
            logger.warning("this system has no voice for %r: speaking as %s", wanted, self._voice)
        return self._voice


BINDING = Binding({Role.TTS: PyttsSpeech})
