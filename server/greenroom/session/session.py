"""A session: the state that its clients share, and the one place where commands are carried out.

Everything a client may ask is a handler of one of the desks (listing, selecting, turns, ...); a desk knows the session,
the session knows no desk's details. What happens is emitted into the numbered log, from which the doors read.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

from greenroom.errors import Conflict, GreenroomError, NotFound, TooLarge, Unavailable
from greenroom.log import bind_session
from greenroom.personalities.folder import Personality
from greenroom.protocol import events
from greenroom.protocol.commands import Command, ContextAddAudio, Kind
from greenroom.session.commit import committed
from greenroom.session.context import Context
from greenroom.session.handle import Caller, Reply
from greenroom.session.house import House
from greenroom.session.jobs import Job, JobQueue
from greenroom.session.operations import Operations
from greenroom.session.replay import ReplayLog
from greenroom.session.state import Choices, digest
from greenroom.store.records import LineRecord
from greenroom.values import Role

logger = logging.getLogger(__name__)

Handler = Callable[[Any, Caller], Awaitable[Reply]]
_ANSWERS_REMEMBERED = 2000
_STUBBORN_S = 0.3
"""how long cancelled tasks are waited for when the session closes"""


class Session:
    """Made by the directory, which has read ``choices`` and ``lines`` from disk or from the configuration."""

    def __init__(self, name: str, house: House, choices: Choices, lines: list[LineRecord]) -> None:
        self._name = name
        self.house = house
        config = house.config.value
        self._log = ReplayLog(config.session.replay_log_bytes)
        self.context = Context(name, house.store, self.emit, choices.context, lines)
        self.operations = Operations(house.engines, house.binding_defaults)
        self.operations.plan(choices.operations)
        self.personalities = list(choices.personalities)
        self.active = choices.active
        self.jobs = JobQueue(
            name, house.store, self.emit, config.session.queued_jobs, self._job_ended, self.context.added
        )
        self.callers: dict[str, Caller] = {}
        self._acting: dict[str, None] = {}
        """clients that have asked for something and are still there, whether they hear the session or not"""
        self._closing = False
        self._players: dict[str, None] = {}
        self._handlers: dict[type[Command], Handler] = {}
        self._answers: OrderedDict[tuple[str, str], tuple[str, asyncio.Future[Reply]]] = OrderedDict()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._on_join: list[Callable[[Caller], None]] = []
        self._on_forget: list[Callable[[str], None]] = []
        self._on_end: list[Callable[[Job, GreenroomError | None], None]] = []
        self.state_parts: dict[str, Callable[[], Any]] = {}

    @property
    def name(self) -> str:
        return self._name

    @property
    def log(self) -> ReplayLog:
        return self._log

    @property
    def player(self) -> str:
        """The client whose playback reports count: the first of those here that play; empty if none does."""
        return next(iter(self._players), "")

    @property
    def in_use(self) -> bool:
        """Whether anybody hears it, acts on it, or waits for a job of it."""
        return bool(self.callers or self._acting or self._log.listeners or not self.jobs.idle)

    # for the desks

    def handle(self, command: type[Command], handler: Handler) -> None:
        self._handlers[command] = handler

    def when_joined(self, told: Callable[[Caller], None]) -> None:
        self._on_join.append(told)

    def when_forgotten(self, told: Callable[[str], None]) -> None:
        self._on_forget.append(told)

    def when_ended(self, told: Callable[[Job, GreenroomError | None], None]) -> None:
        self._on_end.append(told)

    def emit(self, event: events.Event) -> None:
        self._log.append(event)

    def own(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """A task that belongs to the session: it is cancelled when the session closes, its failure is logged."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)
        return task

    def _task_done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (failure := task.exception()) is not None:
            logger.error("%s failed: %s", task.get_name(), failure, exc_info=failure)

    def personality(self, name: str | None = None) -> Personality:
        """The one that answers, or the one named. :raises NotFound: none is on call, or its folder is gone."""
        if name is None:
            if not self.personalities:
                raise NotFound("no personality is on call in this session; add one with add_personality")
            name = self.personalities[min(self.active, len(self.personalities) - 1)]
        return self.house.personalities.get(name)

    def character_name(self) -> str:
        if self.context.settings.character_name:
            return self.context.settings.character_name
        try:
            return self.personality().name
        except GreenroomError:
            return "Character"

    async def save(self) -> None:
        """Write the choices to disk. :raises Unavailable: once closing has begun, which empties them."""
        if self._closing:
            raise self._closed()
        await self.house.store.save_session(self._name, self.choices().as_state(digest(self.house.config.started)))

    def _closed(self) -> Unavailable:
        return Unavailable(f"the session {self._name} is closed; join it again")

    def choices(self) -> Choices:
        return Choices(list(self.personalities), self.active, self.operations.specs(), self.context.settings)

    async def changed(self, caller: Caller, **parts: Any) -> None:
        """Something was chosen: durable first, then told, also where who chose it is cancelled meanwhile."""
        await committed(self._changed(caller, parts))

    async def _changed(self, caller: Caller, parts: Mapping[str, Any]) -> None:
        await self.save()
        self.emit(events.StateChanged(changed=parts, by=caller.label))

    # the handle

    async def execute(self, command: Command, caller: Caller) -> Reply:
        with bind_session(self._name):
            caller.grant.require_session(self._name)
            command.permit(caller.grant)
            self._bounded(command)
            if self._closing and command.kind_of is not Kind.IMMEDIATE:
                raise self._closed()
            self._acting[caller.client_id] = None
            handler = self._handlers[type(command)]
            # What changes nothing may be asked again, and its answers are too large to be kept.
            if command.command_id is None or command.kind_of is Kind.IMMEDIATE:
                return await handler(command, caller)
            return await self._once(command, command.command_id, caller, handler)

    async def _once(self, command: Command, command_id: str, caller: Caller, handler: Handler) -> Reply:
        """A repeat of a ``command_id`` gets the first answer, also while the first is still at work.

        :raises Conflict: where the first was another command.
        """
        key = (caller.client_id if command.kind_of is Kind.PRIVATE else "", command_id)
        event, known = self._answers.get(key, (command.event, None))
        if event != command.event:
            raise _taken(command_id, event)
        if known is None:
            answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
            self._answers[key] = command.event, answer
            try:
                reply = await self._stored_answer(command, command_id)
                if reply is None:
                    reply = await handler(command, caller)
                    if command.kind_of is Kind.CHANGE:
                        await self.house.store.remember_command(self._name, command_id, reply)
            except BaseException as error:
                # A refused command did nothing: its repeat is tried again.
                self._answers.pop(key, None)
                if isinstance(error, GreenroomError):
                    answer.set_exception(error)
                    answer.exception()
                else:
                    answer.cancel()
                raise
            answer.set_result(reply)
            while len(self._answers) > _ANSWERS_REMEMBERED:
                self._answers.popitem(last=False)
            return reply
        return await asyncio.shield(known)

    async def _stored_answer(self, command: Command, command_id: str) -> Reply | None:
        if command.kind_of is Kind.PRIVATE:
            return None
        job = await self.house.store.job_by_command(self._name, command_id)
        if job is not None:
            if job.job_type != command.event:
                raise _taken(command_id, job.job_type)
            return job.reply
        if command.kind_of is Kind.CHANGE:
            return await self.house.store.command_reply(self._name, command_id)
        return None

    def _bounded(self, command: Command) -> None:
        limits = self.house.config.value.limits
        for name in ("text", "content", "prompt"):
            value = getattr(command, name, None)
            limit = limits.context_line_bytes if name == "content" else limits.text_bytes
            if isinstance(value, str) and len(value) * 4 > limit and len(value.encode()) > limit:
                raise TooLarge(f"{command.event}: {name}: at most {limit} bytes are taken", details={"field": name})
        if isinstance(command, ContextAddAudio):
            seconds = len(command.audio) / (command.sr * command.sw * command.ch)
            if len(command.audio) > limits.audio_bytes or seconds > limits.audio_s:
                raise TooLarge(
                    f"context_add: audio: at most {limits.audio_bytes} bytes and {limits.audio_s:g} s are taken",
                    details={"field": "audio"},
                )

    async def state(self) -> Mapping[str, Any]:
        spec = self.operations.spec(Role.T2T)
        parts: dict[str, Any] = {
            "session": self._name,
            "epoch": self._log.epoch,
            "seq": self._log.seq,
            "personalities": list(self.personalities),
            "active_personality": self.active,
            "personality": self._personality_state(),
            "binding": spec.id if spec else None,
            "model": spec.options.get("model") if spec else None,
            "operations": self.operations.ids(),
            "context": {
                **self.context.settings.as_state(),
                "character_name": self.character_name(),
                "lines": len(self.context.lines),
            },
            "jobs": {
                "running": _job_state(self.jobs.running),
                "queued": [_job_state(job) for job in self.jobs.queued],
            },
            "clients": len(self.callers),
            "player": self.player or None,
        }
        parts.update({name: part() for name, part in self.state_parts.items()})
        return parts

    def _personality_state(self) -> dict[str, Any] | None:
        try:
            personality = self.personality()
        except GreenroomError as error:
            return {"id": None, "error": error.message}
        return {"id": personality.id, "name": personality.name, "language": personality.language}

    def join(self, caller: Caller, *, plays: bool) -> None:
        self.callers[caller.client_id] = caller
        if plays:
            self._players[caller.client_id] = None
        for told in self._on_join:
            told(caller)

    def leave(self, client_id: str) -> None:
        self.callers.pop(client_id, None)
        self._players.pop(client_id, None)

    def forget(self, client_id: str) -> None:
        self.leave(client_id)
        self._acting.pop(client_id, None)
        for told in self._on_forget:
            told(client_id)

    def _job_ended(self, job: Job, error: GreenroomError | None) -> None:
        outcome = "ok" if error is None else error.code
        self.house.metrics.jobs.labels(job.job_type, outcome).inc()
        self.house.metrics.queued.observe(job.timing["queued_ms"] / 1000)
        for told in self._on_end:
            told(job, error)

    async def close(self, reason: str, timeout_s: float) -> None:
        """End every job with its event, then let go of everything."""
        self._closing = True
        await self.jobs.drain(reason, timeout_s)
        await self.jobs.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_STUBBORN_S)
        await self.operations.close()


def _taken(command_id: str, event: str) -> Conflict:
    return Conflict(f"the command_id {command_id!r} stands for a {event} already; give each command one of its own")


def _job_state(job: Job | None) -> dict[str, Any] | None:
    return None if job is None else {"job_id": job.job_id, "job_type": job.job_type}
