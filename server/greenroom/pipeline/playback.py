"""The playback clock of a turn: which of its words have been heard by now.

Chunk k starts at the later of when it was sent and when chunk k-1 ended. From that, from a client's report, or from
what ``interrupt`` says, follows the place in the text up to which the listener has heard: the end of a word.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from greenroom.pipeline.hearing import common_words, place_after, words_of, words_until
from greenroom.values import WordTime


@dataclass(slots=True)
class SpokenSentence:
    """One sentence of the answer. ``sent_ms``: how much of its audio has gone out; ``whole``: all of it has."""

    text: str
    speech: str
    sent_ms: float = 0.0
    whole: bool = False
    words: list[WordTime] = field(default_factory=list)


@dataclass(slots=True)
class _Sent:
    starts_at: float
    start_ms: float
    duration_ms: float


class Playback:
    """:param now: a monotonic clock, seconds. :param audible: the turn has a voice."""

    def __init__(self, now: Callable[[], float], *, audible: bool) -> None:
        self._now = now
        self.audible = audible
        self.sentences: list[SpokenSentence] = []
        self.shown = ""
        """text that was sent but is not in a sentence yet"""
        self.ends_at = 0.0
        """when the last chunk sent so far will have been played"""
        self.sent_ms = 0.0
        self._free_at = 0.0
        """when the sound of the turns before this one will have been played"""
        self._sent: list[_Sent] = []
        self._report: tuple[int, float] | None = None

    @property
    def text(self) -> str:
        return "".join(sentence.text for sentence in self.sentences) + self.shown

    @property
    def playing(self) -> bool:
        """Whether sound that was sent is still to be heard."""
        return self.audible and self._now() < self.ends_at

    def lead_ms(self) -> float:
        """How far what was sent reaches ahead of the clock."""
        return max(0.0, self.ends_at - self._now()) * 1000

    def follow(self, ends_at: float) -> None:
        """Another turn's sound is played until then, and this one's only afterwards."""
        self._free_at = ends_at

    def bring_forward(self, by_ms: float) -> None:
        """So much of the sound before this turn's will not be played after all."""
        self._free_at -= by_ms / 1000
        for sent in self._sent:
            sent.starts_at -= by_ms / 1000
        if self._sent:
            self.ends_at -= by_ms / 1000

    def sent(self, index: int, duration_ms: float) -> None:
        """A chunk of sentence ``index`` goes out now."""
        starts_at = max(self._now(), self.ends_at, self._free_at)
        self._sent.append(_Sent(starts_at, self.sent_ms, duration_ms))
        self.ends_at = starts_at + duration_ms / 1000
        self.sent_ms += duration_ms
        self.sentences[index].sent_ms += duration_ms

    def report(self, index: int, heard_ms: float) -> None:
        """The player says that ``heard_ms`` of sentence ``index`` have been heard. Reports only move forward."""
        if self._report is None or (index, heard_ms) > self._report:
            self._report = (index, heard_ms)

    def clock_ms(self) -> float:
        """Milliseconds of the turn's audio that have been heard by the clock."""
        now = self._now()
        for sent in reversed(self._sent):
            if now >= sent.starts_at:
                return sent.start_ms + min(sent.duration_ms, (now - sent.starts_at) * 1000)
        return 0.0

    def heard(self, heard_ms: float | None = None, heard_text: str | None = None) -> tuple[str, str]:
        """``(heard, unheard)``, whose concatenation is the text shown. Without a voice, what was shown was heard."""
        text = self.text
        if heard_text is not None:
            place = max(place_of(text, heard_text), self._place_of_speech(heard_text))
        elif not self.audible:
            place = len(text)
        else:
            place = self._place(heard_ms)
        return text[:place], text[place:]

    def heard_in_the_end(self) -> tuple[str, str]:
        """What will have been heard once all that was sent has been played: for a turn that breaks off by itself."""
        return self.heard(heard_ms=self.sent_ms)

    def _place_of_speech(self, heard_text: str) -> int:
        """Where it ends if the client repeats what was spoken, not what was shown."""
        spoken = [words_of(sentence.speech) for sentence in self.sentences]
        left = common_words(heard_text, [word for words in spoken for word in words])
        place = 0
        for sentence, words in zip(self.sentences, spoken, strict=True):
            if left <= len(words):
                return place + place_after(sentence.text, words, left) if left else 0
            left -= len(words)
            place += len(sentence.text)
        return place

    def _place(self, heard_ms: float | None) -> int:
        if heard_ms is None and self._report is not None:
            index, ms = self._report
            heard_ms = sum(sentence.sent_ms for sentence in self.sentences[:index]) + ms
        left = self.clock_ms() if heard_ms is None else min(heard_ms, self.sent_ms)
        if left <= 0:
            return 0
        place = 0
        for sentence in self.sentences:
            if sentence.whole and left >= sentence.sent_ms - 1:
                left -= sentence.sent_ms
                place += len(sentence.text)
                continue
            return place + _place_within(sentence, left)
        return place


def _place_within(sentence: SpokenSentence, heard_ms: float) -> int:
    """Index in ``sentence.text`` after the last word heard whole: by word times, else by the share of its sound."""
    words = words_of(sentence.speech)
    if heard_ms <= 0 or not words:
        return 0
    timed = [word for word in sentence.words if word.offset >= 0]
    if timed:
        ended = max((word.offset + len(word.text) for word in timed if word.end_ms <= heard_ms), default=0)
        heard_words = words_until(sentence.speech, ended)
    else:
        total_ms = sentence.sent_ms if sentence.whole else max(sentence.sent_ms, 60.0 * len(sentence.speech))
        heard_words = int(len(words) * min(1.0, heard_ms / total_ms)) if total_ms else 0
    if heard_words >= len(words) and sentence.whole:
        return len(sentence.text)
    return place_after(sentence.text, words, heard_words)


def place_of(text: str, heard: str) -> int:
    """Where ``heard`` ends in ``text``: as a prefix, else word by word with spacing and case ignored.

    What the client adds beyond the common words is not found in the text and so not heard.
    """
    if text.startswith(heard):
        return len(heard)
    wanted = [word.casefold() for word in re.findall(r"\w+", heard)]
    place = 0
    words = re.finditer(r"\w+", text)
    for want in wanted:
        match = next(words, None)
        if match is None or match.group().casefold() != want:
            break
        place = match.end()
    return place
