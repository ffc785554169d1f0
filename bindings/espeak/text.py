"""What is spoken, cut into utterances that each take the library a few milliseconds."""

import re
from collections.abc import Iterator

UTTERANCE_CHARACTERS = 240

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff\u2028\u2029]")
_ENDS = (
    re.compile(r"[.!?…。！？｡।॥؟።]+[\"'”’»)\]]*(?:\s+|(?<=[。！？｡]))"),
    re.compile(r"[,;:،、，；：–—]+(?:\s+|(?<=[、，；：—]))"),
    re.compile(r"\s+"),
)


def speakable(text: str) -> str:
    """As many characters. Control characters become spaces: to espeak-ng some are commands, and NUL is the end."""
    return _CONTROL.sub(" ", text)


def utterances(text: str, limit: int = UTTERANCE_CHARACTERS) -> Iterator[tuple[int, str]]:
    """``(offset, piece)``, together all but blank text: cut after a sentence, else a clause, else a word."""
    start = 0
    while start < len(text):
        rest = text[start : start + limit + 1]
        piece = rest if len(rest) <= limit else rest[: _cut(rest[:limit])]
        if not piece.isspace():
            yield start, piece
        start += len(piece)


def _cut(text: str) -> int:
    for end in _ENDS:
        last = 0
        for match in end.finditer(text):
            last = match.end()
        if last > len(text) // 4:
            return last
    return len(text)


def ends_a_clause(text: str) -> bool:
    """Whether a pause belongs behind it; a text cut between two words has none."""
    return not text.rstrip()[-1:].isalnum()
