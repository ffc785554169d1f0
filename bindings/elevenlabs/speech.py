"""Role tts: text goes out word by word as it is written, sound and the times of words come back.

SpeechText ... -> settings, words ..., end --stream-input--> audio and alignment ... -> Audio, WordTime ...
"""

import asyncio
import base64
import binascii
import json
from collections.abc import AsyncGenerator, AsyncIterator, Hashable, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from greenroom.bindings.live_socket import Retold, Talk
from greenroom.bindings.retrying import pause_s
from greenroom.bindings.roles import Model, Options, Place, TextToSpeech, Voice
from greenroom.bindings.service_failures import ServiceFailures
from greenroom.bindings.spoken_text import FirstClause, WordFinder, is_speakable, without_controls
from greenroom.errors import BindingFailed
from greenroom.values import Audio, SpeechText, WordTime

from .alignment import Alignment
from .service import KEY, READY_MADE, ElevenEngine, ServiceOptions, open_service
from .words import WholeWords

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection


class SpeechOptions(ServiceOptions):
    voice: str = Field(
        "George", min_length=1, max_length=120, description="the voice, by id or name; `greenroom list voices`"
    )
    model: str = Field(
        "eleven_flash_v2_5",
        min_length=1,
        max_length=80,
        pattern=r"^[A-Za-z0-9_.-]+$",
        description="the model that speaks; eleven_flash_v2_5 is the quickest",
    )
    stability: float = Field(0.5, ge=0, le=1, description="higher: steadier and more monotonous")
    similarity_boost: float = Field(0.75, ge=0, le=1, description="how closely it keeps to the recorded voice")
    style: float = Field(0.0, ge=0, le=1, description="exaggeration of the voice's style; above 0 it is slower")
    speed: float = Field(1.0, ge=0.7, le=1.2, description="1: as fast as the voice speaks")
    speaker_boost: bool = Field(True, description="more likeness for a little more delay")
    language: str = Field(
        "", max_length=10, pattern=r"^[A-Za-z-]*$", description="ISO 639-1 code that the model is held to; empty: none"
    )
    output_format: Literal["pcm_16000", "pcm_22050", "pcm_24000", "pcm_44100"] = Field(
        "pcm_24000", description="sound as it is sent; pcm_44100 only with some subscriptions"
    )


