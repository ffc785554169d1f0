"""One session as jaison's clients hear it: its log is translated once, and every listener given the same frames."""

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from greenroom.doors.broadcast.frames import Frame
from greenroom.doors.broadcast.listener import Guest, Listener, Member
from greenroom.doors.broadcast.ordering import DocumentedOrder
from greenroom.doors.broadcast.translation import Translation
from greenroom.doors.discretion import Discretion
from greenroom.protocol.events import AudioDropped, Event, JobFinished, JobStarted, PromptBuilt
from greenroom.session.handle import SessionHandle
from greenroom.session.replay import Entry, ReplayLog

logger = logging.getLogger(__name__)


class Feed:
    """Made for the first listener of a session. Nothing is sent of what happened before; only the names of the jobs
    that are under way are read from the log.

    :param state: the session's state of this moment.
    :param limit_chars: of frames that are held back for those who want them in the documented order.
    """

    def __init__(
        self, handle: SessionHandle, state: Mapping[str, Any], limit_chars: int, discretion: Discretion
    ) -> None:
        self.handle = handle
        self._log = handle.log
        self._translation = Translation(discretion=discretion)
        self._ordering = DocumentedOrder(limit_chars)
        self._listeners: dict[str, Listener] = {}
        self._watching = ""
        """the listener in whose name the session shows its prompts"""
        self._cursor = self._log.seq
        self._read_past()
        operations = state.get("operations")
        self._translation.speaks = isinstance(operations, Mapping) and operations.get("tts") is not None
        self._unsubscribe: Callable[[], object] = self._log.subscribe(self._news)

    @property
    def empty(self) -> bool:
        return not self._listeners

    def add(self, listener: Listener) -> None:
        """From now on it hears everything."""
        self._listeners[listener.client_id] = listener
        if self._watching:
            guest = Guest(listener.client_id, self._told, self._generated)
            self.handle.join(guest, plays=False)
        else:
            self._watch(listener.client_id)

    def remove(self, listener: Listener) -> None:
        if self._listeners.pop(listener.client_id, None) is None:
            return
        self.handle.forget(listener.client_id)
        if listener.client_id == self._watching:
            self._watching = ""
            if self._listeners:
                self._watch(next(iter(self._listeners)))
        if self.empty:
            self._unsubscribe()
            self._unsubscribe = _nothing  # the other one holds this feed

    def _watch(self, client_id: str) -> None:
        self._watching = client_id
        self.handle.join(Member(client_id, self._told, self._generated), plays=False)

    def _read_past(self) -> None:
        cursor = _beginning(self._log)
        while (found := self._log.after(cursor)) is not None and cursor < self._cursor:
            if isinstance(found, AudioDropped):
                cursor = found.to_seq
                continue
            cursor = found.seq
            if isinstance(found.event, JobStarted | JobFinished):
                for _ in self._translation.frames(found.event):
                    pass

    # what happens

    def _news(self) -> None:
        """Called by the session in the middle of telling something: it must not fail, whatever stands in an event."""
        try:
            while (found := self._log.after(self._cursor)) is not None:
                if isinstance(found, Entry):
                    self._cursor = found.seq
                    if found.event is not None:
                        self._safely(self._translation.frames, found.event)
                else:
                    self._cursor = found.to_seq
        except LookupError:  # one event larger than the whole log
            self._cursor = self._log.seq

    def _told(self, event: Event) -> None:
        if isinstance(event, PromptBuilt):
            self._news()
            self._safely(self._translation.frames, event)

    def _generated(self, job_id: str, text: str) -> None:
        self._news()
        self._safely(self._translation.generated, job_id, text)

    def _safely(self, translate: Callable[..., Iterable[Frame]], *what: Any) -> None:
        try:
            for frame in translate(*what):
                self._send(frame)
        except Exception:  # the boundary of one event: a bad one must not stop those behind it
            logger.exception("an event could not be told to the clients of %s", self.handle.name)

    def _send(self, frame: Frame) -> None:
        documented = list(self._ordering.frames(frame))
        for listener in self._listeners.values():
            if listener.documented:
                for each in documented:
                    listener.hear(each)
            else:
                listener.hear(frame)


def _nothing() -> None: ...


def _beginning(log: ReplayLog) -> int:
    """The lowest cursor that the log still reaches."""
    low, high = 0, log.seq
    while low < high:
        middle = (low + high) // 2
        if log.reaches(middle):
            high = middle
        else:
            low = middle + 1
    return low
