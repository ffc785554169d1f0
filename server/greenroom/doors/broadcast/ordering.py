"""The documented order: what is spoken follows the model's whole text (``raw_content``).

Live, sentences and sound leave as they are made, seconds before the model has ended. Clients may ask for the order that
jaison's documents give; then they wait here.
"""

from collections import deque
from collections.abc import Iterator

from greenroom.doors.broadcast.frames import Frame, Part


class DocumentedOrder:
    """:param limit_chars: of the frames that may be held back; what a longer answer says leaves as it comes."""

    def __init__(self, limit_chars: int) -> None:
        self._limit_chars = limit_chars
        self._job_id = ""
        """the job whose text is not whole yet; jobs come one after the other"""
        self._held: deque[Frame] = deque()
        self._held_chars = 0

    def frames(self, frame: Frame) -> Iterator[Frame]:
        """The same frames; what a failed job has spoken before its text was whole is left out."""
        match frame.part:
            case Part.START:
                self._job_id = frame.job_id
            case Part.SPOKEN if frame.job_id == self._job_id:
                self._held.append(frame)
                self._held_chars += len(frame.text)
                if self._held_chars > self._limit_chars:
                    yield from self._release()
                return
            case Part.RAW:
                yield frame
                yield from self._release()
                return
            case Part.END:
                yield from self._release()
            case Part.FAILED:
                self._held.clear()
                yield from self._release()
        yield frame

    def _release(self) -> Iterator[Frame]:
        self._job_id = ""
        held, self._held, self._held_chars = self._held, deque(), 0
        yield from held
