"""The desk for what is put into the context: lines, speech to be transcribed, custom contexts, settings."""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from greenroom.bindings.engines import LoadedOperation
from greenroom.bindings.guard import guarded
from greenroom.bindings.roles import SpeechToText
from greenroom.errors import BadRequest, Conflict
from greenroom.pipeline.chain import closable, unstalled
from greenroom.protocol import events
from greenroom.protocol.commands import (
    ContextAddAudio,
    ContextAddChat,
    ContextAddCustom,
    ContextAddRequest,
    ContextClear,
    ContextConfigure,
    ContextCustomRegister,
    ContextCustomRemove,
    JobCommand,
)
from greenroom.session.context import CustomContext
from greenroom.session.handle import Caller, Reply
from greenroom.session.jobs import Job
from greenroom.session.operations import operation_as
from greenroom.session.prompting import prompt_file
from greenroom.session.session import Session
from greenroom.values import Audio, Role

_PIECE_MS = 100
_HINT_CHARS = 1000
_MAX_CUSTOMS = 256
_CONTEXT = frozenset({"context"})


class ConversationDesk:
    def __init__(self, session: Session) -> None:
        self._session = session
        self._context = session.context
        session.handle(ContextAddChat, self._chat)
        session.handle(ContextAddRequest, self._request)
        session.handle(ContextAddAudio, self._audio)
        session.handle(ContextAddCustom, self._custom)
        session.handle(ContextClear, self._clear)
        session.handle(ContextConfigure, self._configure)
        session.handle(ContextCustomRegister, self._register)
        session.handle(ContextCustomRemove, self._remove)

    async def _submit(self, command: JobCommand, caller: Caller, job: Job) -> Reply:
        return await self._session.jobs.submit(job, command.command_id or "", caller.accept)

    async def _chat(self, command: ContextAddChat, caller: Caller) -> Reply:
        async def work(job: Job) -> None:
            user = self._context.translated(command.user)
            line = self._context.new_line("chat", user, command.content, command.timestamp)
            await self._context.add(line, job.job_id)

        return await self._submit(command, caller, Job("context_add", command.args(), work, writes=_CONTEXT))

    async def _request(self, command: ContextAddRequest, caller: Caller) -> Reply:
        async def work(job: Job) -> None:
            line = self._context.new_line("request", "", command.content, command.timestamp)
            await self._context.add(line, job.job_id)

        return await self._submit(command, caller, Job("context_add", command.args(), work, writes=_CONTEXT))

    async def _custom(self, command: ContextAddCustom, caller: Caller) -> Reply:
        async def work(job: Job) -> None:
            custom = self._context.custom(command.context_id)
            line = self._context.new_line(
                "custom", command.context_id, command.content, command.timestamp, context_name=custom.name
            )
            await self._context.add(line, job.job_id)

        return await self._submit(command, caller, Job("context_add", command.args(), work, writes=_CONTEXT))

    async def _audio(self, command: ContextAddAudio, caller: Caller) -> Reply:
        """Recognition begins as soon as the job is queued; only the line waits for its turn."""
        audio = Audio(command.audio, command.sr, command.sw, command.ch)
        whole = len(audio.pcm) - len(audio.pcm) % audio.frame_bytes
        if not whole:
            raise BadRequest(
                f"context_add: audio: {len(audio.pcm)} bytes are not one frame of {audio.frame_bytes} bytes",
                details={"field": "audio"},
            )
        user = self._context.translated(command.user)
        hint = self._hint()
        timing: dict[str, float] = {}

        async def early() -> str:
            return await self._transcribe(audio, hint, timing)

        async def work(job: Job) -> None:
            text = (await job.early_result()).strip()
            job.timing.update(timing)
            self._session.emit(events.Transcript(job_id=job.job_id, user=user, content=text, final=True))
            if text:
                line = self._context.new_line("chat", user, text, command.timestamp)
                await self._context.add(line, job.job_id)

        job = Job(
            "context_add",
            command.args(),
            work,
            early=early,
            reads=frozenset({"operations"}),
            writes=_CONTEXT,
            size_bytes=len(command.audio),
        )
        return await self._submit(command, caller, job)

    def _hint(self) -> str:
        """Names and words likely to be said: the script's end, or at least the character's name."""
        script = "".join(f"\n{self._context.script_line(line)}" for line in self._context.lines[-10:])
        return script[-_HINT_CHARS:] or f"You're name is {self._session.character_name()}"

    async def _transcribe(self, audio: Audio, hint: str, timing: dict[str, float]) -> str:
        started = time.monotonic()
        stall_s = self._session.house.config.value.turn.timeout_s
        loaded: LoadedOperation = await self._session.operations.hold(Role.STT)
        try:
            with guarded(loaded.binding_id):
                recogniser: SpeechToText[Any] = operation_as(SpeechToText, loaded)
                text = ""
                async with aclosing(closable(recogniser.transcribe(_pieces(audio), hint))) as transcripts:
                    async for transcript in unstalled(transcripts, stall_s, loaded.binding_id):
                        if transcript.final:
                            text = transcript.text
        finally:
            await loaded.release()
        timing["stt_ms"] = round((time.monotonic() - started) * 1000, 2)
        return text

    async def _clear(self, command: ContextClear, caller: Caller) -> Reply:
        async def work(job: Job) -> None:
            await self._context.clear(job.job_id)

        return await self._submit(command, caller, Job("context_clear", {}, work, writes=_CONTEXT))

    async def _configure(self, command: ContextConfigure, caller: Caller) -> Reply:
        async def work(job: Job) -> None:
            given = command.model_dump(exclude_none=True, exclude={"command_id"})
            for kind in ("instruction", "character", "scene"):
                name = given.get(f"{kind}_prompt_filename")
                if name:
                    prompt_file(self._session.house.prompts, kind, name)
            settings = self._context.settings
            for name, value in given.items():
                setattr(settings, name, value)
            self._context.trim()
            await self._session.changed(caller, context=settings.as_state())

        return await self._submit(command, caller, Job("context_configure", command.args(), work, writes=_CONTEXT))

    async def _register(self, command: ContextCustomRegister, caller: Caller) -> Reply:
        async def work(job: Job) -> None:
            customs = self._context.settings.customs
            if command.context_id not in customs and len(customs) >= _MAX_CUSTOMS:
                raise Conflict(f"{_MAX_CUSTOMS} custom contexts are registered; remove one first")
            customs[command.context_id] = CustomContext(
                command.context_id, command.context_name, command.context_description or ""
            )
            await self._session.changed(caller, context=self._context.settings.as_state())

        return await self._submit(
            command, caller, Job("context_custom_register", command.args(), work, writes=_CONTEXT)
        )

    async def _remove(self, command: ContextCustomRemove, caller: Caller) -> Reply:
        async def work(job: Job) -> None:
            self._context.custom(command.context_id)
            del self._context.settings.customs[command.context_id]
            await self._session.changed(caller, context=self._context.settings.as_state())

        return await self._submit(command, caller, Job("context_custom_remove", command.args(), work, writes=_CONTEXT))


async def _pieces(audio: Audio) -> AsyncGenerator[Audio, None]:
    """A recording as a stream, so that a recogniser can begin and be stopped within it."""
    step = max(1, audio.sample_rate * _PIECE_MS // 1000) * audio.frame_bytes
    whole = len(audio.pcm) - len(audio.pcm) % audio.frame_bytes
    for offset in range(0, whole, step):
        part = audio.pcm[offset : min(offset + step, whole)]
        yield Audio(part, audio.sample_rate, audio.sample_width, audio.channels)
