"""Times of characters, as the service gives them for each piece of sound -> times of words.

["H", "i", " ", ...], starts, durations -> WordTime, each as soon as the space behind it is known
"""

from dataclasses import dataclass, field
from typing import Any

from greenroom.bindings.spoken_text import WordFinder
from greenroom.values import WordTime

_MARKS = ".,;:!?…\"'”’»«„“()[]{}<>-–—。！？、，；："


@dataclass(slots=True)
class Alignment:
    """Of one conversation; ``finder`` has to be told the text as it is sent."""

    finder: WordFinder = field(default_factory=WordFinder)
    _begin_ms: float = 0.0
    """where the next piece's own times begin"""
    _word: str = ""
    _start_ms: float = 0.0
    _end_ms: float = 0.0

    def take(self, aligned: Any) -> list[WordTime]:
        """``aligned``: ``{chars, charStartTimesMs, charDurationsMs}``, counted from the piece's own start; the last is
        also written charsDurationsMs. Nonsense is passed over, as the sound is what counts."""
        if not isinstance(aligned, dict):
            return []
        columns = [aligned.get("chars"), aligned.get("charStartTimesMs")]
        columns.append(aligned.get("charDurationsMs") or aligned.get("charsDurationsMs"))
        if not all(isinstance(column, list) for column in columns):
            return []
        rows = zip(*columns, strict=False)
        words: list[WordTime] = []
        end_ms = self._begin_ms
        for character, start, duration in rows:
            if not isinstance(character, str) or not isinstance(start, int | float):
                continue
            start_ms = self._begin_ms + start
            end_ms = start_ms + (duration if isinstance(duration, int | float) else 0)
            if character.isspace():
                words += self.end()
                continue
            if not self._word:
                self._start_ms = start_ms
            self._word += character
            self._end_ms = end_ms
        self._begin_ms = end_ms
        return words

    def end(self) -> list[WordTime]:
        """The word that is not followed by anything."""
        word, self._word = self._word, ""
        if not word:
            return []
        at = self.finder.find(word)
        if at < 0 and (bare := word.strip(_MARKS)) and bare != word:
            word, at = bare, self.finder.find(bare)
        return [WordTime(word, self._start_ms, self._end_ms, at)]
