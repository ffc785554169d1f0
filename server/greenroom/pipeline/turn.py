"""A turn: a model's deltas become text chunks, sentences and sound, each as early as it can be.

    deltas -> [read] -> thoughts out -> text filters -> [show] text_chunk -> sentences -> [voice] synthesis ahead
                                                                                       -> [send] sentence, audio_chunk

Four tasks of one group joined by channels; nothing waits for the whole of anything. Cancelling the task that awaits
:meth:`Turn.run` cancels them all, closes the backend's stream, and what was heard by then is in :attr:`Turn.playback`.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Any

from greenroom.bindings.guard import guarded
from greenroom.bindings.roles import AudioFilter, Effect, TextFilter, TextToSpeech
from greenroom.errors import GreenroomError
from greenroom.pipeline.annotations import Notes, annotated, text_stages
from greenroom.pipeline.chain import stacked, unstalled
from greenroom.pipeline.channel import Channel, Closed
from greenroom.pipeline.framing import cut
from greenroom.pipeline.playback import Playback, SpokenSentence
from greenroom.pipeline.sentences import Sentence, SentenceSplitter
from greenroom.pipeline.synthesis import Synthesis
from greenroom.pipeline.thoughts import ThoughtSplitter
from greenroom.pipeline.voice_parts import VoiceParts
from greenroom.protocol import events
from greenroom.values import Audio, ChunkType, Ended, ModelOutput, TextChunk, TextDelta, ToolCall

Deltas = AsyncGenerator[ModelOutput, None]
_WAITING_DELTAS = 256
_GATHER_LEAD_MS = 1000.0


@dataclass(frozen=True, slots=True)
class TurnSettings:
    sentences_ahead: int = 3
    audio_lead_ms: int = 3000
    """0 = no limit"""
    first_clause: bool = True
    show_thoughts: bool = False
    chunk_ms: int = 200
    stall_s: float = 120.0


@dataclass(frozen=True, slots=True)
class TurnParts:
    """The operations of one turn, a snapshot. ``voice`` is ``None`` for a turn without audio."""

    voice: TextToSpeech[Any] | None = None
    text_filters: Sequence[TextFilter[Any]] = ()
    audio_filters: Sequence[AudioFilter[Any]] = ()
    voice_id: str = "tts"
    text_id: str = "t2t"


@dataclass(slots=True)
class _Line:
    """A sentence on its way from the splitter to the sender."""

    index: int
    sentence: Sentence
    spoken: SpokenSentence
    extras: dict[str, Any]
    synthesis: Synthesis | None = None
    notes: asyncio.Task[dict[str, Any]] | None = None

    async def said_of_it(self) -> dict[str, Any]:
        """What the filters add, those that run beside the display too; who asks and gives up leaves it to the other."""
        return {**self.extras, **await asyncio.shield(self.notes)} if self.notes is not None else self.extras


@dataclass(slots=True)
class _Marks:
    """Monotonic times of what happened first; 0 = not yet. Some loops' own clock stands still while they work."""

    started: float
    first_delta: float = 0.0
    first_text: float = 0.0
    first_clause: float = 0.0
    first_sound: float = 0.0
    first_audio: float = 0.0
    text_done: float = 0.0
    synthesis_started: float = 0.0

    def timing(self) -> dict[str, float]:
        """Milliseconds from the turn's start; what did not happen is absent."""
        named = {
            "first_delta_ms": self.first_delta,
            "first_text_ms": self.first_text,
            "first_clause_ms": self.first_clause,
            "first_audio_ms": self.first_audio,
            "text_ms": self.text_done,
        }
        timing = {name: round((at - self.started) * 1000, 2) for name, at in named.items() if at}
        if self.first_sound:
            timing["voice_first_ms"] = round((self.first_sound - self.synthesis_started) * 1000, 2)
        return timing


async def _nobody(_text: str) -> None: ...


def _nothing(*_: object) -> None: ...


