"""What every speech service needs done to a text: made harmless, cut where it is too long, its words found again.

text -> utterances of at most so many characters, each with its place
words, as the service names them in order -> where each stands in the text
"""

import re
from collections.abc import Iterator

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
_ENDS = (
    re.compile(r"(?<![.!?…。！？｡।॥؟።])[.!?…。！？｡।॥؟።]+[\"'”’»)\]]*(?:\s+|(?<=[。！？｡]))"),
    re.compile(r"(?<![,;:،、，；：–—])[,;:،、，；：–—]+(?:\s+|(?<=[、，；：—]))"),
    re.compile(r"\s+"),
)
"""each begins where its marks begin: tried at every one of a thousand dots, they would take seconds"""
_CLAUSE_END = re.compile(r"[.!?…,;:–—)\]\"'”’»]\s*$|[。！？、，；：]")
_SHORTEST_CLAUSE = 12
_LONGEST_CLAUSE = 60
_REMEMBERED = 4 * _LONGEST_CLAUSE
"""what is looked at again with each piece"""
_SOONEST = 4
"""a cut that leaves less than this part of the limit waits for a weaker end: a comma, then a space"""


def is_speakable(text: str) -> bool:
    """Whether there is anything to say: a letter or a digit."""
    return any(character.isalnum() for character in text)


def without_controls(text: str) -> str:
    """As many characters; those that XML and JSON cannot carry become spaces."""
    return _CONTROL.sub(" ", text)


def utterances(text: str, limit: int) -> Iterator[tuple[int, str]]:
    """``(offset, piece)``: together the text but for pieces with nothing to say, cut after a sentence, else a clause,
    else a word, else anywhere."""
    start = 0
    while start < len(text):
        rest = text[start : start + limit + 1]
        piece = rest if len(rest) <= limit else rest[: _cut(rest[:limit])]
        if is_speakable(piece):
            yield start, piece
        start += len(piece)


def _cut(text: str) -> int:
    for end in _ENDS:
        last = 0
        for match in end.finditer(text):
            last = match.end()
        if last > len(text) // _SOONEST:
            return last
    return len(text)


class FirstClause:
    """Says once that enough of a text that comes piece by piece is there for a voice to begin: a clause of some length,
    or many words without a mark."""

    def __init__(self) -> None:
        self._text = ""
        self._is_over = False

    def ends_with(self, piece: str) -> bool:
        if self._is_over or not piece:
            return False
        self._text = self._text[-_REMEMBERED:] + piece
        length = len(self._text.strip())
        has_end = length >= _SHORTEST_CLAUSE and _CLAUSE_END.search(self._text) is not None
        self._is_over = has_end or (length >= _LONGEST_CLAUSE and self._text[-1].isspace())
        return self._is_over


class WordFinder:
    """Where words stand that a service names in the order of the text."""

    def __init__(self, text: str = "") -> None:
        self._text = self._folded = ""
        self._after = 0
        self.extend(text)

    def extend(self, text: str) -> None:
        """More of the same text."""
        self._text += text
        folded = "".join(one if len(one.casefold()) != 1 else one.casefold() for one in text)
        self._folded += folded

    def find(self, word: str) -> int:
        """Index of the word's first character; -1 for one that the service wrote otherwise ("3" as "three")."""
        if not word:
            return -1
        at = self._text.find(word, self._after)
        if at < 0:
            at = self._folded.find(word.casefold(), self._after)
        if at >= 0:
            self._after = at + len(word)
        return at
