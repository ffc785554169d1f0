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
from greenroom.doors.safety import Grant
from greenroom.errors import BindingFailed, Cancelled, Conflict, GreenroomError, NotFound, TooSlow
from greenroom.personalities.prompt import estimated_tokens
from greenroom.protocol import events
from greenroom.protocol.commands import parse_command
from greenroom.session.handle import Reply, SessionHandle
from greenroom.values import ChunkType

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
    caller = DoorCaller("openai", grant.access)
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
        self._job_id = ""
        self._ended = False
        self._said: list[str] = []
        caller.accepted = self._accepted

    def _accepted(self, reply: Reply) -> None:
        self._job_id = str(reply.get("job_id", ""))

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
        usage = Usage(estimated_tokens(str(asked["text"])), estimated_tokens("".join(self._said)))
        await self._answer.finish("stop", usage if self._answer.wants_usage else None)

    async def _take(self, event: events.JobEvent) -> None:
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
                if not event.success and not _is_interrupted(event.error or {}):
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
