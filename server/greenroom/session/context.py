"""What the character knows of the conversation: ordered lines, each durable before it is announced."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from greenroom.errors import NotFound
from greenroom.protocol import events
from greenroom.session.commit import committed
from greenroom.store import Store
from greenroom.store.records import LineRecord
from greenroom.values import new_id


@dataclass(frozen=True, slots=True)
class CustomContext:
    """A stream of lines of its own, such as a summary of the stream chat; its lines carry the name."""

    context_id: str
    name: str
    description: str = ""


@dataclass(slots=True)
class ContextSettings:
    """Empty name: the active personality's. Empty prompt file: none."""

    character_name: str = ""
    name_translations: dict[str, str] = field(default_factory=dict)
    history_length: int = 200
    instruction_prompt_filename: str = ""
    character_prompt_filename: str = ""
    scene_prompt_filename: str = ""
    customs: dict[str, CustomContext] = field(default_factory=dict)

    def as_state(self) -> dict[str, Any]:
        return {
            "character_name": self.character_name,
            "name_translations": dict(self.name_translations),
            "history_length": self.history_length,
            "instruction_prompt_filename": self.instruction_prompt_filename,
            "character_prompt_filename": self.character_prompt_filename,
            "scene_prompt_filename": self.scene_prompt_filename,
            "customs": [[item.context_id, item.name, item.description] for item in self.customs.values()],
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "ContextSettings":
        known = dict(state)
        customs = {item[0]: CustomContext(*item) for item in known.pop("customs", [])}
        names = set(cls.__dataclass_fields__)
        return cls(**{key: value for key, value in known.items() if key in names}, customs=customs)


class Context:
    """The lines of one session. ``lines`` holds the newest ``history_length`` of them, oldest first."""

    def __init__(
        self,
        session: str,
        store: Store,
        emit: Callable[[events.Event], Any],
        settings: ContextSettings,
        lines: list[LineRecord],
    ) -> None:
        self.session = session
        self.settings = settings
        self.lines = lines
        self._store = store
        self._emit = emit

    def script_line(self, line: LineRecord) -> str:
        """A line as it stands in the script: ``[user]: text``, ``[REQUEST]: text``, ``[CONTEXT#name]: text`` ..."""
        match line.kind:
            case "chat":
                return f"[{line.user}]: {line.content}"
            case "request":
                return f"[REQUEST]: {line.content}"
            case "custom":
                custom = self.settings.customs.get(line.user)
                name = line.extra.get("context_name") or (custom.name if custom else line.user)
                return f"[CONTEXT#{name}]: {line.content}"
            case "tool":
                return f"[MCP#{line.user}]: {line.content}"
        return line.content

    def translated(self, user: str) -> str:
        return self.settings.name_translations.get(user, user)

    def custom(self, context_id: str) -> CustomContext:
        """:raises NotFound: when no such context is registered."""
        custom = self.settings.customs.get(context_id)
        if custom is None:
            known = ", ".join(self.settings.customs) or "none"
            raise NotFound(f"no custom context {context_id!r} is registered; registered: {known}")
        return custom

    def new_line(self, kind: str, user: str, content: str, timestamp: float | None = None, **extra: Any) -> LineRecord:
        at = time.time() if timestamp is None else float(timestamp)
        return LineRecord(new_id(), self.session, kind, user, at, content, extra)

    async def add(self, line: LineRecord, job_id: str | None) -> None:
        """Store the line, then announce it."""
        await committed(self._add(line, job_id))

    async def _add(self, line: LineRecord, job_id: str | None) -> None:
        await self._store.add_line(line)
        self.added(line, job_id)

    def added(self, line: LineRecord, job_id: str | None) -> None:
        """Announce a line that is in the store."""
        self.lines.append(line)
        self.trim()
        self._emit(
            events.ContextAdded(
                job_id=job_id,
                line_id=line.line_id,
                kind=line.kind,
                user=line.user or None,
                timestamp=line.timestamp,
                content=line.content,
                line=self.script_line(line),
            )
        )

    async def change(self, line_id: str, content: str, job_id: str | None) -> None:
        """Cut a line to ``content``; an empty one is taken out. Nothing happens to a line that is there no more."""
        await committed(self._change(line_id, content, job_id))

    async def _change(self, line_id: str, content: str, job_id: str | None) -> None:
        if content:
            if not await self._store.change_line(self.session, line_id, content):
                return
            self.lines = [replace(line, content=content) if line.line_id == line_id else line for line in self.lines]
            self._emit(events.ContextChanged(job_id=job_id, line_id=line_id, content=content))
        else:
            if not await self._store.remove_line(self.session, line_id):
                return
            self.lines = [line for line in self.lines if line.line_id != line_id]
            self._emit(events.ContextChanged(job_id=job_id, line_id=line_id, removed=True))

    async def clear(self, job_id: str | None) -> None:
        await committed(self._clear(job_id))

    async def _clear(self, job_id: str | None) -> None:
        await self._store.clear_lines(self.session)
        gone, self.lines = self.lines, []
        for line in gone:
            self._emit(events.ContextChanged(job_id=job_id, line_id=line.line_id, removed=True))

    def trim(self) -> None:
        excess = len(self.lines) - self.settings.history_length
        if excess > 0:
            del self.lines[:excess]
