"""All sessions of a server: made when first named, read back from disk, closed when nobody needs them."""

import asyncio
import logging
import re
import time
from collections.abc import Mapping
from typing import Any

from greenroom import garbage
from greenroom.errors import BadRequest, Busy
from greenroom.protocol import events
from greenroom.session.configuring import ConfigurationDesk
from greenroom.session.conversing import ConversationDesk
from greenroom.session.handle import Caller
from greenroom.session.house import House
from greenroom.session.installing import InstallingDesk
from greenroom.session.listing import ListingDesk
from greenroom.session.model_installing import ModelDesk
from greenroom.session.operating import OperationDesk
from greenroom.session.private import PrivateDesk
from greenroom.session.selecting import SelectingDesk
from greenroom.session.session import Session
from greenroom.session.state import Choices, digest
from greenroom.session.turns import TurnDesk
from greenroom.session.vectors import VectorDesk
from greenroom.session.voices import VoiceDesk
from greenroom.store.records import JobRecord, LineRecord
from greenroom.values import new_id

logger = logging.getLogger(__name__)

_NAME = re.compile(r"[^/\\\x00-\x1f\x7f]{1,64}")
_RESTART_TOLD_S = 600.0
_SWEEP_S = 30.0
_WORTH_GIVING_BACK = 1 << 20
"""bytes of sessions' logs; less is soon used again"""


