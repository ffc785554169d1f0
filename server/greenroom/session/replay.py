"""The numbered log of a session's events: what is sent live, and what a client that reconnects has missed.

Every event gets the next number before anybody hears it. Readers keep a cursor (the number of the last event that they
have) and ask for what follows, so a slow reader costs nothing here but the log itself, which is bounded in bytes: the
oldest audio leaves first and stands as a gap, then the oldest events; the newest quarter keeps its audio. A reader
whose cursor has fallen off the log must join anew.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from greenroom.protocol.events import AudioChunk, AudioDropped, Event, TextChunk
from greenroom.values import new_id

_EVENT_OVERHEAD_BYTES = 400
_ITEM_BYTES = 16
_ENCODED = 256
"""of so many events the doors' encoding is kept: readers that keep up need no more, one that comes back has it made"""


@dataclass(slots=True)
class Entry:
    """One numbered event; ``event`` is ``None`` where audio was dropped. ``wire`` is the doors' encoding, kept once."""

    seq: int
    event: Event | None
    size: int
    wire: dict[str, Any] = field(default_factory=dict)


def _size_of(event: Event) -> int:
    if isinstance(event, AudioChunk):
        return _EVENT_OVERHEAD_BYTES + len(event.audio)
    if isinstance(event, TextChunk):
        return _EVENT_OVERHEAD_BYTES + len(event.job_id or "") + len(event.chunk)
    return _EVENT_OVERHEAD_BYTES + sum(_weight(getattr(event, name)) for name in event.__dataclass_fields__)


def _weight(value: object) -> int:
    """Bytes of what may be long in an event: texts and sound, wherever they stand."""
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, dict):
        return sum(_weight(key) + _weight(item) + _ITEM_BYTES for key, item in value.items())
    if isinstance(value, list | tuple):
        return sum(_weight(item) + _ITEM_BYTES for item in value)
    return 0


class ReplayLog:
    """:param limit_bytes: bound of the events kept; at least the newest event always is."""

    def __init__(self, limit_bytes: int) -> None:
        self.epoch = new_id()
        self.limit_bytes = limit_bytes
        self.bytes = 0
        self._entries: list[Entry] = []
        self._first_seq = 1
        self._next_audio = 1
        """no audio is left below this number"""
        self._recent_from = 1
        """what has a number from here on weighs a quarter of the limit at most: readers at the end need its audio"""
        self._recent_bytes = 0
        self._listeners: dict[Callable[[], None], None] = {}

    @property
    def seq(self) -> int:
        """Number of the newest event; 0 before the first."""
        return self._first_seq + len(self._entries) - 1

    def append(self, event: Event) -> Entry:
        entry = Entry(self.seq + 1, event, _size_of(event))
        self._entries.append(entry)
        self.bytes += entry.size
        self._recent_bytes += entry.size
        while self._recent_bytes > self.limit_bytes // 4 and self._recent_from < entry.seq:
            self._recent_bytes -= self._entries[self._recent_from - self._first_seq].size
            self._recent_from += 1
        if len(self._entries) > _ENCODED:
            self._entries[-_ENCODED - 1].wire.clear()
        if self.bytes > self.limit_bytes:
            self._trim()
        for listener in tuple(self._listeners):
            listener()
        return entry

    def reaches(self, cursor: int) -> bool:
        """Whether everything after ``cursor`` is still here (perhaps without audio)."""
        return self._first_seq - 1 <= cursor <= self.seq

    def after(self, cursor: int) -> Entry | AudioDropped | None:
        """What follows ``cursor``: an event, a gap of audio, or ``None`` at the end.

        :raises LookupError: when the log no longer reaches back that far.
        """
        if cursor >= self.seq:
            return None
        if cursor < self._first_seq - 1:
            raise LookupError(cursor)
        position = cursor + 1 - self._first_seq
        entry = self._entries[position]
        if entry.event is not None:
            return entry
        end = position
        while end + 1 < len(self._entries) and self._entries[end + 1].event is None:
            end += 1
        return AudioDropped(from_seq=entry.seq, to_seq=self._entries[end].seq)

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """``listener()`` is called after each event, on the event loop, and must be quick. Returns how to undo this."""
        self._listeners[listener] = None
        return lambda: self._listeners.pop(listener, None)

    def drop_audio(self) -> None:
        """Let go of all sound and of what doors have encoded, as for a session in which nothing has happened for a
        while."""
        self._drop_audio(len(self._entries), 0)
        self._recent_from, self._recent_bytes = self.seq + 1, 0
        for entry in self._entries[-_ENCODED:]:
            if entry.wire:
                entry.wire = {}

    @property
    def listeners(self) -> int:
        return len(self._listeners)

    def _trim(self) -> None:
        last = len(self._entries) - 1
        self._drop_audio(self._recent_from - self._first_seq, self.limit_bytes)
        drop = 0
        target = self.limit_bytes * 7 // 8 if self.bytes > self.limit_bytes else self.limit_bytes
        while self.bytes > target and drop < last:
            self.bytes -= self._entries[drop].size
            drop += 1
        if drop:
            del self._entries[:drop]
            self._first_seq += drop

    def _drop_audio(self, end: int, limit_bytes: int) -> None:
        """The oldest sound before position ``end``, until the rest is within the limit."""
        position = max(self._next_audio - self._first_seq, 0)
        while self.bytes > limit_bytes and position < end:
            entry = self._entries[position]
            if isinstance(entry.event, AudioChunk):
                self.bytes -= entry.size - _EVENT_OVERHEAD_BYTES // 4
                entry.size = _EVENT_OVERHEAD_BYTES // 4
                entry.event = None
                entry.wire = {}
            position += 1
        self._next_audio = self._first_seq + position