@dataclass(slots=True)
class Turn:
    """:param emit: takes each event, at once. :param on_text: awaited with the whole text before ``text_generated``.
    :param on_sentence: told after each sentence of which everything has been sent.
    :param started: monotonic time from which the timing counts."""

    job_id: str
    emit: Callable[[events.Event], Any]
    parts: TurnParts
    settings: TurnSettings
    on_text: Callable[[str], Awaitable[None]]
    on_sentence: Callable[[], None]
    started: float
    on_generated: Callable[[str], object] = _nothing
    """told the whole text of the model, thoughts left out, as soon as it has ended"""
    finished: bool = field(init=False, default=False)
    """everything was shown, and sent as sound"""
    playback: Playback = field(init=False)
    failure: GreenroomError | None = field(init=False, default=None)
    ended: Ended | None = field(init=False, default=None)
    """what the model's backend told of its end"""
    _stopped: bool = field(init=False, default=False)
    _text: list[str] = field(init=False, default_factory=list)
    _generated: list[str] = field(init=False, default_factory=list)
    _marks: _Marks = field(init=False)
    _splitter: SentenceSplitter = field(init=False)
    _notes: Notes = field(init=False, default_factory=Notes)
    _lines: Channel[_Line] = field(init=False)

    def __post_init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.playback = Playback(loop.time, audible=self.parts.voice is not None)
        self._marks = _Marks(self.started)
        self._splitter = SentenceSplitter(first_clause=self.settings.first_clause)
        self._lines = Channel()

    @property
    def text(self) -> str:
        """What has been shown so far."""
        return "".join(self._text)

    def timing(self) -> dict[str, float]:
        timing = self._marks.timing()
        timing["audio_ms"] = round(self.playback.sent_ms, 1)
        return timing

    def stop(self) -> None:
        """From now on nothing is sent, whatever the tasks still do."""
        self._stopped = True

    def let_go(self) -> None:
        """It has run: what is kept of it is its playback. Whom it told of its progress often holds the turn, as what
        failed does, and such circles would stay in memory until Python looks for them."""
        self.on_text, self.on_sentence, self.on_generated = _nobody, _nothing, _nothing
        self.failure = None
        self.parts = TurnParts()
        self._lines = Channel()
        self._text.clear()
        self._generated.clear()

    async def run(self, deltas: Deltas) -> None:
        """:raises GreenroomError: when a backend failed; a failed model's words so far are shown and spoken first."""
        broken: list[BaseException] = []
        try:
            await self._together(deltas)
        except BaseExceptionGroup as failed:
            failed.__traceback__ = None  # in the group's own frame, which it holds so, stands the group
            broken.append(_first_of(failed))
        except asyncio.CancelledError as cancelled:
            # Its traceback holds the group's frames; they hold it, and the task that will keep it.
            raise cancelled.with_traceback(None)  # noqa: B904 -- it is the same one
        if broken:
            raise broken.pop()  # not in the handler, which would make the group its context, and that holds it
        self.finished = True
        if self.failure is not None:
            raise self.failure

    async def _together(self, deltas: Deltas) -> None:
        arrived: Channel[TextChunk] = Channel(_WAITING_DELTAS)
        ready: Channel[_Line] = Channel()
        ahead = asyncio.Semaphore(self.settings.sentences_ahead + 1)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._read(deltas, arrived), name=f"read {self.job_id}")
            group.create_task(self._show(arrived), name=f"show {self.job_id}")
            group.create_task(self._voice(ready, ahead, group), name=f"voice {self.job_id}")
            group.create_task(self._send(ready, ahead), name=f"send {self.job_id}")

    def _emit(self, event: events.Event) -> None:
        if not self._stopped:
            self.emit(event)

    # read

    async def _read(self, deltas: Deltas, arrived: Channel[TextChunk]) -> None:
        thoughts = ThoughtSplitter()
        try:
            with guarded(self.parts.text_id):
                async with aclosing(deltas):
                    async for delta in unstalled(deltas, self.settings.stall_s, self.parts.text_id):
                        self._marks.first_delta = self._marks.first_delta or monotonic()
                        if arrived.closed:
                            break
                        if isinstance(delta, ToolCall):
                            self._emit(
                                events.ToolCalled(job_id=self.job_id, tool=delta.name, arguments=delta.arguments)
                            )
                        elif isinstance(delta, Ended):
                            self.ended = delta
                        else:
                            for piece in (delta,) if delta.thought else thoughts.feed(delta.text):
                                await self._arrive(piece, arrived)
                for piece in thoughts.finish():
                    await self._arrive(piece, arrived)
        except GreenroomError as failure:
            self.failure = failure
        else:
            if not self._stopped:
                self.on_generated("".join(self._generated))
        finally:
            arrived.close()

    async def _arrive(self, piece: TextDelta, arrived: Channel[TextChunk]) -> None:
        if not piece.text:
            return
        if not piece.thought:
            self._generated.append(piece.text)
            with suppress(Closed):  # a filter has had enough: nobody reads on
                await arrived.send(TextChunk(piece.text))
        elif self.settings.show_thoughts:
            self._emit(events.TextChunk(job_id=self.job_id, chunk=piece.text, type=ChunkType.INFO))

    # show

    async def _show(self, arrived: Channel[TextChunk]) -> None:
        try:
            with guarded("a text filter"):
                async with stacked(_merged(arrived), text_stages(self.parts.text_filters)) as stream:
                    async for chunk in stream:
                        self._shown(chunk)
            arrived.close()
            for sentence in self._splitter.finish():
                self._completed(sentence)
            self._marks.text_done = monotonic()
            text = self.text
            if not self._stopped:
                await self.on_text(text)
            if text or self.failure is None:
                self._emit(events.TextGenerated(job_id=self.job_id, text=text, **events.of_end(self.ended)))
        finally:
            self._lines.close()

    def _shown(self, chunk: TextChunk) -> None:
        self._notes.add(chunk)
        if not chunk.text or self._stopped:
            return
        self._marks.first_text = self._marks.first_text or monotonic()
        self.emit(events.TextChunk(job_id=self.job_id, chunk=chunk.text, index=len(self.playback.sentences)))
        self._text.append(chunk.text)
        self.playback.shown += chunk.text
        for sentence in self._splitter.feed(chunk.text):
            self._completed(sentence)

    def _completed(self, sentence: Sentence) -> None:
        self._marks.first_clause = self._marks.first_clause or monotonic()
        spoken = SpokenSentence(sentence.text, sentence.speech)
        self.playback.sentences.append(spoken)
        self.playback.shown = self.playback.shown[len(sentence.text) :]
        extras = self._notes.take(sentence.text)
        self._lines.send_nowait(_Line(len(self.playback.sentences) - 1, sentence, spoken, extras))

    # voice

    async def _voice(self, ready: Channel[_Line], ahead: asyncio.Semaphore, group: asyncio.TaskGroup) -> None:
        annotators = [item for item in self.parts.text_filters if item.effect is Effect.ANNOTATE]
        voice = self.parts.voice
        try:
            async for line in self._lines:
                if annotators:
                    line.notes = group.create_task(annotated(annotators, line.sentence.text))
                if voice is not None and line.sentence.speech:
                    await ahead.acquire()
                    line.synthesis = Synthesis(line.spoken)
                    group.create_task(self._synthesise(line, line.synthesis, voice))
                ready.send_nowait(line)
        finally:
            ready.close()

    async def _synthesise(self, line: _Line, synthesis: Synthesis, voice: TextToSpeech[Any]) -> None:
        with guarded(self.parts.voice_id):
            await synthesis.run(voice, self.parts.audio_filters, self.settings.stall_s, line.said_of_it)

    # send

    async def _send(self, ready: Channel[_Line], ahead: asyncio.Semaphore) -> None:
        async for line in ready:
            line.extras = await line.said_of_it()
            if line.sentence.text.strip():  # white space behind the last sentence is nobody's subtitle
                self._emit(
                    events.Sentence(
                        job_id=self.job_id,
                        index=line.index,
                        text=line.sentence.text,
                        speech=line.sentence.speech,
                        extras=line.extras,
                    )
                )
            if line.synthesis is not None:
                await self._send_audio(line.index, line.synthesis)
                if line.synthesis.broken:
                    return  # its failure is about to end the turn
                ahead.release()
            line.spoken.whole = True
            self.on_sentence()

    async def _send_audio(self, index: int, synthesis: Synthesis) -> None:
        voice = VoiceParts()
        ended = False
        audio = None
        waiting: list[Audio] = []
        while not ended:
            pieces = await synthesis.audio.take()
            waiting += pieces
            ended = synthesis.audio.ended
            if not ended and self._may_gather(waiting):
                continue
            chunks, waiting = cut(waiting, self.settings.chunk_ms), []
            for number, audio in enumerate(chunks, 1):
                await self._pace()
                if not self._marks.first_audio:
                    self._marks.first_audio = monotonic()
                    self._marks.first_sound = synthesis.first_at
                    self._marks.synthesis_started = synthesis.started_at
                self._send_chunk(index, voice, audio, last=ended and number == len(chunks))
            if ended and not chunks and audio is not None:
                self._send_chunk(index, voice, replace(audio, pcm=b""), last=True)

    def _may_gather(self, waiting: Sequence[Audio]) -> bool:
        """Far ahead of the listener, small pieces wait until they fill a chunk: fewer events, and nobody hears it."""
        gathered_ms = sum(audio.duration_ms for audio in waiting)
        return gathered_ms < self.settings.chunk_ms and self.playback.lead_ms() > _GATHER_LEAD_MS

    def _send_chunk(self, index: int, voice: VoiceParts, audio: Audio, *, last: bool) -> None:
        if self._stopped:
            return
        event = events.AudioChunk(
            job_id=self.job_id,
            index=index,
            part=voice.count,
            audio=audio.pcm,
            sr=audio.sample_rate,
            sw=audio.sample_width,
            ch=audio.channels,
            t_ms=round(self.playback.sent_ms, 2),
            duration_ms=round(audio.duration_ms, 2),
            volumes=voice.volumes(audio, last=last),
            last=last,
            words=voice.words(self.playback.sentences[index].words, self.playback.sent_ms),
        )
        self.playback.sent(index, audio.duration_ms)
        self.emit(event)

    async def _pace(self) -> None:
        if self.settings.audio_lead_ms <= 0:
            return
        early_ms = self.playback.lead_ms() - self.settings.audio_lead_ms
        if early_ms > 0:
            await asyncio.sleep(early_ms / 1000)


async def _merged(arrived: Channel[TextChunk]) -> AsyncGenerator[TextChunk, None]:
    """All deltas that wait leave as one: under load text is merged before it is queued."""
    while chunks := await arrived.take():
        yield chunks[0] if len(chunks) == 1 else TextChunk("".join(chunk.text for chunk in chunks))


def _first_of(failed: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error to report of a group: one of ours if there is any."""
    flat: list[BaseException] = []
    for error in failed.exceptions:
        flat.append(_first_of(error) if isinstance(error, BaseExceptionGroup) else error)
    return next((error for error in flat if isinstance(error, GreenroomError)), flat[0])
