"""The sound of an answer on its way into pieces.

audio_chunk, ... -> whole pieces at once; what is left over waits for the next chunk of the same sentence

Clients convert each piece on its own, and every seam can be heard: fewer and longer pieces are better. The first chunk
of a sentence leaves whole, since somebody waits for it.
"""

from collections.abc import Iterator

from greenroom.doors.broadcast.frames import Frame, piece_bytes, spoken
from greenroom.protocol.events import AudioChunk


class Sound:
    """Of one job at a time, as jobs are. ``message``: the job's name on the wire."""

    def __init__(self) -> None:
        self._chunk: AudioChunk | None = None
        """the last one"""
        self._rest = b""

    def frames(self, message: str, chunk: AudioChunk) -> Iterator[Frame]:
        before = self._chunk
        first = before is None or _place(before) != _place(chunk)
        if first:
            yield from self.rest(message)
        pcm, self._rest, self._chunk = self._rest + chunk.audio, b"", chunk
        if not first and not chunk.last:
            whole = len(pcm) - len(pcm) % piece_bytes(chunk.sw, chunk.ch)
            pcm, self._rest = pcm[:whole], pcm[whole:]
        yield from spoken(message, chunk.job_id or "", pcm, chunk.sr, chunk.sw, chunk.ch)

    def rest(self, message: str) -> Iterator[Frame]:
        """The end of a sentence whose last chunk did not say that it was the last."""
        chunk, pcm = self._chunk, self._rest
        self.drop()
        if chunk is not None and pcm:
            yield from spoken(message, chunk.job_id or "", pcm, chunk.sr, chunk.sw, chunk.ch)

    def drop(self) -> None:
        self._chunk, self._rest = None, b""


def _place(chunk: AudioChunk) -> tuple[object, ...]:
    return chunk.job_id, chunk.index, chunk.sr, chunk.sw, chunk.ch
