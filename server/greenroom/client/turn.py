"""What one or several requests cause, as a stream of events: a turn of the character, any other job, a generation."""

import asyncio
from collections.abc import AsyncIterator, Generator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from greenroom.client.answer import Answer
from greenroom.client.connection import Connection
from greenroom.client.failures import job_failed
from greenroom.client.mailbox import Mailbox
from greenroom.client.received import Received
from greenroom.client.router import Router
from greenroom.errors import Busy, Cancelled, GreenroomError, Internal
from greenroom.protocol import events
from greenroom.values import new_id

_CANCEL_WAIT_S = 2.0


@dataclass(frozen=True, slots=True)
class Request:
    event: str
    data: Mapping[str, Any]

    @classmethod
    def change(cls, event: str, **data: Any) -> Self:
        """With a ``command_id``, so that asking again after a cut does nothing twice; ``None`` is left out."""
        members = {key: value for key, value in data.items() if value is not None}
        return cls(event, {**members, "command_id": new_id()})


class Turn:
    """Iterate over it for the events, or ``await`` it for the whole :class:`Answer`.

    It is asked when it is first awaited, iterated over, entered or started. Leaving ``async with`` before the end
    cancels it at the server; leaving a bare loop lets the character go on.

    A failed job raises the error's class. One that was stopped while the character spoke just ends, ``interrupted``
    among its events; one that :meth:`cancel` ended, or that was cancelled before its first word, raises
    :class:`greenroom.errors.Cancelled`.
    """

    private = False

    def __init__(self, connection: Connection, router: Router, requests: Sequence[Request]) -> None:
        self._connection = connection
        self._router = router
        self._requests = tuple(requests)
        self._mailbox = Mailbox()
        self._keys: list[str] = []
        self._finished: set[str] = set()
        self._submission: asyncio.Task[str] | None = None
        self._forsaking: asyncio.Task[None] | None = None
        self._interrupted = False
        self._cancelled = False

    @property
    def job_id(self) -> str:
        """Of the last of its jobs, the one that answers; empty before :meth:`start` is through."""
        return self._keys[-1] if len(self._keys) == len(self._requests) else ""

    @property
    def ended(self) -> bool:
        return self._mailbox.closed

    async def start(self) -> str:
        """Ask, if that has not been done. -> ``job_id``. :raises GreenroomError: as the server refuses it."""
        if self._submission is None:
            self._submission = asyncio.create_task(self._submit(), name=f"greenroom client: {self._requests[-1].event}")
            self._submission.add_done_callback(_look_at)
        return await asyncio.shield(self._submission)

    async def cancel(self, reason: str = "") -> None:
        """Whether it waits or runs; :class:`greenroom.errors.Cancelled` is what its reader gets."""
        self._cancelled = True
        await self.start()
        await self._cancel_jobs(reason)

    async def interrupt(self, heard_ms: float | None = None, heard_text: str | None = None) -> None:
        """The character falls silent; what was heard (as told, else as the server reckons) stays in the context."""
        job_id = await self.start()
        request = Request.change("interrupt", job_id=job_id, heard_ms=heard_ms, heard_text=heard_text)
        await self._connection.request(request.event, request.data)

    def __aiter__(self) -> AsyncIterator[Received]:
        return self

    async def __anext__(self) -> Received:
        await self.start()
        return await self._mailbox.get()

    def __await__(self) -> Generator[Any, None, Answer]:
        return self._collect().__await__()

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except asyncio.CancelledError:
            await self._leave()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._leave()

    async def _leave(self) -> None:
        if self.ended:
            return
        try:
            async with asyncio.timeout(_CANCEL_WAIT_S):
                await self.cancel("its reader has left")
        except (GreenroomError, TimeoutError):
            pass  # it ended meanwhile, or nobody is left to be told
        finally:
            self.end(Cancelled("its reader has left"))

    async def _collect(self) -> Answer:
        answer = Answer()
        async for received in self:
            answer.add(received)
        return answer

    async def _submit(self) -> str:
        with self._router.expecting():
            for request in self._requests:
                try:
                    told = await self._connection.request(request.event, request.data)
                    key = told.get("job_id") or told.get("request_id")
                    if not isinstance(key, str):
                        raise Internal(f"the server took {request.event} but did not say which job it is")
                except GreenroomError as error:
                    self.end(error)
                    raise
                self._keys.append(key)
                if not self.ended:
                    self._router.claim(key, self)
        return self._keys[-1]

    # Stream

    def take(self, received: Received) -> None:
        self._mailbox.put(received)
        event = received.event
        if isinstance(event, events.Interrupted):
            self._interrupted = True
        elif isinstance(event, events.JobFinished):
            self._job_finished(event)

    def end(self, error: GreenroomError | None = None) -> None:
        """Nothing more comes; ``error`` is what the reader gets after what waits. The first call counts."""
        self._mailbox.close(error)
        for key in self._keys:
            self._router.release(key)

    def _job_finished(self, event: events.JobFinished) -> None:
        self._finished.add(event.job_id or "")
        if not event.success:
            error = job_failed(event.error)
            stopped = self._interrupted and not self._cancelled and isinstance(error, Cancelled)
            self.end(None if stopped else error)
            if len(self._requests) > 1:
                self._forsaking = asyncio.create_task(
                    self._forsake(), name="greenroom client: cancel what depended on it"
                )
                self._forsaking.add_done_callback(_look_at)
        elif event.job_id == self.job_id:
            self.end()

    async def _forsake(self) -> None:
        """A job failed: those asked after it have lost their reason."""
        await self.start()
        await self._cancel_jobs("the job before it failed")

    async def _cancel_jobs(self, reason: str) -> None:
        for key in reversed(self._keys):
            if key not in self._finished:
                await self._connection.request("cancel_job", {"job_id": key, "reason": reason})


def _look_at(task: asyncio.Task[Any]) -> None:
    """Whoever waits for it gets its error; if nobody does, that is no fault."""
    if not task.cancelled():
        task.exception()


class Generation(Turn):
    """lollms' ``generate_text``: private to this client, lost when the connection is."""

    private = True

    async def cancel(self, reason: str = "") -> None:
        """Ends every generation of this client; each ends with the text that it had."""
        await self.start()
        await self._connection.request("cancel_generation", {})

    def take(self, received: Received) -> None:
        self._mailbox.put(received)
        match received.event:
            case events.TextGenerated():
                self.end()
            case events.GenerationError(error=message):
                self.end(Internal(message))
            case events.Busy(message=message) | events.Buzzy(message=message):
                self.end(Busy(message))
