"""From a session's events to jaison's frames.

    job_started                   -> start
    prompt_built                  -> instruction_prompt, history
    what the model said           -> raw_content
    sentence                      -> content, with what filters added
    audio_chunk                   -> audio_bytes, in pieces
    context_added, job_progress   -> the results of the job
    job_finished                  -> success or failure

A session sends a sentence right before its sound, and one after the other, which is just the grouping that jaison's
clients need; its ``text_chunk`` events have no counterpart there.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from greenroom.doors.broadcast.frames import Frame, Part, failed, progress, started, succeeded, whole_sound
from greenroom.doors.broadcast.sound import Sound
from greenroom.doors.broadcast.starts import SPOKEN, job_name, start_arguments
from greenroom.doors.discretion import Discretion
from greenroom.protocol import events
from greenroom.protocol.events import Event, JobProgress, JobStarted, for_viewers

_TOLD_RESULTS: Final = frozenset({"operation_load", "operation_unload", "operation_configure", "operation_use"})
"""jobs whose ``job_progress`` jaison has too"""


class Translation:
    """:param speaks: whether the session has a voice loaded; kept current by its own events."""

    def __init__(self, *, speaks: bool = False, discretion: Discretion | None = None) -> None:
        self.speaks = speaks
        self._discretion = discretion or Discretion()
        self._names: dict[str, str] = {}
        """of the jobs that have started and not ended"""
        self._sound = Sound()

    def frames(self, event: Event) -> Iterator[Frame]:
        match event:
            case events.AudioChunk(job_id=str(job_id)):
                yield from self._sound.frames(self._name(job_id), event)
            case events.Sentence(job_id=str(job_id)):
                yield from self._sound.rest(self._name(job_id))
                if content := event.text.strip():
                    yield from self._told(job_id, {**event.extras, "content": content}, Part.SPOKEN)
            case JobStarted(job_id=str(job_id)):
                name = self._names[job_id] = job_name(event.job_type, event.args)
                arguments = start_arguments(name, event.args, speaks=self.speaks)
                shown = for_viewers(event)
                less = None
                if isinstance(shown, JobStarted) and shown is not event:
                    less = start_arguments(name, shown.args, speaks=self.speaks)
                yield started(name, job_id, arguments, less)
            case events.JobFinished(job_id=str(job_id)):
                if event.success:
                    yield from self._sound.rest(self._name(job_id))
                self._sound.drop()
                yield self._end(job_id, event)
            case events.ContextAdded(job_id=str(job_id)):
                if self._name(job_id) != SPOKEN:
                    yield from self._told(job_id, _line(event))
            case JobProgress(job_id=str(job_id)):
                yield from self._progress(job_id, event)
            case events.PromptBuilt(job_id=str(job_id)):
                yield from self._told(job_id, {"instruction_prompt": event.instruction_prompt}, Part.PROMPT)
                yield from self._told(job_id, {"history": event.history}, Part.PROMPT)
            case events.StateChanged():
                operations = event.changed.get("operations")
                if isinstance(operations, Mapping):
                    self.speaks = operations.get("tts") is not None

    def generated(self, job_id: str, text: str) -> Iterator[Frame]:
        """The whole text of the model, before any filter."""
        return self._told(job_id, {"raw_content": text}, Part.RAW)

    def _name(self, job_id: str) -> str:
        return self._names.get(job_id, SPOKEN)

    def _told(self, job_id: str, result: Mapping[str, Any], part: Part = Part.OTHER) -> Iterator[Frame]:
        if "content" in result and next(iter(result)) != "content" and "line" not in result:
            result = {"content": result["content"], **result}
        return progress(self._name(job_id), job_id, result, part)

    def _progress(self, job_id: str, event: JobProgress) -> Iterator[Frame]:
        name, result = self._name(job_id), event.result
        if name not in _TOLD_RESULTS:
            return
        shown = for_viewers(event)
        if isinstance(shown, JobProgress) and shown is not event:
            yield from progress(name, job_id, result, less=shown.result)
            return
        sound = isinstance(result.get("audio_bytes"), bytes)
        for piece in whole_sound(result) if sound else (result,):
            yield from self._told(job_id, piece)

    def _end(self, job_id: str, event: events.JobFinished) -> Frame:
        name = self._names.pop(job_id, None) or job_name(event.job_type, {})
        if event.success:
            return succeeded(name, job_id)
        error = event.error or {}
        reason = str(error.get("reason") or event.job_type)
        discreet = self._discretion.text(reason)
        return failed(
            name, job_id, str(error.get("type") or "unknown"), reason, None if discreet == reason else discreet
        )


def _line(event: events.ContextAdded) -> dict[str, Any]:
    """A line of the script stands on one line, whatever was said."""
    told: dict[str, Any] = {"user": event.user} if event.kind == "chat" else {}
    return {
        **told,
        "timestamp": float(event.timestamp),
        "content": _on_one_line(event.content),
        "line": _on_one_line(event.line),
    }


def _on_one_line(text: str) -> str:
    return " ".join(text.splitlines())