class Speech(TextToSpeech[ElevenEngine]):
    Options: ClassVar[type[Options]] = SpeechOptions
    options: SpeechOptions

    @classmethod
    def engine_key(cls, options: Any) -> Hashable:
        return (options.base_url, options.connect_timeout_s, options.read_timeout_s)

    @classmethod
    async def open_engine(cls, options: Any, place: Place) -> ElevenEngine:
        """:raises BindingFailed: where the SDK is missing. A missing key is said by the first call."""
        engine = await asyncio.to_thread(open_service, options, place.secret(KEY, options.base_url))
        if engine.failures.key:
            try:
                voice_id = await engine.voice_id(options.voice)
            except BindingFailed:
                return engine  # said by the first call
            engine.sockets.prepare(_url(engine, options, voice_id), engine.headers)
        return engine

    @classmethod
    async def models(cls, options: Any, place: Place) -> Sequence[Model]:
        """What the account may use; nothing without a key."""
        key = place.secret(KEY, options.base_url)
        if key is None:
            return ()
        engine = await asyncio.to_thread(open_service, options, key)
        try:
            return await engine.models()
        finally:
            await engine.close()

    async def voices(self) -> Sequence[Voice]:
        """The account's; without a key, or an answer, those that every account has."""
        return await self.engine.voices() or READY_MADE

    async def speak(self, text: AsyncIterator[SpeechText]) -> AsyncGenerator[Audio | WordTime, None]:
        """The voice that the first text names speaks them all. Offsets of words count through the texts of the call as
        if they were joined. :raises BindingFailed:"""
        self.engine.check()
        retold = Retold(text)
        try:
            first = await retold.first(lambda part: is_speakable(part.text))
            if first is None:
                return
            url = _url(self.engine, self.options, await self.engine.voice_id(first.voice or self.options.voice))
            for attempt in range(self.options.max_retries + 1):
                sounded = False
                try:
                    async with aclosing(self._speak(url, retold)) as items:
                        async for item in items:
                            sounded = True
                            yield item
                except BindingFailed as failure:
                    wait_s = pause_s(failure, attempt)
                    if sounded or attempt == self.options.max_retries or wait_s is None:
                        raise
                    await asyncio.sleep(wait_s)
                else:
                    return
        finally:
            await retold.close()

    async def _speak(self, url: str, text: Retold[SpeechText]) -> AsyncGenerator[Audio | WordTime, None]:
        engine = self.engine
        rate = int(self.options.output_format.removeprefix("pcm_"))
        alignment = Alignment()

        async def send(socket: "ClientConnection") -> None:
            await self._send(socket, text, alignment.finder)

        async with engine.sockets.talk(url, engine.headers, send) as talk:
            half = b""
            sounded = False
            async with aclosing(_answers(talk, engine)) as answers:
                async for pcm, aligned in answers:
                    for word in alignment.take(aligned):
                        yield word
                    data = half + pcm
                    half = data[len(data) - len(data) % 2 :]
                    if whole := data[: len(data) - len(half)]:
                        sounded = True
                        yield Audio(whole, rate)
            for word in alignment.end():
                yield word
            if not sounded:
                raise engine.failures.no_sound()

    async def _send(self, socket: "ClientConnection", text: Retold[SpeechText], finder: WordFinder) -> None:
        options = self.options
        settings = {
            "stability": options.stability,
            "similarity_boost": options.similarity_boost,
            "style": options.style,
            "use_speaker_boost": options.speaker_boost,
            "speed": options.speed,
        }
        await socket.send(json.dumps({"text": " ", "voice_settings": settings}))
        clause, words = FirstClause(), WholeWords()
        async with aclosing(text.told()) as parts:
            async for part in parts:
                finder.extend(part.text)
                if whole := words.feed(without_controls(part.text)):
                    message: dict[str, Any] = {"text": whole}
                    if clause.ends_with(whole):
                        message["flush"] = True
                    await socket.send(json.dumps(message))
        if rest := words.end():
            await socket.send(json.dumps({"text": rest}))
        await socket.send(json.dumps({"text": ""}))


def _url(engine: ElevenEngine, options: SpeechOptions, voice_id: str) -> str:
    return engine.live_url(voice_id, options.model, options.output_format, options.language)


async def _answers(talk: Talk, engine: ElevenEngine) -> AsyncGenerator[tuple[bytes, Any], None]:
    """``(PCM, its alignment or None)``.

    :raises BindingFailed: for an error that the service tells, for nonsense, and for an end too soon.
    """
    failures = engine.failures
    async with aclosing(talk.messages()) as messages:
        async for message in messages:
            try:
                answer = json.loads(message)
                pcm = base64.b64decode(answer.get("audio") or "", validate=True)
            except (ValueError, AttributeError, TypeError, binascii.Error) as error:
                raise failures.nonsense("something that is no speech") from error
            if answer.get("error"):
                raise _told(failures, str(answer["error"]), str(answer.get("message") or ""))
            # Those of the text as it is spoken follow each other; those of the text as it was sent may begin again.
            yield pcm, answer.get("normalizedAlignment") or answer.get("alignment")
            if answer.get("isFinal"):
                return
    raise failures.cut_off()


def _told(failures: ServiceFailures, code: str, message: str) -> BindingFailed:
    said = failures.clean(message or code)
    match code:
        case "invalid_api_key" | "unauthorized" | "missing_permissions" | "needs_authorization":
            return failures.of_status(401, "")
        case "quota_exceeded":
            return BindingFailed(f"the account's quota at {failures.host} is used up: {said}")
        case "voice_not_found" | "voice_id_does_not_exist" | "model_not_found":
            return BindingFailed(f"{failures.host} does not have this voice or model: {said}")
        case "too_many_concurrent_requests" | "rate_limit_exceeded" | "system_busy":
            return failures.of_status(429, said)
        case _:
            return BindingFailed(f"{failures.host} could not speak this: {said}", retryable=True)
