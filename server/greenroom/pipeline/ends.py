"""Whether a mark ends a sentence: a pure question about the text around it.

Every answer rests only on text that has been read up to the point where it became certain, so it is the same however
the text was cut into deltas. What proves an end, earliest first:

- a strong mark (``。``, ``।``, ``؟``): any next character;
- ``!`` or ``?``, or a dot behind an ordinary word: the space behind it;
- a dot behind a short capitalised word, after closing quotes, or behind dots: the first letter of the next word;
- a dot behind an abbreviation that may end a sentence, or an initial: the whole next word.
"""

import re
from enum import Enum, auto

from greenroom.pipeline import abbreviations as known
from greenroom.pipeline.marks import (
    CLOSERS,
    ELLIPSES,
    OPENERS,
    SOFT,
    SOFT_SPACED,
    STRONG,
    TERMINAL,
    extends,
    is_emoji,
    is_ideographic,
    is_unspaced,
)


class End(Enum):
    SPLIT = auto()
    JOIN = auto()
    WAIT = auto()


class _After(Enum):
    """What decides about a dot, by the word that it stands behind."""

    SPACE = auto()  # the end: any space proves it
    NEVER = auto()
    DIGIT = auto()  # a number joins
    NOT_SMALL = auto()  # a small letter or a number joins
    CAPITAL_NAME = auto()  # joins but before a word that starts sentences
    CLOCK = auto()  # a small letter, a day, a month or a time zone joins
    CAPITAL = auto()  # the end only before a capital: what an ellipsis needs


_RUN = re.compile(rf"[{re.escape(TERMINAL)}]{{1,64}}")
_AHEAD = re.compile(rf"\s{{0,16}}[{re.escape(OPENERS)}]{{0,6}}")
_LETTERS = re.compile(r"[^\W\d_]{1,16}")
_LINE_BREAK = re.compile(r"[\n\r\x0b\x0c\x85\u2028\u2029]")
_ACRONYM = re.compile(r"[^\W\d_]{1,2}(?:\.[^\W\d_]{1,2})+")
_NUMBER = re.compile(r"[+-]?\d+(?:[.,:'/\u00a0]\d+)*")
_VOWEL = re.compile(r"[aeiouyàáâãäåæèéêëìíîïòóôõöøœùúûüýÿāăąēęěīįıōőūůűŭ]", re.I)
_LATIN = re.compile(r"[A-Za-zÀ-ɏ'’-]+")
_STRONG_SET = frozenset(STRONG)
_MAX_ATTACHED = 32
_CONTEXT = 60
"""characters before a dot that are looked at"""


def end_of_run(text: str, at: int, final: bool, quote_open: bool = False) -> tuple[End, int]:
    """What the run of marks that starts at ``at`` does, and the index behind it and all that belongs to it.

    :param final: no more text comes.
    :param quote_open: an odd number of ``"`` was read in this paragraph before ``text``.
    """
    found = _RUN.match(text, at)
    if found is None:
        raise ValueError(f"no mark at {at}")
    run, end = found[0], found.end()
    if end == len(text) and not final:
        return End.WAIT, end
    strong = not _STRONG_SET.isdisjoint(run)
    attached = _attach(text, at, end, strong, quote_open, final)
    if attached is None:
        return End.WAIT, end
    end, closed = attached
    if end == len(text):
        return End.SPLIT, end
    following = text[end]
    if following in SOFT or following in SOFT_SPACED:
        return End.JOIN, end
    if strong:
        if closed and following in "とっ":
            return End.JOIN, end  # Japanese: the quotation goes on as part of the sentence
        if run == "．" and following.isalnum() and at and text[at - 1].isalnum() and not is_ideographic(following):
            return End.JOIN, end
        return End.SPLIT, end
    if not following.isspace():
        glued = at > 0 and is_unspaced(text[at - 1]) and is_unspaced(following) and run[0] not in "." + ELLIPSES
        dotted = run == "." and at > 0 and is_ideographic(text[at - 1]) and is_ideographic(following)
        return (End.SPLIT if glued or dotted else End.JOIN), end
    if "«" in text[:at] and (inner := _guillemet(text, end, final)) is not None:
        if inner == len(text) and not final:
            return End.WAIT, end
        if text[inner - 1] == "»":
            end, closed = inner, True
            if end < len(text) and not text[end].isspace():
                return End.JOIN, end
    return _at_space(text, at, end, run, closed, final), end


