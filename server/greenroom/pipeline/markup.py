"""Spans of a model's answer that are one thing: code, emotes, tags, links, parentheses. No sentence ends inside them.

Each kind has two patterns: ``whole``, and ``open``, which matches every beginning of a whole one up to the text's end.
A span that still is open at the text's end, or that the next character may undo (``[joy]`` may go on as a link), waits
for more text.
"""

import re
from dataclasses import dataclass

_CASED = r"0-9A-Za-z\u00c0-\u024f\u0370-\u052f\u1e00-\u1fff"
"""Digits and scripts with capitals: a star behind one of these opens nothing, as scripts with capitals have spaces"""

_NESTED = r"(?:[^()\n]|\([^()\n]*\))*"
_STAR_OPENS = rf"(?<![{_CASED}*\\])\*"
_UNDERSCORE_OPENS = r"(?<![\w\\])_"

STAR = rf"{_STAR_OPENS}(?![\s*])[^*\n]+(?<!\s)\*(?!\*)"
UNDERSCORE = rf"{_UNDERSCORE_OPENS}(?![\s_])[^\n]+?(?<![\s_])_(?!\w)"
CODE = r"(?<!`)(?:``(?!`)[^\n]+?(?<!`)``(?!`)|`(?!`)[^`\n]+`(?!`))"
CONTROL = r"<\|[^\n]*?\|>"
COMMENT = r"<!--[^\n]*?-->"
AUTOLINK = r"<(?:https?://|mailto:)[^\s<>]+>"
TAG = (
    r"</?[A-Za-z][\w:.-]*"
    r"(?:[ \t]+[\w:.-]+[ \t]*=[ \t]*(?:\"[^\"\n<>]*\"|'[^'\n<>]*'|[^\s\"'<>]+))*[ \t]*/?>"
)
LINK_TARGET = rf"\({_NESTED}\)"
BRACKET = rf"\[[^\[\]\n]*\](?:{LINK_TARGET}|(?!\())"
PARENTHESIS = rf"(?<!\w)\((?![\s)]){_NESTED}\)"
WIDE_PARENTHESIS = r"（[^（）\n]+）"


@dataclass(frozen=True, slots=True)
class SpanKind:
    whole: re.Pattern[str]
    open: re.Pattern[str]
    longest: int
    """characters; what goes on for longer is ordinary text, so that nobody waits for a stray mark's partner"""


def _kind(whole: str, still_open: str, longest: int) -> SpanKind:
    return SpanKind(re.compile(whole), re.compile(rf"(?:{still_open})\Z"), longest)


_EMOTE_LONGEST = 1000

SPAN_KINDS = {
    "*": _kind(STAR, rf"{_STAR_OPENS}(?:(?![\s*])[^*\n]*(?:(?<!\s)\*)?)?", _EMOTE_LONGEST),
    "_": _kind(UNDERSCORE, rf"{_UNDERSCORE_OPENS}(?:(?![\s_])[^\n]*)?", 200),
    "`": _kind(CODE, r"(?<!`)(?:``(?!`)[^\n]*|`(?:(?!`)[^`\n]*`?)?)", 300),
    "<": _kind(
        f"{CONTROL}|{COMMENT}|{AUTOLINK}|{TAG}",
        r"<(?:\|[^\n]*|!(?:-(?:-[^\n]*)?)?|[hm][a-z]{0,5}:[^\s<>]*|/?(?:[A-Za-z][\w:.-]*(?:[ \t/][^<>\n]*)?)?)",
        300,
    ),
    "[": _kind(BRACKET, rf"\[[^\[\]\n]*(?:\](?:\({_NESTED}(?:\([^()\n]*)?\)?)?)?", 500),
    "(": _kind(PARENTHESIS, rf"(?<!\w)\((?:(?![\s)]){_NESTED}(?:\([^()\n]*)?\)?)?", 200),
    "（": _kind(WIDE_PARENTHESIS, r"（[^（）\n]*）?", 200),
}
"""By the character that starts the span"""
