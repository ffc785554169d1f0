"""Speech from a client to a transcript: ``audio-start``, chunks while they are recorded, ``audio-stop``.

The recogniser hears each piece as it comes; the transcript is there soon after the last.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from greenroom.bindings.guard import guarded
from greenroom.bindings.roles import SpeechToText
from greenroom.doors.wyoming.operations import Backends
from greenroom.doors.wyoming.requests import Sound
from greenroom.errors import BadRequest, TooLarge
from greenroom.pipeline.chain import closable, unstalled
from greenroom.pipeline.channel import Channel
from greenroom.session.operations import operation_as
from greenroom.values import Audio, Role


class Recording:
    """:param limit_bytes, limit_s: as much is taken."""

    def __init__(self, sound: Sound, *, limit_bytes: int, limit_s: float) -> None:
        self._sound = sound
        self._limit = int(min(limit_bytes, limit_s * sound.rate * sound.width * sound.channels))
        self._pieces: Channel[Audio] = Channel()
        self.size = 0

    def add(self, sound: Sound, pcm: bytes) -> None:
        """:raises BadRequest: another format, or no whole frames. :raises TooLarge: more than is taken."""
        if sound != self._sound:
            raise BadRequest("audio-chunk: its format is not that of the audio-start before it")
        if len(pcm) % (sound.width * sound.channels):
            raise BadRequest(f"audio-chunk: {len(pcm)} bytes are no whole frames")
        self.size += len(pcm)
        if self.size > self._limit:
            raise TooLarge(f"audio-chunk: at most {self._limit} bytes of one recording are taken")
        if pcm and not self._pieces.closed:  # else the recogniser has failed already, and that was told
            self._pieces.send_nowait(Audio(pcm, sound.rate, sound.width, sound.channels))

    def end(self) -> None:
        self._pieces.close()

    async def transcript(self, backends: Backends, hint: str, language: str = "") -> str:
        """Empty for silence. :raises GreenroomError: the recogniser is missing or failed."""
        try:
            return await self._transcript(backends, hint, language)
        finally:
            self._pieces.close()

    async def _transcript(self, backends: Backends, hint: str, language: str) -> str:
        first = await self._pieces.take()
        if not first:
            return ""
        try:
            return await self._recognised(backends, first, hint, language)
        except BadRequest as error:
            if not language or (error.details or {}).get("field") != "language":
                raise
        # It looks at the language before the sound, and does not know it: as it is configured, then.
        return await self._recognised(backends, first, hint, "")

    async def _recognised(self, backends: Backends, first: list[Audio], hint: str, language: str) -> str:
        stall_s = backends.rooms.house.config.value.turn.timeout_s
        text = ""
        async with backends.borrowed(Role.STT, language) as held:
            recogniser = operation_as(SpeechToText, held[0])
            with guarded(held[0].binding_id):
                async with aclosing(closable(recogniser.transcribe(self._heard(first), hint))) as transcripts:
                    async for transcript in unstalled(transcripts, stall_s, held[0].binding_id):
                        if transcript.final:
                            text = transcript.text
        return text.strip()

    async def _heard(self, first: list[Audio]) -> AsyncGenerator[Audio, None]:
        for piece in first:
            yield piece
        async for piece in self._pieces:
            yield piece
