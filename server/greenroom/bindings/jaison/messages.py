"""The lines of a script as jaison's text operations get them, with the forms of its contract."""

import re
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final


def _now() -> datetime:
    return datetime.now(UTC)


class Message:
    def to_line(self) -> str:
        """As it stands in the script."""
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        """As it stands in ``history`` events; ``time`` in seconds since 1970."""
        raise NotImplementedError


@dataclass
class RawMessage(Message):
    message: str

    def to_line(self) -> str:
        return self.message

    def to_dict(self) -> dict[str, Any]:
        return {"type": "raw", "message": self.message}


@dataclass
class RequestMessage(Message):
    message: str
    time: datetime = field(default_factory=_now)

    def to_line(self) -> str:
        return f"[REQUEST]: {self.message}"

    def to_dict(self) -> dict[str, Any]:
        return {"type": "request", "time": self.time.timestamp(), "message": self.message}


@dataclass
class ChatMessage(Message):
    user: str
    message: str
    time: datetime = field(default_factory=_now)

    def to_line(self) -> str:
        return f"[{self.user}]: {self.message}"

    def to_dict(self) -> dict[str, Any]:
        return {"type": "chat", "user": self.user, "time": self.time.timestamp(), "message": self.message}


@dataclass
class MCPMessage(Message):
    tool_name: str
    result: str
    time: datetime = field(default_factory=_now)

    def to_line(self) -> str:
        return f"[MCP#{self.tool_name}]: {self.result}"

    def to_dict(self) -> dict[str, Any]:
        return {"type": "tool", "tool": self.tool_name, "time": self.time.timestamp(), "message": self.result}


@dataclass
class ContextMetadata:
    id: str
    name: str
    description: str | None = None


@dataclass
class CustomMessage(Message):
    context_metadata: Any
    """has ``id`` and ``name``"""
    message: str
    time: datetime = field(default_factory=_now)

    def to_line(self) -> str:
        return f"[CONTEXT#{self.context_metadata.name}]: {self.message}"

    def to_dict(self) -> dict[str, Any]:
        found = str(self.context_metadata.id)
        return {"type": "custom", "id": found, "time": self.time.timestamp(), "message": self.message}


_LINE: Final = re.compile(r"\[(.+?)\]: (.+)", re.DOTALL)


def from_line(line: str) -> Message:
    """A line of the script as the message that it was made of; its ``to_line`` is that line again."""
    found = _LINE.fullmatch(line)
    if found is None:
        return RawMessage(line)
    who, text = found[1], found[2]
    if who == "REQUEST":
        return RequestMessage(text)
    kind, mark, name = who.partition("#")
    if mark and name and kind == "CONTEXT":
        return CustomMessage(ContextMetadata(name, name), text)
    if mark and name and kind == "MCP":
        return MCPMessage(name, text)
    return ChatMessage(who, text)


character: ContextVar[str] = ContextVar("the character that a jaison operation works for", default="J.A.I.son")


@dataclass
class Prompter:
    """What operations ask of jaison's prompter: who the character is, to tell its lines from the others'."""

    character_name: str = field(default_factory=character.get)