class SessionDirectory:
    def __init__(self, house: House) -> None:
        self._house = house
        self._sessions: dict[str, Session] = {}
        self._opening: dict[str, asyncio.Task[Session]] = {}
        self._idle_since: dict[str, float] = {}
        self._quiet_at: dict[str, int] = {}
        """each session's newest event at the last sweep: one that is still the newest means silence since"""
        self._sweeper: asyncio.Task[None] | None = None
        self._closing = False

    def __len__(self) -> int:
        return len(self._sessions)

    @property
    def idle(self) -> bool:
        """No session has a job."""
        return all(session.jobs.idle for session in self._sessions.values())

    async def get(self, name: str) -> Session:
        """:raises BadRequest: for a name that is none. :raises Busy: with too many sessions open."""
        session = self._sessions.get(name)
        if session is not None:
            return session
        if not _NAME.fullmatch(name) or name != name.strip():
            raise BadRequest(f"{name[:80]!r} is no session name; wanted 1 to 64 characters without slashes")
        if self._closing:
            raise Busy("the server is shutting down")
        opening = self._opening.get(name)
        if opening is None:
            if len(self._sessions) + len(self._opening) >= self._house.config.value.session.max_sessions:
                await self._make_room()
                return await self.get(name)  # others may have come first
            opening = self._opening[name] = asyncio.get_running_loop().create_task(self._open(name))
            opening.add_done_callback(lambda task: self._opened(name, task))
        return await asyncio.shield(opening)

    def _opened(self, name: str, task: asyncio.Task[Session]) -> None:
        self._opening.pop(name, None)
        if not task.cancelled() and task.exception() is None:
            self._sessions[name] = task.result()
            self._house.metrics.sessions.set(len(self._sessions))

    async def _make_room(self) -> None:
        """The session that has been without clients for longest leaves memory; all it knows is on disk."""
        idle = [name for name, session in self._sessions.items() if not session.in_use]
        if not idle:
            raise Busy(f"{len(self._sessions)} sessions are open, as many as may be; close one or try again later")
        now = time.monotonic()
        await self._retire(min(idle, key=lambda name: self._idle_since.get(name, now)))

    async def _open(self, name: str) -> Session:
        store, config = self._house.store, self._house.config.value
        record = await store.load_session(name)
        choices = Choices.from_config(config)
        if record is not None:
            choices = _restored(record.state, choices, digest(self._house.config.started))
        lines = await store.lines(name, choices.context.history_length)
        session = Session(name, self._house, choices, lines)
        for desk in (
            ListingDesk,
            SelectingDesk,
            ConversationDesk,
            OperationDesk,
            ConfigurationDesk,
            TurnDesk,
            PrivateDesk,
            VectorDesk,
            InstallingDesk,
            ModelDesk,
            VoiceDesk,
        ):
            desk(session)
        if record is None:
            await session.save()
        await self._end_unfinished(session)
        self._sweeper = self._sweeper or asyncio.get_running_loop().create_task(self._sweep(), name="sweep sessions")
        return session

    async def _end_unfinished(self, session: Session) -> None:
        """Jobs that a killed server left behind end as ``restarted``; what was said of a turn stays in the context."""
        ended: list[events.JobFinished] = []
        said = {line.extra.get("job_id") for line in session.context.lines}
        for job in await self._house.store.unfinished_jobs(session.name):
            line = None if job.job_id in said else _line_of(job, session)
            await self._house.store.finish_job(job.job_id, line)
            if line is not None:
                session.context.lines.append(line)
                session.context.trim()
            ended.append(
                events.JobFinished(
                    job_id=job.job_id,
                    job_type=job.job_type,
                    success=False,
                    error={
                        "code": "restarted",
                        "type": "job_cancelled",
                        "reason": "the server was restarted before the job ended; ask again",
                    },
                )
            )
        if not ended:
            return
        restarted_at = time.monotonic()

        def tell(caller: Caller) -> None:
            # Everyone who comes back hears it, whenever that is: each has its own place in the old numbering.
            if time.monotonic() - restarted_at < _RESTART_TOLD_S:
                for event in ended:
                    caller.send(event, event.job_id or "")

        def joined(caller: Caller) -> None:
            asyncio.get_running_loop().call_soon(tell, caller)

        session.when_joined(joined)

    async def listing(self) -> list[dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for record in await self._house.store.list_sessions():
            found[record.name] = {"name": record.name, "clients": 0, "jobs": 0, "personality": _active(record.state)}
        for name, session in self._sessions.items():
            state = await session.state()
            found[name] = {
                "name": name,
                "clients": len(session.callers),
                "jobs": len(session.jobs.queued) + (session.jobs.running is not None),
                "personality": state["personality"]["id"],
            }
        return [found[name] for name in sorted(found)]

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_S)
            limit_s = self._house.config.value.session.idle_close_s
            self._house.metrics.engines.set(self._house.engines.open_count)
            freed = 0
            for name, session in list(self._sessions.items()):
                if session.log.seq == self._quiet_at.get(name):
                    freed += session.log.bytes
                    session.log.drop_audio()
                    freed -= session.log.bytes
                self._quiet_at[name] = session.log.seq
                if session.in_use:
                    self._idle_since.pop(name, None)
                    continue
                since = self._idle_since.setdefault(name, time.monotonic())
                if limit_s and time.monotonic() - since > limit_s and name != self._house.config.value.session.default:
                    freed += session.log.bytes
                    await self._retire(name)
            if freed >= _WORTH_GIVING_BACK:
                await asyncio.to_thread(garbage.give_back)

    async def _retire(self, name: str) -> None:
        session = self._sessions.pop(name)
        self._idle_since.pop(name, None)
        self._quiet_at.pop(name, None)
        self._house.metrics.sessions.set(len(self._sessions))
        await session.close("the session is not in use", 1.0)

    async def close(self, reason: str, timeout_s: float) -> None:
        """End every job of every session with its event, and let go of everything."""
        self._closing = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        await asyncio.gather(*self._opening.values(), return_exceptions=True)
        sessions, self._sessions = list(self._sessions.values()), {}
        await asyncio.gather(*(session.close(reason, timeout_s) for session in sessions))


def _restored(state: Mapping[str, Any], configured: Choices, origin: str) -> Choices:
    try:
        stored = Choices.from_state(state)
    except (KeyError, TypeError, ValueError) as error:
        logger.error("a stored session state cannot be read (%s); the configuration's is used", error)
        return configured
    if state.get("origin") == origin:
        return stored
    # The owner has changed this part of the configuration since: the file wins, what was registered stays.
    configured.context.customs = stored.context.customs
    return configured


def _line_of(job: JobRecord, session: Session) -> LineRecord | None:
    content = job.partial.strip()
    if not content or job.job_type not in ("response", "say"):
        return None
    return LineRecord(
        new_id(),
        session.name,
        "chat",
        session.character_name(),
        time.time(),
        content,
        {"job_id": job.job_id, "interrupted": True},
    )


def _active(state: Mapping[str, Any]) -> str | None:
    try:
        return str(state["personalities"][state["active"]])
    except (KeyError, IndexError, TypeError):
        return None
