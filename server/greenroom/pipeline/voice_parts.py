"""What goes with each part of a sentence's sound: its number, how loud it is, which words are told with it."""

from collections.abc import Sequence
from typing import Any

from greenroom.pipeline.loudness import LoudnessMeter
from greenroom.values import Audio, WordTime


class VoiceParts:
    """The sound of one sentence on its way out. ``begin_ms``: where in the turn's audio its first part begins."""

    def __init__(self) -> None:
        self.count = 0
        self._begin_ms: float | None = None
        self._told = 0
        self._format: tuple[int, int, int] | None = None
        self._meter: LoudnessMeter | None = None

    def volumes(self, audio: Audio, *, last: bool) -> list[float]:
        """Loudness 0..1 for each 20 ms. Counts the part, too."""
        self.count += 1
        wanted = (audio.sample_rate, audio.sample_width, audio.channels)
        if self._meter is None or self._format != wanted:
            self._format, self._meter = wanted, LoudnessMeter(*wanted)
        values = self._meter.feed(audio.pcm)
        return values + self._meter.finish() if last else values

    def words(self, known: Sequence[WordTime], begin_ms: float) -> list[dict[str, Any]] | None:
        """Those that the voice has told since the last part, in the turn's time; ``None`` for none."""
        if self._begin_ms is None:
            self._begin_ms = begin_ms
        if len(known) == self._told:
            return None
        new, self._told = known[self._told :], len(known)
        return [_shown(word, self._begin_ms) for word in new]


def _shown(word: WordTime, begin_ms: float) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "text": word.text,
        "start_ms": round(begin_ms + word.start_ms, 2),
        "end_ms": round(begin_ms + word.end_ms, 2),
    }
    if word.visemes:
        shown["visemes"] = [{"id": shape.id, "start_ms": round(begin_ms + shape.start_ms, 2)} for shape in word.visemes]
    return shown
