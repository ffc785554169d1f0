"""Times and places within one call of ``speak``, whose texts the service speaks one by one.

PCM, Word, Viseme of one text after another -> Audio, and WordTime that counts through all of them
"""

from dataclasses import dataclass, field, replace

from greenroom.bindings.spoken_text import WordFinder
from greenroom.values import Audio, Viseme, WordTime

from .lines import Item, Word

SAMPLE_RATE = 24_000
_BYTES_A_MS = SAMPLE_RATE * 2 / 1000
_LATE_MS = 1000.0
"""how much sound may pass before mouth shapes that belong to a word are no longer waited for"""


@dataclass(slots=True)
class Timing:
    characters: int = 0
    """of the texts before"""
    sent_ms: float = 0.0
    _begin_ms: float = 0.0
    _offset: int = 0
    _finder: WordFinder = field(default_factory=lambda: WordFinder(""))
    _words: list[WordTime] = field(default_factory=list)
    _shapes: list[Viseme] = field(default_factory=list)
    _half: bytes = b""

    def begin(self, text: str, offset: int) -> None:
        """The next text, or piece of one, whose first character has the index ``offset``."""
        self._begin_ms, self._offset, self._finder = self.sent_ms, offset, WordFinder(text)

    def take(self, item: Item) -> list[Audio | WordTime]:
        """Sound at once; a word when its mouth shapes are known, which come after it and in other threads."""
        if isinstance(item, Viseme):
            self._shapes.append(Viseme(item.id, self._begin_ms + item.start_ms))
            return [*self._ready(self._shapes[-1].start_ms)]
        if isinstance(item, Word):
            start_ms = self._begin_ms + item.start_ms
            at = self._finder.find(item.text)
            place = self._offset + at if at >= 0 else -1
            self._words.append(WordTime(item.text, start_ms, start_ms + item.duration_ms, place))
            return []
        data = self._half + item
        whole = len(data) - len(data) % 2
        self._half = data[whole:]
        self.sent_ms += whole / _BYTES_A_MS
        words = self._ready(self.sent_ms - _LATE_MS)
        return [Audio(data[:whole], SAMPLE_RATE), *words] if whole else [*words]

    def end(self) -> list[WordTime]:
        """The words that are left of this text."""
        left = [self._with_shapes(before.start_ms) for before in self._words[1:]]
        if self._words:
            left.append(self._with_shapes(float("inf")))
        self._shapes.clear()
        return left

    def _ready(self, now_ms: float) -> list[WordTime]:
        """Words whose next one has begun by then."""
        ready = []
        while len(self._words) > 1 and self._words[1].start_ms <= now_ms:
            ready.append(self._with_shapes(self._words[1].start_ms))
        return ready

    def _with_shapes(self, until_ms: float) -> WordTime:
        shapes = tuple(shape for shape in self._shapes if shape.start_ms < until_ms)
        self._shapes = [shape for shape in self._shapes if shape.start_ms >= until_ms]
        return replace(self._words.pop(0), visemes=shapes)
