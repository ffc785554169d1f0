"""Words, clauses, decomposition patterns and the swapping of persons: the mechanical part of ELIZA, in linear time."""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

MAX_TEXT_CHARS = 4000
MAX_CLAUSE_WORDS = 80
MAX_FRAGMENT_WORDS = 20

_WORD = re.compile(r"\w+(?:['’\-]\w+)*")
_CLAUSE_END = re.compile(r"[.,:;!?…]+(?=\s|$)|[\r\n()\[\]{}<>\"“”„«»。！？，、；：—]+|\s[-–]+\s")

Span = tuple[int, int]
"""first word and the one behind the last"""


def bounded(text: str) -> str:
    """The beginning and the end of a long text: what a pasted page is about, and what is asked of it."""
    if len(text) > MAX_TEXT_CHARS:
        half = MAX_TEXT_CHARS // 2
        text = f"{text[:half]}\n{text[-half:]}"
    return unicodedata.normalize("NFC", text)


def clauses(text: str) -> list[list[str]]:
    """``"Well, I am sad. Are you?"`` -> ``[["Well"], ["I", "am", "sad"], ["Are", "you"]]``"""
    found = (words(part)[:MAX_CLAUSE_WORDS] for part in _CLAUSE_END.split(text))
    return [clause for clause in found if clause]


def words(text: str) -> list[str]:
    return _WORD.findall(text)


def fold(word: str) -> str:
    """What words are compared by: no case, straight apostrophes."""
    return word.replace("’", "'").casefold()


@dataclass(frozen=True, slots=True)
class _Entry:
    phrase: tuple[str, ...]
    replacement: tuple[str, ...]
    at_end: bool


class Substitutions:
    """Phrases replaced in one pass, the longest first; a phrase that ends in ``$`` counts at the end only."""

    def __init__(self, table: Mapping[str, str]) -> None:
        self._by_first: dict[str, list[_Entry]] = {}
        for phrase, replacement in table.items():
            at_end = phrase.rstrip().endswith("$")
            keys = tuple(fold(word) for word in words(phrase))
            if keys:
                entry = _Entry(keys, tuple(replacement.split()), at_end)
                self._by_first.setdefault(keys[0], []).append(entry)
        for entries in self._by_first.values():
            entries.sort(key=lambda entry: (-len(entry.phrase), not entry.at_end))

    def apply(self, source: Sequence[str]) -> list[str]:
        keys = [fold(word) for word in source]
        result: list[str] = []
        at = 0
        while at < len(keys):
            entry = self._entry(keys, at)
            if entry is None:
                result.append(source[at])
                at += 1
            else:
                result.extend(entry.replacement)
                at += len(entry.phrase)
        return result

    def _entry(self, keys: Sequence[str], at: int) -> _Entry | None:
        for entry in self._by_first.get(keys[at], ()):
            end = at + len(entry.phrase)
            if tuple(keys[at:end]) == entry.phrase and (end == len(keys) or not entry.at_end):
                return entry
        return None


class Pattern:
    """A decomposition pattern: ``* i @feel that *``.

    ``*`` is any number of words, ``_`` exactly one, ``a/b`` one of these words, ``@name`` one of a group of synonyms.
    Every part but a plain word can be used in the answer, counted from one: ``(1)``.
    """

    def __init__(self, source: str, synonyms: Mapping[str, Iterable[str]]) -> None:
        """:raises KeyError: for a group of synonyms that does not exist."""
        self.source = source
        self._parts: list[frozenset[str] | None] = []
        self._captured: list[bool] = []
        self._stars: list[int] = []
        for part in source.split():
            if part == "*":
                self._stars.append(len(self._parts))
            self._captured.append(part in ("*", "_") or part.startswith("@") or "/" in part)
            self._parts.append(_choices(part, synonyms))

    @property
    def captures(self) -> int:
        return sum(self._captured)

    def match(self, keys: Sequence[str]) -> list[Span] | None:
        """The captured spans of folded words, or ``None``. Each ``*`` takes as little as it can, the last the rest."""
        if not self._stars:
            return self._spans(list(range(len(keys) + 1))) if self._fits(keys, 0, self._parts) else None
        starts: list[int] = []
        bounds = [*self._stars, len(self._parts)]
        head = self._parts[: bounds[0]]
        if len(head) > len(keys) or not self._fits(keys[: len(head)], 0, head):
            return None
        starts.extend(range(len(head)))
        at = len(head)
        for index, star in enumerate(self._stars):
            segment = self._parts[star + 1 : bounds[index + 1]]
            starts.append(at)
            found = self._find(keys, at, segment, last=index == len(self._stars) - 1)
            if found is None:
                return None
            starts.extend(range(found, found + len(segment)))
            at = found + len(segment)
        return self._spans([*starts, len(keys)])

    def _find(self, keys: Sequence[str], at: int, segment: list[frozenset[str] | None], *, last: bool) -> int | None:
        end = len(keys) - len(segment)
        candidates = range(end, end + 1) if last else range(at, end + 1)
        for start in candidates:
            if start >= at and self._fits(keys[start : start + len(segment)], 0, segment):
                return start
        return None

    @staticmethod
    def _fits(keys: Sequence[str], at: int, parts: Sequence[frozenset[str] | None]) -> bool:
        return len(keys) - at == len(parts) and all(
            part is None or key in part for key, part in zip(keys[at:], parts, strict=True)
        )

    def _spans(self, starts: list[int]) -> list[Span]:
        return [(starts[i], starts[i + 1]) for i, captured in enumerate(self._captured) if captured]


def _choices(part: str, synonyms: Mapping[str, Iterable[str]]) -> frozenset[str] | None:
    if part in ("*", "_"):
        return None
    if part.startswith("@"):
        return frozenset(fold(word) for word in synonyms[part[1:]])
    return frozenset(fold(word) for word in part.split("/"))
