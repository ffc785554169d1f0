"""Role tts: text goes out piece by piece as it is written, sound comes back while more is written.

SpeechText ... -> start, text ..., flush, stop --/v1/tts/live--> audio ..., finish -> Audio ...
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from greenroom.bindings.live_socket import Retold, Talk
from greenroom.bindings.retrying import pause_s
from greenroom.bindings.roles import Options, Place, TextToSpeech, Voice
from greenroom.bindings.spoken_text import FirstClause, is_speakable, without_controls
from greenroom.errors import BindingFailed
from greenroom.values import Audio, SpeechText, WordTime

from .library import library_voices
from .service import FishEngine, FishOperation, FishOptions

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

SAMPLE_RATE = 44_100


class SpeechOptions(FishOptions):
    model_id: str = Field(
        "c9198512a4164a18b11a3bf96e5c668f",
        max_length=64,
        pattern=r"^[A-Za-z0-9_-]*$",
        description="the voice, by the id at the end of its page's address; empty: the model's own voice",
    )
    backend: str = Field(
        "speech-1.6",
        min_length=1,
        max_length=40,
        pattern=r"^[a-z0-9][a-z0-9.-]*$",
        description="the model that speaks: s2.1-pro, s2-pro, s1, speech-1.6 ...; default: as the service chooses",
    )
    normalize: bool = Field(False, description="numbers, dates and the like are read as words")
    latency: Literal["normal", "balanced"] = Field("normal", description="balanced is quicker, normal sounds better")
    chunk_length: int = Field(200, ge=100, le=300, description="characters that are made at a time")
    speed: float = Field(1.0, ge=0.5, le=2, description="1: as fast as the voice speaks")
    volume: float = Field(0.0, ge=-20, le=20, description="louder or softer, in decibels")
    temperature: float = Field(0.7, ge=0, le=1, description="liveliness: higher varies more")
    top_p: float = Field(0.7, ge=0, le=1, description="liveliness: lower is steadier")


class Speech(FishOperation, TextToSpeech[FishEngine]):
    Options: ClassVar[type[Options]] = SpeechOptions
    options: SpeechOptions

    @classmethod
    async def open_engine(cls, options: Any, place: Place) -> FishEngine:
        """Connects already, so that the first sentence need not wait for it. :raises BindingFailed:"""
        engine = await super().open_engine(options, place)
        if engine.failures.key:
            engine.sockets.prepare(engine.live_url, engine.headers(options.backend))
        return engine

    async def voices(self) -> Sequence[Voice]:
        """The account's own voices and much used ones of the library; without a key the configured one alone."""
        return await library_voices(self.engine, self.options.model_id)

    async def speak(self, text: AsyncIterator[SpeechText]) -> AsyncGenerator[Audio | WordTime, None]:
        """The voice that the first text names speaks them all. :raises BindingFailed:"""
        self.engine.check()
        retold = Retold(text)
        try:
            first = await retold.first(lambda part: is_speakable(part.text))
            if first is None:
                return
            for attempt in range(self.options.max_retries + 1):
                sounded = False
                try:
                    async with aclosing(self._speak(retold, first.voice)) as sounds:
                        async for sound in sounds:
                            sounded = True
                            yield sound
                except BindingFailed as failure:
                    wait_s = pause_s(failure, attempt)
                    if sounded or attempt == self.options.max_retries or wait_s is None:
                        raise
                    await asyncio.sleep(wait_s)
                else:
                    return
        finally:
            await retold.close()

    async def _speak(self, text: Retold[SpeechText], voice: str) -> AsyncGenerator[Audio, None]:
        engine = self.engine

        async def send(socket: "ClientConnection") -> None:
            await self._send(socket, text, voice)

        async with engine.sockets.talk(engine.live_url, engine.headers(self.options.backend), send) as talk:
            half = b""
            sounded = False
            async with aclosing(_sound_of(talk, engine)) as pieces:
                async for piece in pieces:
                    data = half + piece
                    half = data[len(data) - len(data) % 2 :]
                    if whole := data[: len(data) - len(half)]:
                        sounded = True
                        yield Audio(whole, SAMPLE_RATE)
            if not sounded:
                raise engine.failures.no_sound()

    async def _send(self, socket: "ClientConnection", text: Retold[SpeechText], voice: str) -> None:
        import ormsgpack
        from fishaudio.types.tts import CloseEvent, FlushEvent, StartEvent, TextEvent

        await socket.send(ormsgpack.packb(StartEvent(request=self._request(voice)).model_dump()))
        clause = FirstClause()
        async with aclosing(text.told()) as parts:
            async for part in parts:
                if not part.text:
                    continue
                await socket.send(ormsgpack.packb(TextEvent(text=without_controls(part.text)).model_dump()))
                if clause.ends_with(part.text):  # from then on the service has sound to give while it waits for text
                    await socket.send(ormsgpack.packb(FlushEvent().model_dump()))
        await socket.send(ormsgpack.packb(CloseEvent().model_dump()))

    def _request(self, voice: str) -> Any:
        from fishaudio.types.tts import Prosody, TTSRequest

        options = self.options
        is_plain = options.speed == 1.0 and options.volume == 0.0
        return TTSRequest(
            text="",
            format="pcm",
            sample_rate=SAMPLE_RATE,
            chunk_length=options.chunk_length,
            reference_id=voice or options.model_id or None,
            normalize=options.normalize,
            latency=options.latency,
            prosody=None if is_plain else Prosody(speed=options.speed, volume=options.volume),
            temperature=options.temperature,
            top_p=options.top_p,
        )


async def _sound_of(talk: Talk, engine: FishEngine) -> AsyncGenerator[bytes, None]:
    """:raises BindingFailed: for an error that the service tells, for nonsense, and for an end too soon."""
    import ormsgpack

    failures = engine.failures
    async with aclosing(talk.messages()) as messages:
        async for message in messages:
            try:
                event = ormsgpack.unpackb(message) if isinstance(message, bytes) else None
            except ValueError:
                event = None
            if not isinstance(event, dict):
                raise failures.nonsense("something that is no speech")
            match event.get("event"):
                case "audio" if isinstance(event.get("audio"), bytes):
                    yield event["audio"]
                case "finish" if event.get("reason") == "stop":
                    return
                case "finish" | "error":
                    said = str(event.get("message") or event.get("error") or event.get("reason") or "no reason given")
                    raise BindingFailed(f"{failures.host} could not speak this: {failures.clean(said)}", retryable=True)
    raise failures.cut_off()
