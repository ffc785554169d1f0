"""The desk for what the character says: answering, saying a given text, and being interrupted."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any

from greenroom.bindings.engines import LoadedOperation
from greenroom.bindings.guard import guarded
from greenroom.bindings.roles import AudioFilter, TextFilter, TextToSpeech, TextToText
from greenroom.errors import Cancelled, GreenroomError, NotFound
from greenroom.personalities.stop import cut
from greenroom.pipeline.chain import closable
from greenroom.pipeline.turn import Turn, TurnParts, TurnSettings
from greenroom.protocol import events
from greenroom.protocol.commands import AudioHeard, CancelJob, Interrupt, Response, Say
from greenroom.session.commit import committed
from greenroom.session.handle import Caller, HearsModel, Reply
from greenroom.session.jobs import Job
from greenroom.session.operations import operation_as, release_all
from greenroom.session.prompting import chat_prompt_of, history_of
from greenroom.session.session import Session
from greenroom.store.records import LineRecord
from greenroom.values import Access, ModelOutput, Prompt, Role, TextDelta

logger = logging.getLogger(__name__)

_TURNS = ("response", "say")
_MOST_PLAYING = 64
"""turns whose sound may still be playing: who asks faster than anybody listens is not kept up with for ever"""
_LATE_REPORT_S = 10.0
"""how long after its end by our clock a player may still say that it was interrupted"""


@dataclass(slots=True)
class _Spoken:
    """A turn and the line that it left in the context, while its sound may still be playing."""

    job_id: str
    turn: Turn
    line: LineRecord | None = None
    announced: bool = False
    ended: bool = False
    cut: tuple[str, str] | None = None


class TurnDesk:
    def __init__(self, session: Session) -> None:
        self._session = session
        self._spoken: list[_Spoken] = []
        """the newest turn, and before it those whose sound was still to be heard when the next began"""
        session.handle(Response, self._response)
        session.handle(Say, self._say)
        session.handle(Interrupt, self._interrupt)
        session.handle(CancelJob, self._cancel_job)
        session.handle(AudioHeard, self._audio_heard)
        session.when_ended(self._job_ended)
        session.state_parts["playing"] = self._playing

    def _playing(self) -> str | None:
        playing = (one for one in self._spoken if one.cut is None and (not one.ended or one.turn.playback.playing))
        return next((one.job_id for one in playing), None)

    def _of(self, job_id: str) -> _Spoken | None:
        return next((one for one in self._spoken if one.job_id == job_id), None)

    # commands

    async def _response(self, command: Response, caller: Caller) -> Reply:
        context = self._session.context
        text = command.text

        def line() -> LineRecord:
            user = context.translated(command.user or self._session.house.config.value.user_name)
            return context.new_line("chat", user, text or "")

        async def work(job: Job) -> None:
            if text is not None and job.line is None:
                await context.add(line(), job.job_id)
            await self._answer(job, command)

        job = Job("response", command.args(), work, writes=frozenset({"context"}))
        if text is not None:
            job.first_line = line
        return await self._session.jobs.submit(job, command.command_id or "", caller.accept)

    async def _say(self, command: Say, caller: Caller) -> Reply:
        async def work(job: Job) -> None:
            async def given() -> AsyncGenerator[ModelOutput, None]:
                yield TextDelta(command.text)

            held: list[LoadedOperation] = []
            try:
                parts = await self._parts(command.include_audio, self._voices(), held)
                await self._speak(job, parts, given(), self._session.house.config.value.turn.audio_lead_ms)
            finally:
                await release_all(held)

        job = Job("say", command.args(), work, writes=frozenset({"context"}))
        return await self._session.jobs.submit(job, command.command_id or "", caller.accept)

    async def _cancel_job(self, command: CancelJob, caller: Caller) -> Reply:
        spoken = self._of(command.job_id)
        if spoken is not None and spoken.cut is None and not spoken.ended:
            self._stop(spoken, *spoken.turn.playback.heard())
        self._session.jobs.cancel(command.job_id, command.reason)
        return {"success": True, "job_id": command.job_id}

    async def _audio_heard(self, command: AudioHeard, caller: Caller) -> Reply:
        if caller.client_id != self._session.player:
            return {"success": True, "counted": False}
        spoken = self._of(command.job_id)
        if spoken is None:
            raise NotFound(f"no turn {command.job_id} is playing")
        spoken.turn.playback.report(command.index, command.ms)
        return {"success": True, "counted": True}

    async def _interrupt(self, command: Interrupt, caller: Caller) -> Reply:
        ended = [one for one in self._spoken if one.cut is None and self._interruptible(one, command)]
        coming = self._coming(command)
        if not ended and coming is None:
            return {"success": True, "interrupted": False}
        reply: dict[str, Any] = {"success": True, "interrupted": True}
        if coming is not None:
            reply |= {"job_id": coming.job_id, "heard": "", "unheard": ""}
            self._session.house.metrics.interrupts.inc()
            self._session.emit(events.Interrupted(job_id=coming.job_id, heard="", unheard=""))
            self._session.jobs.cancel(coming.job_id, "it was interrupted")
        # What the client says that it heard is of the turn that it was playing, the oldest; of the others it is the
        # clock that knows. So from the newest to the oldest, whose answer is the acknowledgement.
        for spoken in reversed(ended):
            said = (command.heard_ms, command.heard_text) if spoken is ended[0] else (None, None)
            heard, unheard = spoken.turn.playback.heard(*said)
            reply |= {"job_id": spoken.job_id, "heard": heard, "unheard": unheard}
            self._stop(spoken, heard, unheard)
            if not spoken.ended:
                self._session.jobs.cancel(spoken.job_id, "it was interrupted")
        for spoken in ended:
            if spoken.ended:
                await self._trim(spoken)
        return reply

    def _interruptible(self, spoken: _Spoken, command: Interrupt) -> bool:
        if command.job_id is not None and command.job_id != spoken.job_id:
            return False
        if not spoken.ended or spoken.turn.playback.playing:
            return True
        if command.job_id is None and spoken is not self._spoken[-1]:
            return False
        reported = command.heard_ms is not None or command.heard_text is not None
        late_s = asyncio.get_running_loop().time() - spoken.turn.playback.ends_at
        return spoken.turn.playback.audible and reported and late_s < _LATE_REPORT_S

    def _coming(self, command: Interrupt) -> Job | None:
        """The turn that runs and does not speak yet: its backends are being opened, or its prompt is being made."""
        job = self._session.jobs.running
        if job is None or job.job_type not in _TURNS or job.cancel_reason is not None:
            return None
        if command.job_id not in (None, job.job_id) or self._of(job.job_id) is not None:
            return None
        return job

    def _stop(self, spoken: _Spoken, heard: str, unheard: str) -> None:
        """From here on nothing of the turn is sent; the players drop what they hold."""
        spoken.turn.stop()
        spoken.cut = (heard, unheard)
        for later in self._spoken[self._spoken.index(spoken) + 1 :]:
            later.turn.playback.bring_forward(spoken.turn.playback.lead_ms())
        self._session.house.metrics.interrupts.inc()
        self._session.emit(events.Interrupted(job_id=spoken.job_id, heard=heard, unheard=unheard))

    # a turn

    async def _answer(self, job: Job, command: Response) -> None:
        session = self._session
        personality = session.personality()
        held: list[LoadedOperation] = []
        try:
            model = await session.operations.hold(Role.T2T)
            held.append(model)
            parts = await self._parts(command.include_audio, personality.voice, held)
            prompt = chat_prompt_of(session, personality)
            self._show_prompt(job, prompt)
            answering: TextToText[Any] = operation_as(TextToText, model)
            with guarded(model.binding_id):
                deltas = closable(cut(answering.generate(prompt), prompt.sampling.stop))
            parts = TurnParts(parts.voice, parts.text_filters, parts.audio_filters, parts.voice_id, model.binding_id)
            lead_ms = command.audio_lead_ms
            if lead_ms is None:
                lead_ms = session.house.config.value.turn.audio_lead_ms
            await self._speak(job, parts, deltas, lead_ms)
        finally:
            await release_all(held)

    def _show_prompt(self, job: Job, prompt: Prompt) -> None:
        watching = [one for one in self._session.callers.values() if one.debug and one.access >= Access.PERFORMER]
        if not watching:
            return
        history = history_of(self._session, len(prompt.messages))
        event = events.PromptBuilt(job_id=job.job_id, instruction_prompt=prompt.system, history=history)
        for caller in watching:
            caller.send(event, job.job_id)

    def _tell_generated(self, job: Job, text: str) -> None:
        for caller in list(self._session.callers.values()):
            if caller.debug and caller.access >= Access.PERFORMER and isinstance(caller, HearsModel):
                caller.generated(job.job_id, text)

    def _voices(self) -> Mapping[str, Mapping[str, Any]]:
        """The character's voice by binding; a text can be said also where no character is on call."""
        try:
            return self._session.personality().voice
        except GreenroomError:
            return {}

    async def _parts(
        self, include_audio: bool, voices: Mapping[str, Mapping[str, Any]], held: list[LoadedOperation]
    ) -> TurnParts:
        """The turn's snapshot of the operations; all that are held are put into ``held``."""
        operations = self._session.operations
        text_filters = await operations.hold_filters(Role.FILTER_TEXT)
        held.extend(text_filters)
        voice: TextToSpeech[Any] | None = None
        voice_id = "tts"
        audio_filters: list[LoadedOperation] = []
        if include_audio and operations.has(Role.TTS):
            loaded = await operations.hold(Role.TTS, voices)
            held.append(loaded)
            voice, voice_id = operation_as(TextToSpeech, loaded), loaded.binding_id
            audio_filters = await operations.hold_filters(Role.FILTER_AUDIO)
            held.extend(audio_filters)
        return TurnParts(
            voice=voice,
            text_filters=[operation_as(TextFilter, loaded) for loaded in text_filters],
            audio_filters=[operation_as(AudioFilter, loaded) for loaded in audio_filters],
            voice_id=voice_id,
        )

    async def _speak(
        self, job: Job, parts: TurnParts, deltas: AsyncGenerator[ModelOutput, None], audio_lead_ms: int
    ) -> None:
        settings = self._session.house.config.value.turn
        spoken: _Spoken

        async def on_text(text: str) -> None:
            await self._store_line(job, spoken, text)

        turn = Turn(
            job_id=job.job_id,
            emit=self._session.emit,
            parts=parts,
            settings=TurnSettings(
                sentences_ahead=settings.sentences_ahead,
                audio_lead_ms=audio_lead_ms,
                first_clause=settings.first_clause,
                show_thoughts=settings.thoughts == "shown",
                chunk_ms=settings.chunk_ms,
                stall_s=settings.timeout_s,
            ),
            on_text=on_text,
            on_sentence=lambda: self._keep_partial(job, turn),
            started=job.started_at,
            on_generated=lambda text: self._tell_generated(job, text),
        )
        spoken = self._add(_Spoken(job.job_id, turn))
        try:
            await turn.run(deltas)
        except BaseException:
            # Whatever ended the turn early, what was heard of it stays, and nothing else.
            if spoken.cut is None:
                turn.stop()
                if not turn.finished:
                    spoken.cut = turn.playback.heard_in_the_end()
            await committed(self._settle(spoken))
            raise
        finally:
            job.timing.update(turn.timing())
            job.ended = turn.ended
            turn.let_go()
            spoken.ended = True
            self._measure(job)

    def _add(self, spoken: _Spoken) -> _Spoken:
        """Its sound is played behind that of the turns before it."""
        self._spoken = [one for one in self._spoken if one.cut is None and one.turn.playback.playing][-_MOST_PLAYING:]
        if self._spoken:
            spoken.turn.playback.follow(self._spoken[-1].turn.playback.ends_at)
        self._spoken.append(spoken)
        return spoken

    async def _store_line(self, job: Job, spoken: _Spoken, text: str) -> None:
        content = text.strip()
        if not content:
            return
        context = self._session.context
        spoken.line = context.new_line("chat", self._own_name(), content, job_id=job.job_id)
        await self._session.house.store.add_line(spoken.line)
        if spoken.cut is None:
            spoken.announced = True
            context.added(spoken.line, job.job_id)

    def _own_name(self) -> str:
        """The character's name as the script shows it."""
        return self._session.context.translated(self._session.character_name())

    async def _settle(self, spoken: _Spoken) -> None:
        """After a turn that was cut short: the context holds what was heard of it."""
        if spoken.cut is None:
            return
        if spoken.announced:
            await self._trim(spoken)
            return
        heard = spoken.cut[0].strip()
        context = self._session.context
        if spoken.line is not None:
            # The whole line may be in the store already, or about to be: take it out before the short one goes in.
            await self._session.house.store.remove_line(self._session.name, spoken.line.line_id)
        if heard:
            spoken.line = context.new_line("chat", self._own_name(), heard, job_id=spoken.job_id, interrupted=True)
            await context.add(spoken.line, spoken.job_id)
            spoken.announced = True

    async def _trim(self, spoken: _Spoken) -> None:
        if spoken.line is None or spoken.cut is None:
            return
        heard = spoken.cut[0].strip()
        if heard != spoken.line.content:
            await self._session.context.change(spoken.line.line_id, heard, spoken.job_id)

    def _keep_partial(self, job: Job, turn: Turn) -> None:
        """What has been said so far goes to disk beside the job, so that a killed server still knows it."""
        said = "".join(sentence.text for sentence in turn.playback.sentences if sentence.whole)
        self._session.own(self._session.house.store.save_partial(job.job_id, said), name=f"partial {job.job_id}")

    def _measure(self, job: Job) -> None:
        metrics = self._session.house.metrics
        if "first_text_ms" in job.timing:
            metrics.first_text.observe(job.timing["first_text_ms"] / 1000)
        if "first_audio_ms" in job.timing:
            metrics.first_audio.observe(job.timing["first_audio_ms"] / 1000)

    def _job_ended(self, job: Job, error: GreenroomError | None) -> None:
        if error is not None and not isinstance(error, Cancelled) and job.job_type in _TURNS:
            self._session.emit(events.GenerationError(job_id=job.job_id, error=error.message))
