"""A request that takes part in a session: its last message becomes a turn there, and everybody hears the answer."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from greenroom.doors.door import DoorCaller
from greenroom.doors.openai.answers import Answer, Usage
from greenroom.doors.openai.context import Context
from greenroom.doors.openai.failures import bad_field, unsupported
from greenroom.doors.openai.messages import Conversation
from greenroom.doors.openai.requests import ChatRequest
from greenroom.errors import BindingFailed, Cancelled, Conflict, GreenroomError, NotFound, TooSlow
from greenroom.personalities.prompt import estimated_tokens
from greenroom.protocol import events
from greenroom.protocol.commands import parse_command
from greenroom.protocol.grant import Grant
from greenroom.session.handle import Reply, SessionHandle
from greenroom.values import ChunkType, FinishReason

_FLAGS: Final[Mapping[Any, bool]] = {True: True, False: False, "true": True, "false": False}

_INTERRUPTED: Final = "it was interrupted"
"""the session's own reason, where an interrupt and not a cancellation has ended a turn"""


async def answer_in_session(
    context: Context, grant: Grant, request: ChatRequest, talk: Conversation, answer: Answer
) -> None:
    """The conversation is the session's own: of the messages only the last is taken, and nothing of the sampling.

    ``metadata``: ``session``, ``include_audio`` (``true`` unless it says ``false``). A client that leaves ends it.
    """
    metadata = request.metadata or {}
    name = metadata.get("session")
    if not isinstance(name, str) or not name:
        raise bad_field("metadata.session", "wanted the name of a session")
    flag = metadata.get("include_audio", True)
    include_audio = _FLAGS.get(flag) if isinstance(flag, bool | str) else None
    if include_audio is None:
        raise bad_field("metadata.include_audio", "wanted true or false")
    last = talk.messages[-1] if talk.messages else None
    if last is None or last.role != "user" or not last.content:
        raise bad_field("messages", "the last message must be the user's: it becomes the session's next line")
    if last.images:
        raise unsupported("messages", "a session takes text, no pictures")
    grant.require_session(name)
    session = await context.rooms.sessions.get(name)
    caller = DoorCaller("openai", grant)
    asked = {"text": last.content, "include_audio": include_audio}
    user = last.name or request.user
    if user:
        asked["user"] = user[:256]
    turn = _Turn(session, caller, answer, spoken=include_audio)
    await turn.run(asked)


class _Turn:
    def __init__(self, session: SessionHandle, caller: DoorCaller, answer: Answer, *, spoken: bool) -> None:
        self._session = session
        self._caller = caller
        self._answer = answer
        self._spoken = spoken
        self._accepted: list[Reply] = []
        self._ended = False
        self._said: list[str] = []
        self._reason = str(FinishReason.STOP)
        self._told: Mapping[str, int] = {}
        caller.accepted = self._accepted.append  # with a method of this turn's own they would hold each other

    @property
    def _job_id(self) -> str:
        """Empty until the command has been accepted."""
        return str(self._accepted[0].get("job_id", "")) if self._accepted else ""

    async def run(self, asked: Mapping[str, Any]) -> None:
        log = self._session.log
        news = asyncio.Event()
        cursor = log.seq
        unsubscribe = log.subscribe(news.set)
        try:
            await self._session.execute(parse_command("response", asked), self._caller)
            while not self._ended:
                try:
                    entry = log.after(cursor)
                except LookupError:
                    raise TooSlow("the session went on faster than the client read") from None
                if entry is None:
                    news.clear()
                    await news.wait()
                elif isinstance(entry, events.AudioDropped):
                    cursor = entry.to_seq
                else:
                    cursor = entry.seq
                    if isinstance(entry.event, events.JobEvent) and entry.event.job_id == self._job_id:
                        await self._take(entry.event)
        finally:
            unsubscribe()
            if self._job_id and not self._ended:
                await self._cancel()
            self._session.forget(self._caller.client_id)
        usage = self._usage(str(asked["text"])) if self._answer.wants_usage else None
        await self._answer.finish(self._reason, usage)

    def _usage(self, asked: str) -> Usage:
        """What the session's model told; where it told nothing, a guess from what was said."""
        told = self._told
        prompt_tokens, completion_tokens = told.get("prompt_tokens"), told.get("completion_tokens")
        return Usage(
            estimated_tokens(asked) if prompt_tokens is None else prompt_tokens,
            estimated_tokens("".join(self._said)) if completion_tokens is None else completion_tokens,
            told.get("cached_tokens"),
            told.get("reasoning_tokens"),
        )

    async def _take(self, event: events.JobEvent) -> None:
        if isinstance(event, events.TextGenerated | events.JobFinished):
            self._reason = event.finish_reason or self._reason
            self._told = event.usage or self._told
        match event:
            case events.TextChunk(type=ChunkType.CHUNK):
                self._said.append(event.chunk)
                await self._answer.text(event.chunk)
            case events.TextChunk(type=ChunkType.INFO):
                await self._answer.thought(event.chunk)
            case events.TextGenerated():
                # The text is whole; its sound may go on for long. Without any, the job's end is about to come.
                self._ended = self._spoken
            case events.JobFinished():
                self._ended = True
                withheld = event.finish_reason == FinishReason.CONTENT_FILTER
                if not (event.success or withheld or _is_interrupted(event.error or {})):
                    raise _failure(event.error or {})

    async def _cancel(self) -> None:
        command = parse_command("cancel_job", {"job_id": self._job_id, "reason": "its client left"})
        try:
            await self._session.execute(command, self._caller)
        except (NotFound, Conflict):
            return  # it has just ended


def _is_interrupted(error: Mapping[str, Any]) -> bool:
    """Somebody began to speak: what was said until then is the answer. A turn that is cancelled has none."""
    return error.get("code") == Cancelled.code and str(error.get("reason") or "").endswith(_INTERRUPTED)


def _failure(error: Mapping[str, Any]) -> GreenroomError:
    reason = str(error.get("reason") or "the turn failed")
    if error.get("code") == Cancelled.code:
        return Cancelled(reason)
    return BindingFailed(reason, retryable=error.get("code") != "bad_request")
