"""Which event belongs to which stream.

A job's first events may be read before its acknowledgement has been (after a cut they are even sent before it), so
while a request is under way events of unknown jobs are kept until their owner names itself.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol
from weakref import WeakSet

from greenroom.client.connection import Listener
from greenroom.client.cursor import Rejoined
from greenroom.client.mailbox import Mailbox
from greenroom.client.received import Missed, Received
from greenroom.errors import GreenroomError, Restarted, Unavailable
from greenroom.protocol.events import AudioDropped, SessionJoined

_STRAY_LIMIT_BYTES = 8 * 1024 * 1024
_MAX_STRAYS = 100


class Stream(Protocol):
    @property
    def private(self) -> bool:
        """bound to the connection that it was asked on"""
        ...

    def take(self, received: Received) -> None: ...
    def end(self, error: GreenroomError) -> None: ...


class Router(Listener):
    def __init__(self) -> None:
        self._streams: dict[str, Stream] = {}
        self._strays: dict[str, Mailbox] = {}
        self._expecting = 0
        self._watchers: WeakSet[Mailbox] = WeakSet()
        self._failure: GreenroomError | None = None

    @contextmanager
    def expecting(self) -> Iterator[None]:
        """While a request whose events may overtake its acknowledgement is under way."""
        self._expecting += 1
        try:
            yield
        finally:
            self._expecting -= 1
            if not self._expecting:
                self._strays.clear()

    def claim(self, key: str, stream: Stream) -> None:
        """From now on, and from before, the events with this job or request id go to ``stream``."""
        self._streams[key] = stream
        early = self._strays.pop(key, None)
        for received in early.drain() if early is not None else ():
            stream.take(received)

    def release(self, key: str) -> None:
        self._streams.pop(key, None)

    def watch(self) -> Mailbox:
        """Every event from now on, until whoever holds the mailbox drops it."""
        mailbox = Mailbox()
        if self._failure is not None:
            mailbox.close(self._failure)
        self._watchers.add(mailbox)
        return mailbox

    # Listener

    def event(self, received: Received) -> None:
        if received.seq is not None or received.request_id is None:
            for mailbox in self._watchers:
                mailbox.put(received)
        key = received.request_id or received.job_id
        if key is None:
            if isinstance(received.event, Missed | AudioDropped):
                for stream in set(self._streams.values()):
                    stream.take(received)
            return
        stream_of_key = self._streams.get(key)
        if stream_of_key is not None:
            stream_of_key.take(received)
        elif self._expecting and (key in self._strays or len(self._strays) < _MAX_STRAYS):
            self._strays.setdefault(key, Mailbox(_STRAY_LIMIT_BYTES)).put(received)

    def rejoined(self, how: Rejoined, joined: SessionJoined) -> None:
        told = Received(joined, joined.session)
        if how is not Rejoined.RESUMED:
            for mailbox in self._watchers:
                mailbox.put(told)
        if how in (Rejoined.FIRST, Rejoined.RESUMED):
            return
        going_on = _jobs(joined) if how is Rejoined.TRIMMED else frozenset()
        for key, stream in list(self._streams.items()):
            if stream.private:
                continue
            stream.take(told)
            if key not in going_on:
                stream.end(_lost_job(how))

    def cut(self) -> None:
        for stream in list(self._streams.values()):
            if stream.private:
                stream.end(Unavailable("the connection was lost, and with it the rest of this generation"))

    def failed(self, error: GreenroomError) -> None:
        self._failure = error
        for stream in list(self._streams.values()):
            stream.end(error)
        for mailbox in self._watchers:
            mailbox.close(error)


def _jobs(joined: SessionJoined) -> frozenset[str]:
    """Jobs that the state says are running or queued."""
    jobs = joined.state.get("jobs")
    if not isinstance(jobs, dict):
        return frozenset()
    queued = jobs.get("queued")
    listed = [jobs.get("running"), *(queued if isinstance(queued, list) else ())]
    ids = (job.get("job_id") for job in listed if isinstance(job, dict))
    return frozenset(job_id for job_id in ids if isinstance(job_id, str))


def _lost_job(how: Rejoined) -> GreenroomError:
    if how is Rejoined.RESTARTED:
        return Restarted("the server was restarted; what this job had said stands in the history")
    return Unavailable("this job ended while the connection was away too long to catch up; read the history")
