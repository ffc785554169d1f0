"""A session's jobs: they commit first in, first out; pure work begins as soon as a job is queued.

    queued --its turn--> running --> ended          every job: job_started, ..., exactly one job_finished
       '---cancelled, its turn---------^

A job's early work changes nothing; it is begun unless a job ahead changes what it reads, and is cancelled with its job.
"""

import asyncio
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from greenroom.errors import Busy, Cancelled, Conflict, GreenroomError, Internal, NotFound
from greenroom.log import bind_job
from greenroom.protocol import events
from greenroom.store import Store
from greenroom.store.records import JobRecord, LineRecord
from greenroom.values import Ended, new_id

logger = logging.getLogger(__name__)

_ENDED_REMEMBERED = 1000
_EARLY_AT_ONCE = 2
_WAITING_BYTES = 64 << 20
"""of recordings and the like, in the jobs of one session that wait"""
_STUBBORN_S = 0.3
"""how long a cancelled job is waited for when the session closes"""


class JobState(Enum):
    QUEUED = auto()
    RUNNING = auto()
    ENDED = auto()


@dataclass(slots=True)
class Job:
    """:param work: the commit. :param early: pure work whose result :meth:`early_result` gives to the commit.
    :param size_bytes: what the job holds while it waits, where that is much.
    :param first_line: makes the line with which its work begins."""

    job_type: str
    args: Mapping[str, Any]
    work: "Callable[[Job], Awaitable[None]]"
    early: Callable[[], Awaitable[Any]] | None = None
    reads: frozenset[str] = frozenset()
    writes: frozenset[str] = frozenset()
    size_bytes: int = 0
    first_line: Callable[[], LineRecord] | None = None
    line: LineRecord | None = None
    """that line, where it could be stored together with the job; else it is the work's to add"""
    job_id: str = field(default_factory=new_id)
    state: JobState = JobState.QUEUED
    cancel_reason: str | None = None
    timing: dict[str, float] = field(default_factory=dict)
    ended: Ended | None = None
    """how the model that it asked ended, where that was told"""
    queued_at: float = field(default_factory=time.monotonic)
    started_at: float = 0.0
    early_task: asyncio.Task[Any] | None = None
    task: asyncio.Task[None] | None = None

    async def early_result(self) -> Any:
        """The early work's result, awaited or, if it was not begun, done now."""
        if self.early is None:
            return None
        if self.early_task is None:
            return await self.early()
        return await self.early_task


