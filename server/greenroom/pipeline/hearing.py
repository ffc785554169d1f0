"""From the words that were heard to the place in the text that was shown.

The two differ: emotes, code and links are shown and not spoken, so the words of one are looked for in the other.
"""

import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from itertools import takewhile

from greenroom.pipeline.marks import IDEOGRAPHIC, UNSPACED, extends

_LETTER = f"[{IDEOGRAPHIC}{UNSPACED}]"
_WORD = re.compile(rf"{_LETTER}|(?:(?!{_LETTER})[^\W_])+")
"""In scripts without spaces a letter counts as a word."""
_MARKUP = "*_~`"


def words_of(speech: str) -> list[str]:
    return [found[0].casefold() for found in _WORD.finditer(speech)]


def words_until(speech: str, end: int) -> int:
    """How many words of ``speech`` are over at the index ``end``."""
    return sum(1 for _ in takewhile(lambda found: found.end() <= end, _WORD.finditer(speech)))


def place_after(text: str, speech: Sequence[str], heard: int) -> int:
    """Index in ``text`` after the last of the first ``heard`` words of its speech that stands there."""
    if not heard:
        return 0
    shown = list(_WORD.finditer(text))
    pairs = SequenceMatcher(None, [found[0].casefold() for found in shown], speech, autojunk=False)
    places = [
        (block.b + step, shown[block.a + step].end())
        for block in pairs.get_matching_blocks()
        for step in range(block.size)
    ]
    if not places and shown:  # written quite otherwise than spoken
        places = [(heard - 1, shown[min(len(shown), max(1, round(heard * len(shown) / len(speech)))) - 1].end())]
    place = max((end for word, end in places if word < heard), default=0)
    while place and place < len(text) and (extends(text[place]) or text[place] in _MARKUP):
        place += 1
    return place


def common_words(heard: str, speech: Sequence[str]) -> int:
    """How many words ``heard`` and ``speech`` begin with alike."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(words_of(heard), speech, strict=False)))
