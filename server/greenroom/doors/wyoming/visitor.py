"""One Wyoming connection: what it asks is done in the order asked, and ends when it leaves.

Incoming --Event--> Visitor --+--> Recording ---> transcript
                              +--> speak -------> audio-start ... audio-stop
                              '--> answer ------> handled
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

from greenroom.doors.rates import TooMany
from greenroom.doors.wyoming import requests
from greenroom.doors.wyoming.conversation import answer
from greenroom.doors.wyoming.description import info
from greenroom.doors.wyoming.operations import Backends
from greenroom.doors.wyoming.recording import Recording
from greenroom.doors.wyoming.requests import parsed
from greenroom.doors.wyoming.speech import speak
from greenroom.doors.wyoming.wire import Event, Incoming, Outgoing
from greenroom.errors import BadRequest, Busy, GreenroomError, Internal, TooLarge, TooSlow
from greenroom.pipeline.chain import one
from greenroom.pipeline.channel import Channel

logger = logging.getLogger(__name__)

MAX_WAITING: Final = 8
"""requests of one connection that may wait for each other"""
_HINT_CHARS: Final = 1000
_LEAVE_S: Final = 5.0
"""for a client to close its side, after what it asked for failed"""

Work = Callable[[], Awaitable[None]]


class _Over(Exception):
    """What the client asked for failed, and it was told so."""


class Visitor:
    """:param held_bytes: of all connections' recordings. :param room_bytes: as much of it as there may be.
    :param count: of what it asks; raises ``TooMany``.
    """

    def __init__(
        self,
        backends: Backends,
        incoming: Incoming,
        out: Outgoing,
        held_bytes: Callable[[], int],
        room_bytes: int,
        count: Callable[[], None],
    ) -> None:
        self._backends = backends
        self._incoming = incoming
        self._out = out
        self._held_bytes = held_bytes
        self._room_bytes = room_bytes
        self._count = count
        self._works: set[asyncio.Task[None]] = set()
        self._order = asyncio.Lock()
        self._broken: asyncio.Future[GreenroomError | OSError | _Over] = asyncio.get_running_loop().create_future()
        self._recordings: list[Recording] = []
        self._recording: Recording | None = None
        """the one that audio-chunk adds to"""
        self._transcribe = requests.Transcribe()
        self._text: Channel[str] | None = None
        """of a synthesis whose text is still coming"""
        self._text_bytes = 0
        self._program: str | None = None

    @property
    def held_bytes(self) -> int:
        return sum(recording.size for recording in self._recordings)

    async def run(self) -> None:
        """Until the client leaves, or does what ends it; then its work has ended, too."""
        try:
            await self._read_until_broken()
        except GreenroomError as error:
            logger.info("a wyoming client is let go: %s", error.code)
            await self._tell(error)
        except OSError:
            logger.debug("a wyoming client has gone")
        except _Over:
            await self._stop()
            await self._see_off()
        finally:
            await self._stop()
            if self._broken.done():
                self._broken.result().__traceback__ = None  # its frames hold this, which keeps it

    async def _see_off(self) -> None:
        """Nothing more comes, and what it still sends is not looked at: closing before it has read the error could take
        that from it."""
        with contextlib.suppress(GreenroomError, OSError, TimeoutError):
            async with asyncio.timeout(_LEAVE_S):
                self._out.end()
                while await self._incoming.next() is not None:
                    pass

    async def _read_until_broken(self) -> None:
        while True:
            reading = asyncio.ensure_future(self._incoming.next())
            try:
                waited: set[asyncio.Future[Any]] = {reading, self._broken}
                await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
                if self._broken.done():
                    raise self._broken.result()
                event = reading.result()
            finally:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)  # both may have failed: the one is heard, too
            if event is None:
                return
            await self._handle(event)

    async def _tell(self, error: GreenroomError) -> None:
        try:
            await self._out.send("error", {"text": error.message, "code": error.code})
        except (GreenroomError, OSError):
            logger.debug("it did not hear why")

    async def _stop(self) -> None:
        works = list(self._works)
        for work in works:
            work.cancel()
        await asyncio.gather(*works, return_exceptions=True)

    # What is asked

    async def _handle(self, event: Event) -> None:
        """What is not known is passed over, as the protocol wants. :raises GreenroomError: it ends the connection."""
        if not self._is_piece(event):
            try:
                self._count()
            except TooMany as error:
                await self._tell(error)
                raise _Over from None
        match event.type:
            case "describe":
                self._begin(self._describe)
            case "ping":
                asked = parsed(requests.Ping, event)
                await self._out.send("pong", {} if asked.text is None else {"text": asked.text})
            case "select-program":
                self._program = parsed(requests.SelectProgram, event).name
            case "transcribe":
                self._transcribe = parsed(requests.Transcribe, event)
            case "audio-start":
                self._start_recording(parsed(requests.Sound, event))
            case "audio-chunk":
                self._add_sound(parsed(requests.Sound, event), event.payload)
            case "audio-stop":
                self._end_recording()
            case "synthesize":
                self._synthesize(parsed(requests.Synthesize, event))
            case "synthesize-start":
                self._start_text(parsed(requests.SynthesizeStart, event))
            case "synthesize-chunk":
                self._add_text(parsed(requests.Piece, event).text)
            case "synthesize-stop":
                self._end_text()
            case "transcript":
                said = parsed(requests.Said, event)
                self._begin(partial(self._answer, said))
            case _:
                logger.debug("a wyoming event that is not served was passed over")

    def _is_piece(self, event: Event) -> bool:
        """Of a recording or a text that was counted when it began, and has bounds of its own."""
        match event.type:
            case "audio-chunk":
                return bool(event.payload) and self._recording is not None
            case "audio-stop":
                return self._recording is not None
            case "synthesize-chunk":
                return bool(event.data.get("text")) and self._text is not None
            case "synthesize-stop":
                return self._text is not None
        return False

    def _begin(self, work: Work, *, last_if_failed: bool = False) -> None:
        """:raises Busy: too many requests wait already."""
        if len(self._works) >= MAX_WAITING:
            raise Busy(f"{MAX_WAITING} requests wait already; read their answers first")
        task = asyncio.get_running_loop().create_task(self._work(work, last_if_failed), name="wyoming: request")
        self._works.add(task)
        task.add_done_callback(self._works.discard)

    async def _work(self, work: Work, last_if_failed: bool) -> None:
        """One after the other. What fails is told; what cannot be told ends the connection.

        Ears and voice that failed end it, too: clients older than the event ``error`` wait for a transcript or sound
        and nothing else, and take its end for the failure.
        """
        async with self._order:
            if self._broken.done():
                return
            try:
                await self._guarded(work)
            except TooSlow as error:
                self._break(error)
            except GreenroomError as error:
                await self._tell(error)
                if last_if_failed:
                    self._break(_Over())
            except OSError as error:
                self._break(error)
            except asyncio.CancelledError as cancelled:
                # Its frames hold the group of a synthesis, that the task, and the task keeps it.
                cancelled.__context__ = None
                raise cancelled.with_traceback(None)  # noqa: B904 -- it is the same one

    async def _guarded(self, work: Work) -> None:
        try:
            await work()
        except (GreenroomError, OSError):
            raise
        except Exception as error:  # the boundary of one event
            logger.exception("a wyoming request failed")
            raise Internal("something went wrong here; the log says what") from error

    def _break(self, error: GreenroomError | OSError | _Over) -> None:
        if not self._broken.done():
            self._broken.set_result(error)

    async def _describe(self) -> None:
        await self._out.send("info", await info(self._backends))

    async def _answer(self, said: requests.Said) -> None:
        if not said.text.strip():
            await self._out.send("not-handled", {"text": ""})
            return
        await answer(self._backends, self._out, said.text, said.context, self._program)

    # Ears

    def _start_recording(self, sound: requests.Sound) -> Recording:
        if self._recording is not None:
            raise BadRequest("audio-start: the recording before it has not been ended by audio-stop")
        limits = self._backends.rooms.house.config.value.limits
        recording = Recording(sound, limit_bytes=limits.audio_bytes, limit_s=limits.audio_s)
        asked = self._transcribe
        self._begin(partial(self._transcribed, recording, self._hint(), asked.language or ""), last_if_failed=True)
        self._recordings.append(recording)
        self._recording = recording
        return recording

    def _add_sound(self, sound: requests.Sound, pcm: bytes) -> None:
        recording = self._recording or self._start_recording(sound)
        if self._held_bytes() + len(pcm) > self._room_bytes:
            raise Busy("this server has no room for more recordings now; try again")
        recording.add(sound, pcm)

    def _end_recording(self) -> None:
        if self._recording is not None:
            self._recording.end()
            self._recording = None

    def _hint(self) -> str:
        asked = self._transcribe
        return ", ".join([*(asked.transcript_names or ()), *(asked.transcript_terms or ())])[:_HINT_CHARS]

    async def _transcribed(self, recording: Recording, hint: str, language: str) -> None:
        try:
            text = await recording.transcript(self._backends, hint, language)
        finally:
            self._recordings.remove(recording)
        said_in = {"language": language} if language else {}
        await self._out.send("transcript-start", said_in)
        if text:
            await self._out.send("transcript-chunk", {"text": text})
        await self._out.send("transcript", {"text": text, **said_in})
        await self._out.send("transcript-stop")

    # Voice

    def _synthesize(self, asked: requests.Synthesize) -> None:
        if self._text is not None:
            return  # the whole of a streamed text, for servers that do not stream
        self._bound(len(asked.text.encode("utf-8", "surrogatepass")))
        self._begin(partial(self._spoken, asked), last_if_failed=True)

    async def _spoken(self, asked: requests.Synthesize) -> None:
        await speak(self._backends, self._out, one(asked.text), asked.voice)

    def _start_text(self, asked: requests.SynthesizeStart) -> None:
        if self._text is not None:
            raise BadRequest("synthesize-start: the text before it has not been ended by synthesize-stop")
        self._text, self._text_bytes = Channel(), 0
        self._begin(partial(self._streamed, self._text, asked.voice), last_if_failed=True)

    def _add_text(self, text: str) -> None:
        if self._text is None:
            raise BadRequest("synthesize-chunk: there was no synthesize-start")
        self._text_bytes += len(text.encode("utf-8", "surrogatepass"))
        self._bound(self._text_bytes)
        if not self._text.closed:  # else it has failed already, and that was told
            self._text.send_nowait(text)

    def _end_text(self) -> None:
        if self._text is not None:
            self._text.close()
            self._text = None

    async def _streamed(self, text: Channel[str], voice: requests.Voice | None) -> None:
        try:
            await speak(self._backends, self._out, text, voice)
        finally:
            text.close()
        await self._out.send("synthesize-stopped")

    def _bound(self, size: int) -> None:
        limit = self._backends.rooms.house.config.value.limits.text_bytes
        if size > limit:
            raise TooLarge(f"synthesize: text: at most {limit} bytes are taken")