class JobQueue:
    """:param limit: jobs that may wait. ``on_end(job, error)`` is told of every end, just before it is announced.
    :param on_line: announces a line that came into the store with its job."""

    def __init__(
        self,
        session: str,
        store: Store,
        emit: Callable[[events.Event], Any],
        limit: int,
        on_end: Callable[[Job, GreenroomError | None], None],
        on_line: Callable[[LineRecord, str], None],
    ) -> None:
        self._session = session
        self._store = store
        self._emit = emit
        self._limit = limit
        self._on_end = on_end
        self._on_line = on_line
        self._queue: deque[Job] = deque()
        self._running: Job | None = None
        self._accepting: list[Job] = []
        """on their way into the store, and from there into the queue"""
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._wake = asyncio.Event()
        self._settled = asyncio.Event()
        self._early_slots = asyncio.Semaphore(_EARLY_AT_ONCE)
        self._runner: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def running(self) -> Job | None:
        return self._running

    @property
    def queued(self) -> list[Job]:
        return list(self._queue)

    @property
    def idle(self) -> bool:
        return self._running is None and not self._queue and not self._accepting

    async def submit(self, job: Job, command_id: str, accept: Callable[[Mapping[str, Any]], None]) -> Mapping[str, Any]:
        """Queue a job. It is durable, then acknowledged, then it may begin.

        :raises Busy: when too many wait.
        """
        if self._closed:
            raise Busy("the session is closing; try again in a moment")
        waiting = [*self._queue, *self._accepting]
        if len(waiting) >= self._limit:
            raise Busy(f"{self._limit} jobs are waiting in this session; try again when some have ended")
        if job.size_bytes and sum(one.size_bytes for one in waiting) + job.size_bytes > _WAITING_BYTES:
            raise Busy("too many recordings are waiting in this session; try again when some have ended")
        reply = {"success": True, "job_id": job.job_id}
        record = JobRecord(
            job_id=job.job_id,
            session=self._session,
            job_type=job.job_type,
            args=job.args,
            created=time.time(),
            command_id=command_id,
            reply=reply,
        )
        if job.first_line is not None and self.idle:  # no job before it can add another line
            job.line = job.first_line()
        self._accepting.append(job)
        try:
            await self._store.add_job(record, job.line)
        finally:
            self._accepting.remove(job)
            self._settled.set()
        accept(reply)
        self._queue.append(job)
        self._begin_early()
        self._wake.set()
        if self._runner is None:
            self._runner = asyncio.get_running_loop().create_task(self._run(), name=f"jobs {self._session}")
        return reply

    def cancel(self, job_id: str, reason: str) -> None:
        """:raises NotFound: no such job. :raises Conflict: it has ended."""
        job = self.find(job_id)
        if job is None:
            if job_id in self._ended:
                raise Conflict("Job ID does not exist or already finished: it has ended")
            raise NotFound("Job ID does not exist or already finished", kind="job_unknown")
        if job.cancel_reason is not None:
            return  # a second time would cancel its tidying up
        job.cancel_reason = reason
        if job.early_task is not None:
            job.early_task.cancel()
        if job.task is not None:
            job.task.cancel()

    def find(self, job_id: str) -> Job | None:
        if self._running is not None and self._running.job_id == job_id:
            return self._running
        return next((job for job in self._queue if job.job_id == job_id), None)

    async def drain(self, reason: str, timeout_s: float) -> None:
        """Cancel everything, so that each job gets its end, and wait for it; what takes longer is left to ``close``."""
        for job in (*self._queue, *([self._running] if self._running else [])):
            self.cancel(job.job_id, reason)
        for job in self._accepting:
            job.cancel_reason = reason
        self._limit = 0
        try:
            async with asyncio.timeout(timeout_s):
                while not self.idle:
                    self._settled.clear()
                    await self._settled.wait()
        except TimeoutError:
            logger.warning("session %s: jobs did not end within %g s", self._session, timeout_s)

    async def close(self) -> None:
        """Stop where we are: running and queued jobs stay unfinished on disk and end as ``restarted`` next time."""
        self._closed = True
        tasks = [self._runner] if self._runner else []
        for job in (*self._queue, *([self._running] if self._running else [])):
            tasks += [task for task in (job.early_task, job.task) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_STUBBORN_S)

    def _begin_early(self) -> None:
        written: set[str] = set(self._running.writes) if self._running else set()
        for job in self._queue:
            if (
                job.early is not None
                and job.early_task is None
                and job.cancel_reason is None
                and not (job.reads & written)
            ):
                job.early_task = asyncio.get_running_loop().create_task(
                    self._early(job, job.early), name=f"early {job.job_id}"
                )
                job.early_task.add_done_callback(_noticed)
            written |= job.writes

    async def _early(self, job: Job, early: Callable[[], Awaitable[Any]]) -> Any:
        async with self._early_slots:
            with bind_job(job.job_id):
                return await early()

    async def _run(self) -> None:
        while True:
            while not self._queue:
                self._wake.clear()
                await self._wake.wait()
            job = self._running = self._queue.popleft()
            self._begin_early()
            with bind_job(job.job_id):
                await self._commit(job)
            self._running = None
            del job  # while the next is waited for, nothing of the last one stays alive
            self._settled.set()

    async def _commit(self, job: Job) -> None:
        job.state = JobState.RUNNING
        job.started_at = time.monotonic()
        job.timing["queued_ms"] = round((job.started_at - job.queued_at) * 1000, 2)
        self._emit(events.JobStarted(job_id=job.job_id, job_type=job.job_type, args=job.args))
        error: GreenroomError | None = None
        if job.cancel_reason is None:
            if job.line is not None:
                self._on_line(job.line, job.job_id)
            job.task = asyncio.get_running_loop().create_task(_work(job), name=f"{job.job_type} {job.job_id}")
            await asyncio.wait({job.task})
            error = self._outcome(job, job.task)
        else:
            error = _cancelled(job)
            await self._forget_line(job)
        # A task keeps what ended it, that the frames that it came through, and these the job: no circle of them.
        job.task = job.early_task = None
        job.state = JobState.ENDED
        job.timing["total_ms"] = round((time.monotonic() - job.started_at) * 1000, 2)
        try:
            await self._store.finish_job(job.job_id)
        except GreenroomError as failed:
            logger.error("the end of job %s could not be stored: %s", job.job_id, failed.message)
        self._ended[job.job_id] = None
        while len(self._ended) > _ENDED_REMEMBERED:
            self._ended.popitem(last=False)
        self._on_end(job, error)
        self._emit(_end_of(job, error))

    async def _forget_line(self, job: Job) -> None:
        """Nobody has been told of it: the job was cancelled before its turn came."""
        if job.line is None:
            return
        try:
            await self._store.remove_line(self._session, job.line.line_id)
        except GreenroomError as failed:
            logger.error("the line of job %s could not be taken back: %s", job.job_id, failed.message)

    def _outcome(self, job: Job, task: asyncio.Task[None]) -> GreenroomError | None:
        if task.cancelled():
            return _cancelled(job)
        failure = task.exception()
        if failure is None:
            return None
        if job.cancel_reason is not None:
            logger.info("job %s (%s) failed while it was cancelled: %s", job.job_id, job.job_type, failure)
            return _cancelled(job)
        if isinstance(failure, GreenroomError):
            logger.warning("job %s (%s) failed: %s", job.job_id, job.job_type, failure.code)
            return failure
        logger.error("job %s (%s) broke", job.job_id, job.job_type, exc_info=failure)
        return Internal(f"the server failed at this job; its log tells more under {job.job_id}")


async def _work(job: Job) -> None:
    await job.work(job)


def _noticed(task: asyncio.Task[Any]) -> None:
    """An early failure is raised again at commit; a job that is cancelled first never asks for it."""
    if not task.cancelled():
        task.exception()


def _cancelled(job: Job) -> GreenroomError:
    because = f" because {job.cancel_reason}" if job.cancel_reason else ""
    return Cancelled(f"Setting job {job.job_id} to cancel{because}")


def _end_of(job: Job, error: GreenroomError | None) -> events.JobFinished:
    return events.JobFinished(
        job_id=job.job_id,
        job_type=job.job_type,
        success=error is None,
        timing=dict(job.timing),
        error={"code": error.code, "type": error.kind, "reason": error.message} if error is not None else None,
        **events.of_end(job.ended),
    )
