"""A session over a real store, with a backend whose every step the test decides."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from greenroom.app import Greenroom
from greenroom.protocol import events
from greenroom.protocol.commands import parse_command
from greenroom.protocol.events import Event
from greenroom.protocol.grant import Grant
from greenroom.session.replay import Entry
from greenroom.session.session import Session
from greenroom.values import Access, Role

SCRIPTED = Path(__file__).parents[1] / "fakes" / "bindings"

CONFIG = """
operations:
  - {role: t2t, id: scripted}
  - {role: tts, id: scripted}
  - {role: stt, id: scripted}
turn: {audio_lead_ms: 0}
"""


@dataclass
class Somebody:
    """A caller that keeps what it is told."""

    client_id: str = "c1"
    label: str = "test/1"
    access: Access = Access.OWNER
    debug: bool = False
    sessions: frozenset[str] = frozenset()
    replies: list[Mapping[str, Any]] = field(default_factory=list)
    told: list[tuple[Event, str]] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def grant(self) -> Grant:
        return Grant(self.access, self.sessions)

    def accept(self, reply: Mapping[str, Any]) -> None:
        self.replies.append(reply)

    def send(self, event: Event, request_id: str) -> None:
        self.told.append((event, request_id))
        self.changed.set()

    async def until_told(self, kind: type[Event]) -> Event:
        async with asyncio.timeout(10):
            while True:
                for event, _ in self.told:
                    if isinstance(event, kind):
                        return event
                self.changed.clear()
                await self.changed.wait()


class Scene:
    """One session of one server, and how to talk to it."""

    def __init__(self, greenroom: Greenroom, session: Session) -> None:
        self.greenroom = greenroom
        self.session = session
        self.caller = Somebody()
        self._news = asyncio.Event()
        session.log.subscribe(self._news.set)

    @property
    def told(self) -> list[Event]:
        found: list[Event] = []
        cursor = 0
        while isinstance(entry := self.session.log.after(cursor), Entry):
            assert entry.event is not None
            found.append(entry.event)
            cursor = entry.seq
        return found

    def of(self, job_id: str) -> list[Event]:
        return [event for event in self.told if getattr(event, "job_id", None) == job_id]

    async def ask(self, event: str, caller: Somebody | None = None, **data: Any) -> Mapping[str, Any]:
        return await self.session.execute(parse_command(event, data), caller or self.caller)

    async def job(self, event: str, **data: Any) -> str:
        return cast(str, (await self.ask(event, **data))["job_id"])

    async def until(self, found: Callable[[list[Event]], bool]) -> list[Event]:
        """Wait until the events so far satisfy the test."""
        async with asyncio.timeout(10):
            while not found(self.told):
                self._news.clear()
                await self._news.wait()
        return self.told

    async def ended(self, job_id: str) -> events.JobFinished:
        await self.until(
            lambda told: any(isinstance(event, events.JobFinished) and event.job_id == job_id for event in told)
        )
        ends = [event for event in self.of(job_id) if isinstance(event, events.JobFinished)]
        assert len(ends) == 1, "a job ends exactly once"
        assert self.of(job_id)[-1] is ends[0], "nothing follows a job's end"
        return ends[0]

    async def run(self, event: str, **data: Any) -> tuple[events.JobFinished, list[Event]]:
        job_id = await self.job(event, **data)
        end = await self.ended(job_id)
        return end, self.of(job_id)

    def text(self, job_id: str) -> str:
        return "".join(event.chunk for event in self.of(job_id) if isinstance(event, events.TextChunk))

    def script(self) -> list[str]:
        return [self.session.context.script_line(line) for line in self.session.context.lines]

    async def stage(self, role: Role) -> Any:
        """The scripted backend's own record of what was asked of it (``fakes/bindings/scripted``)."""
        loaded = await self.session.operations.hold(role)
        await loaded.release()
        return loaded.operation.engine
