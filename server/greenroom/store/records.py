"""What the store keeps, as it is handed in and out.

Text may hold any Python string, NUL and lone surrogates too. Mappings hold what JSON can say: names to ``None``, bool,
int, finite float, str, lists and mappings of these. Times are seconds since the Unix epoch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class SessionRecord:
    name: str
    state: Mapping[str, Any]
    """personality, binding, model, operations ...: what the session needs to come back as it was"""
    created: float
    updated: float


@dataclass(frozen=True, slots=True)
class LineRecord:
    """One line of a session's context. ``line_id`` is unique in its session; the order is that of adding."""

    line_id: str
    session: str
    kind: str
    """``raw``, ``request``, ``chat``, ``tool`` or ``custom``"""
    user: str
    timestamp: float
    content: str
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job from its acknowledgement on. Once finished it is kept only for its ``command_id``, without its args."""

    job_id: str
    session: str
    job_type: str
    args: Mapping[str, Any]
    created: float
    command_id: str = ""
    reply: Mapping[str, Any] = field(default_factory=dict)
    """the acknowledgement that a repeat of ``command_id`` gets again"""
    partial: str = ""
    """what there is of the answer so far"""
    finished: float | None = None


@dataclass(frozen=True, slots=True)
class Retention:
    """How long an answered ``command_id`` is remembered, so that a repeat of it does nothing twice."""

    seconds: float = 24 * 3600
    rows: int = 10_000
    """at most this many, the newest, for jobs and for other commands each"""
