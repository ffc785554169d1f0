"""Where text may be broken without a sentence's end: a first clause worth speaking, a sentence that is too long."""

import re
from collections.abc import Iterable, Sequence

from greenroom.pipeline.marks import (
    CLOSERS,
    ELLIPSES,
    IDEOGRAPHIC,
    SOFT,
    SOFT_SPACED,
    UNSPACED,
    extends,
    is_unspaced,
    may_part,
)

RETRY = 60
"""characters after which an overlong piece without a place to break is looked at again"""

_CLAUSE = re.compile(rf"(?:[{re.escape(SOFT_SPACED + ELLIPSES)}][{re.escape(CLOSERS)}]*(?=\s)|[{SOFT}])")
_SPACE = re.compile(r"\s")
_WEIGHTS = (
    (re.compile(rf"[{IDEOGRAPHIC}\uac00-\ud7a3]"), 10),
    (re.compile(f"[{UNSPACED}]"), 5),
    (re.compile(rf"[^\W_{IDEOGRAPHIC}{UNSPACED}\uac00-\ud7a3]"), 4),
)
_WORTH = 40
"""ten Latin letters, eight Thai characters or four ideographs: about 0.7 s of speech"""


def worth_saying(speech: str) -> bool:
    """Whether this much speech keeps a voice busy while the rest of the sentence is being written."""
    weight = sum(len(letters.findall(speech)) * each for letters, each in _WEIGHTS)
    if weight < _WORTH:
        return False
    return weight >= _WORTH * 3 // 2 or " " in speech or is_unspaced(speech[0]) or is_unspaced(speech[-2])


def place_to_break(text: str, lower: int, upper: int, spans: Sequence[tuple[int, int]]) -> int | None:
    """The last end of a clause between two indexes, else the last space, else the last border between letters of a
    script without spaces; never within one of ``spans``. ``None`` where there is none."""
    clauses = (found.end() for found in _CLAUSE.finditer(text, lower, upper))
    spaces = (found.start() for found in _SPACE.finditer(text, lower, upper))
    letters = range(max(lower, upper - RETRY), upper)
    return (
        _last(cut for cut in clauses if cut < upper and _is_free(cut, spans) and not extends(text[cut]))
        or _last(cut for cut in spaces if _is_free(cut, spans))
        or _last(cut for cut in letters if may_part(text[cut - 1], text[cut]) and _is_free(cut, spans))
    )


def _last(cuts: Iterable[int]) -> int | None:
    return max(cuts, default=None)


def _is_free(index: int, spans: Sequence[tuple[int, int]]) -> bool:
    return not any(start < index < end for start, end in spans)