def _attach(text: str, at: int, end: int, strong: bool, quote_open: bool, final: bool) -> tuple[int, bool] | None:
    """Behind closing quotes and brackets, combining marks and emoji that follow the run directly, and whether any of
    them closes something; ``None`` if more text must be known."""
    closed = False
    limit = end + _MAX_ATTACHED
    while end < len(text) and end < limit:
        character = text[end]
        if character in "*_`~":
            length = 2 if text[end : end + 2] == character * 2 else 1
            behind = end + length
            if behind >= len(text) and not final:
                return None
            if length == 1 and behind < len(text) and (text[behind].isalnum() or is_emoji(text[behind])):
                break  # it opens a span
            if length == 2 and strong and text.count(character * 2, 0, at) % 2 == 0:
                break
            end = behind
            closed = True
        elif character in CLOSERS:
            if character == '"' and strong and (text.count('"', 0, end) + quote_open) % 2 == 0:
                break
            end += 1
            closed = True
        elif extends(character) or is_emoji(character) or character in TERMINAL:
            end += 1
        else:
            break
    return None if end == len(text) and not final else (end, closed)


def _guillemet(text: str, at: int, final: bool) -> int | None:
    """French puts a space before ``»``: the index behind it, or behind the spaces while it may still come."""
    if text.count("«", 0, at) <= text.count("»", 0, at):
        return None
    end = at
    while end < len(text) and end < at + 3 and text[end] in " \u00a0\u202f\u2009":
        end += 1
    if end == len(text):
        return None if final else end
    return end + 1 if text[end] == "»" else None


def _at_space(text: str, at: int, end: int, run: str, closed: bool, final: bool) -> End:
    if run == ".":
        after = _behind_word(text, at)
        if after is _After.SPACE and closed:
            after = _After.NOT_SMALL
    elif run[-1] in ELLIPSES or (run[-1] == "." and set(run) <= set("." + ELLIPSES)):
        after = _After.CAPITAL
    else:
        after = _After.NOT_SMALL if closed else _After.SPACE
    if after is _After.NEVER:
        return End.JOIN
    if after is _After.SPACE or _LINE_BREAK.match(text, end):
        return End.SPLIT
    return _by_next_word(text, end, after, final)


def _behind_word(text: str, dot: int) -> _After:
    before = text[max(0, dot - _CONTEXT) : dot]
    if not before or before[-1].isspace():
        return _After.CAPITAL  # ". . ." and dots with nothing before them
    words = before.split()
    token = words[-1].lstrip(OPENERS)
    previous = words[-2] if len(words) > 1 else ""
    if not token:
        return _After.NOT_SMALL
    if token.rstrip(CLOSERS) != token:
        return _After.NOT_SMALL
    for apostrophe in "'’":  # l'av., d'apr.
        head, found, tail = token.rpartition(apostrophe)
        if found and len(head) <= 2 and len(tail) > 1:
            token = tail
    low = token.lower()
    if token[-1].isdigit():
        return _behind_number(text, dot, token, previous)
    if len(token) == 1 and token.isascii() and _starts_line(text[: dot - 1]):
        return _After.NEVER  # a list item
    return _behind_known(low, token, previous) or _behind_shape(low, token, previous)


def _behind_known(low: str, token: str, previous: str) -> _After | None:
    capital = token[0].isupper()
    if (low in known.TITLES and capital and low != "m") or low in known.NEVER or token in ("M", "MM"):
        return _After.NEVER
    if (previous.lower().lstrip(OPENERS), low) in known.LAST_OF_TWO:
        return _After.NOT_SMALL if low == "al" else _After.NEVER
    if low in known.CLOCK:
        return _After.CLOCK if "." in low or previous[-1:].isdigit() else None
    if low in known.UNLESS_STARTER or low.endswith(known.STREET):
        return _After.CAPITAL_NAME
    if low in known.UNLESS_CAPITAL or (capital and low in known.CALENDAR):
        return _After.NOT_SMALL
    return _After.DIGIT if low in known.BEFORE_NUMBER else None


