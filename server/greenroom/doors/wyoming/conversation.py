"""What somebody said to the character, as a turn of the session; the answer as text, while it is being thought.

transcript{text} -> handled-start, handled-chunk, ..., handled, handled-stop     (or not-handled)
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from greenroom.doors.wyoming.description import characters
from greenroom.doors.wyoming.operations import Backends
from greenroom.doors.wyoming.wire import Outgoing
from greenroom.errors import Conflict, NotFound, TooSlow
from greenroom.protocol import events
from greenroom.protocol.commands import ActivatePersonality, CancelJob, parse_command
from greenroom.session.handle import SessionHandle
from greenroom.values import ChunkType


async def answer(
    backends: Backends, out: Outgoing, text: str, context: Mapping[str, Any] | None, program: str | None
) -> None:
    """:raises GreenroomError: what was asked is refused. A turn that fails is ``not-handled``, with the reason."""
    handle = await backends.handle()
    if program is not None:
        await _activate(backends, handle, program)
    kept = {"context": dict(context)} if context else {}
    cursor = handle.log.seq
    reply = await handle.execute(parse_command("response", {"text": text, "include_audio": False}), backends.caller)
    job_id = str(reply["job_id"])
    shown: list[str] = []
    ended = False
    try:
        await out.send("handled-start", kept)
        async for event in _events(handle, job_id, cursor):
            if isinstance(event, events.TextChunk) and event.type == ChunkType.CHUNK:
                shown.append(event.chunk)
                await out.send("handled-chunk", {"text": event.chunk})
            elif isinstance(event, events.JobFinished):
                ended = True
                await _end(out, event, "".join(shown), kept)
    finally:
        if not ended:
            with contextlib.suppress(NotFound, Conflict):  # it has just ended
                await handle.execute(CancelJob(job_id=job_id, reason="the client has gone"), backends.caller)


async def _end(out: Outgoing, finished: events.JobFinished, text: str, kept: Mapping[str, Any]) -> None:
    if finished.success:
        await out.send("handled", {"text": text, **kept})
    else:
        error = finished.error or {}
        reason = str(error.get("reason") or "the answer failed")
        await out.send("error", {"text": reason, "code": str(error.get("code") or "internal")})
        await out.send("not-handled", {"text": text or reason, **kept})
    await out.send("handled-stop")


async def _activate(backends: Backends, handle: SessionHandle, program: str) -> None:
    """:raises NotFound: no character of that name is on call."""
    found = await characters(backends)
    for place, (name, _, active) in enumerate(found):
        if name == program:
            if not active:
                await handle.execute(ActivatePersonality(id=place), backends.caller)
            return
    known = ", ".join(name for name, _, _ in found) or "nobody"
    raise NotFound(f"there is no {program!r} here; on call: {known}")


async def _events(handle: SessionHandle, job_id: str, cursor: int) -> AsyncGenerator[events.Event, None]:
    """Those of one job that come after ``cursor``, to its end. :raises TooSlow: they were not read in time."""
    more = asyncio.Event()
    unsubscribe = handle.log.subscribe(more.set)
    try:
        while True:
            try:
                entry = handle.log.after(cursor)
            except LookupError:
                raise TooSlow("more waits for this client than can be kept") from None
            if entry is None:
                more.clear()
                await more.wait()
                continue
            if isinstance(entry, events.AudioDropped):
                cursor = entry.to_seq
                continue
            cursor = entry.seq
            if isinstance(entry.event, events.JobEvent) and entry.event.job_id == job_id:
                yield entry.event
                if isinstance(entry.event, events.JobFinished):
                    return
    finally:
        unsubscribe()
