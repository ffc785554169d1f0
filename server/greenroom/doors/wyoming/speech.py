"""Text to the character's voice, sentence by sentence: while one is sent, the next is being made.

"Hello. How are you?" -> audio-start, audio-chunk, ..., audio-stop
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any, Final

from greenroom.bindings.guard import guarded
from greenroom.bindings.roles import AudioFilter, TextToSpeech
from greenroom.doors.wyoming.operations import Backends
from greenroom.doors.wyoming.requests import Voice
from greenroom.doors.wyoming.wire import Outgoing
from greenroom.pipeline.chain import closable, one, stacked, unstalled
from greenroom.pipeline.channel import Channel
from greenroom.pipeline.framing import cut
from greenroom.pipeline.sentences import SentenceSplitter
from greenroom.session.operations import operation_as
from greenroom.values import Audio, Role, SpeechText, WordTime

CHUNK_MS: Final = 100
SILENCE: Final = {"rate": 16_000, "width": 2, "channels": 1}
"""the format that is named where there was nothing to say"""


async def speak(backends: Backends, out: Outgoing, text: AsyncIterator[str], voice: Voice | None) -> None:
    """Everything from ``audio-start`` to ``audio-stop``. :raises GreenroomError: the voice is missing or failed."""
    async with backends.borrowed(Role.TTS) as voices, backends.borrowed(Role.FILTER_AUDIO) as found:
        held = voices[0]
        filters = [operation_as(AudioFilter, each) for each in found]
        maker = _Maker(backends, operation_as(TextToSpeech, held), filters, held.binding_id, voice or Voice())
        sending = _Sending(out)
        ready: Channel[Channel[Audio]] = Channel(1)
        broken: list[BaseException] = []
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(maker.make(text, ready), name="wyoming: synthesis")
                async for sentence in ready:
                    while pieces := await sentence.take():
                        for piece in cut(pieces, CHUNK_MS):
                            await sending.chunk(piece)
        except BaseExceptionGroup as failures:
            failures.__traceback__ = None  # in the group's own frame, which it holds so, stands the group
            broken.append(failures.exceptions[0])
        if broken:
            raise broken.pop()
        await sending.stop()


class _Maker:
    def __init__(
        self,
        backends: Backends,
        voice: TextToSpeech[Any],
        filters: Sequence[AudioFilter[Any]],
        binding_id: str,
        wanted: Voice,
    ) -> None:
        self._stall_s = backends.rooms.house.config.value.turn.timeout_s
        self._voice = voice
        self._filters = filters
        self._binding_id = binding_id
        self._wanted = wanted

    async def make(self, text: AsyncIterator[str], ready: Channel[Channel[Audio]]) -> None:
        splitter = SentenceSplitter(first_clause=True)
        try:
            async for piece in text:
                for sentence in splitter.feed(piece):
                    await self._sentence(sentence.speech, ready)
            for sentence in splitter.finish():
                await self._sentence(sentence.speech, ready)
        finally:
            ready.close()

    async def _sentence(self, speech: str, ready: Channel[Channel[Audio]]) -> None:
        if not speech.strip():
            return
        sound: Channel[Audio] = Channel()
        await ready.send(sound)
        said = SpeechText(speech, language=self._wanted.language or "", voice=self._wanted.name or "")
        try:
            with guarded(self._binding_id):
                async with (
                    aclosing(closable(self._voice.speak(one(said)))) as spoken,
                    stacked(self._audio(unstalled(spoken, self._stall_s, self._binding_id)), self._apply()) as stream,
                ):
                    async for audio in stream:
                        if audio.pcm:
                            sound.send_nowait(audio)
        finally:
            sound.close()

    def _apply(self) -> list[Any]:
        return [item.apply for item in self._filters]

    async def _audio(self, items: AsyncIterator[Audio | WordTime]) -> AsyncIterator[Audio]:
        async for item in items:
            if isinstance(item, Audio):
                yield item


class _Sending:
    """``audio-start`` before the first piece, and again where the format changes."""

    def __init__(self, out: Outgoing) -> None:
        self._out = out
        self._format: dict[str, int] = {}
        self._sent_ms = 0.0

    async def chunk(self, audio: Audio) -> None:
        form = {"rate": audio.sample_rate, "width": audio.sample_width, "channels": audio.channels}
        if form != self._format:
            if self._format:
                await self._out.send("audio-stop", {"timestamp": round(self._sent_ms)})
            self._format = form
            await self._out.send("audio-start", {**form, "timestamp": round(self._sent_ms)})
        await self._out.send("audio-chunk", {**form, "timestamp": round(self._sent_ms)}, audio.pcm)
        self._sent_ms += audio.duration_ms

    async def stop(self) -> None:
        if not self._format:
            await self._out.send("audio-start", {**SILENCE, "timestamp": 0})
        await self._out.send("audio-stop", {"timestamp": round(self._sent_ms)})