def _behind_shape(low: str, word: str, previous: str) -> _After:
    if len(word) == 1 and word.isalpha():
        if word == "I" and previous[:1].islower():
            return _After.SPACE  # "so do I."
        return _After.SPACE if is_ideographic(word) or "\uac00" <= word <= "\ud7a3" else _After.CAPITAL_NAME
    if _ACRONYM.fullmatch(word):
        return _After.CAPITAL_NAME
    if not _LATIN.fullmatch(word):
        return _After.SPACE
    last = re.split(r"[-–]", low)[-1]
    if last != low and (last in known.TITLES or last in known.NEVER):
        return _After.NEVER
    if (word[0].isupper() and len(word) <= 4) or (word.isupper() and len(word) <= 5) or not _VOWEL.search(word):
        return _After.NOT_SMALL
    return _After.SPACE


def _behind_number(text: str, dot: int, token: str, previous: str) -> _After:
    if not _NUMBER.fullmatch(token):
        return _After.SPACE
    if not token.isdecimal():
        return _After.NOT_SMALL
    lead = text[: dot - len(token)]
    if len(token) <= 3 and (_starts_line(lead) or previous.endswith((":", "："))):
        return _After.NEVER  # a list item
    if len(token) <= 2 and f" {int(token) - 1}. " in f" {lead}":
        return _After.NEVER  # the next item of a list within a line
    if len(token) <= 2:
        context = previous.lower().strip(OPENERS + CLOSERS + ",")
        if context == "am" and re.search(r"(?i)\bI\s+am\s*$", lead):
            return _After.NOT_SMALL
        if context in known.ORDINAL_CONTEXT:
            return _After.NEVER
    return _After.NOT_SMALL


def _starts_line(lead: str) -> bool:
    stripped = lead.rstrip(" \t" + OPENERS)
    return not stripped or _LINE_BREAK.match(stripped[-1]) is not None


def _by_next_word(text: str, at: int, after: _After, final: bool) -> End:
    ahead = _AHEAD.match(text, at)
    start = ahead.end() if ahead else at
    if _LINE_BREAK.search(text, at, start):
        return End.SPLIT
    if start == len(text):
        return End.SPLIT if final else End.WAIT
    first = text[start]
    if first.isspace() or text[start - 1] in "¿¡":
        return End.SPLIT
    if after is _After.DIGIT:
        return End.JOIN if first.isdigit() else End.SPLIT
    if first.islower():
        return End.JOIN
    if after is _After.NOT_SMALL:
        return End.JOIN if first.isdigit() else End.SPLIT
    if not first.isupper():
        if after is _After.CLOCK:
            return End.JOIN if first.isdigit() else End.SPLIT
        return End.JOIN if first.isalnum() or after is _After.CAPITAL else End.SPLIT
    word = _LETTERS.match(text, start)
    if word is None:  # a capital by property that is no letter, such as a circled one
        return End.SPLIT
    if word.end() == len(text) and not final and len(word[0]) < 16:
        return End.WAIT
    return _by_capital_word(word[0], text[word.end() : word.end() + 1], after)


def _by_capital_word(word: str, behind: str, after: _After) -> End:
    if after is _After.CAPITAL:
        return End.JOIN if word == "I" else End.SPLIT  # "well... I": its capital says nothing
    if len(word) == 1 and behind == ".":
        return End.JOIN  # an initial
    if after is _After.CLOCK:
        zone = 2 <= len(word) <= 4 and word.isupper()
        return End.JOIN if zone or word in known.DAYS_AND_MONTHS else End.SPLIT
    return End.SPLIT if word in known.STARTERS else End.JOIN
