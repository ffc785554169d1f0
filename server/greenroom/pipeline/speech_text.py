"""What is spoken of what is shown.

Shown, not spoken: code blocks, emotes, emotion tags, control tokens, HTML, images, emoji, markup characters. What a
language writes (letters, marks, digits, in any script) is never lost. Rules where writers differ:

- Code words in backticks are spoken as they stand, a block of code is not.
- A bare URL is spoken as its host without ``www.``; a link as its text; a footnote mark not at all.
- ``[joy]``, ``[laughs softly]``: up to three words in square brackets are a tag; longer text is spoken. Round brackets
  are always spoken.
- ``*...*`` and ``_..._`` are an emote at the start of a sentence or behind a comma or dash: ``*waves* Hello``. There,
  one capitalised word that the sentence goes on from (``*Never* do that``), or that a mark ends, is emphasis.
- Within a sentence several words are an emote, unless they start with a capital (a title) or with a word that is
  stressed rather than acted (``*not at all*``); one word is emphasis, unless it is a usual stage direction
  (``*sighs*``).
- Emoticons (``:)``, ``xD``, ``<3``, ``(^_^)``) are silent, as emoji are.
- ``**...**`` and other doubled marks are always emphasis, and spoken.
"""

import re
from html import unescape

from greenroom.pipeline import markup
from greenroom.pipeline.emphasis import is_emote
from greenroom.pipeline.marks import EMOJI, SOFT, extends, is_ideographic

_SURROGATE_OR_CONTROL = (
    r"\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ufff9-\ufffc\ud800-\udfff"
)
_ARROWS = r"\u2190-\u21ff\u27f0-\u27ff"
_MARKED = re.compile(
    rf"[`*_~#<>&\[\]|\\{{}}/{_ARROWS}{_SURROGATE_OR_CONTROL}\u20e3\ufe0e\ufe0f\U000e0000-\U000e007f{EMOJI}]|www\.|--|=="
)
"""Without any of these only bullets, emoticons and white space are to be seen to"""

_FENCED = re.compile(
    r"^[ \t>]*(?P<fence>`{3,}|~{3,})[^`\n]*(?:\n.*?(?:(?P=fence)[`~]*[ \t]*$|\Z)|\Z)"
    r"|`{3,}[^`\n]*\n.*?(?:`{3,}[ \t]*$|\Z)",
    re.S | re.M,
)
_LINE_MARKUP = re.compile(
    r"^[ \t]*(?:>[ \t]?)+|^[ \t]*#{1,6}[ \t]+|^[ \t]*(?:[-*_=][ \t]*){3,}$|^[ \t]*\|?[ \t]*:?-{3,}[ \t:|-]*$", re.M
)
_BULLET = re.compile(r"^[ \t]*[-*+•‣◦▪–—][ \t]+(?:\[[ xX]\][ \t]+)?", re.M)
_TABLE_ROW = re.compile(r"^[ \t]*\|(.*?)\|?[ \t]*$", re.M)
_EMOTICON = re.compile(
    r"(?<!\S)(?:[:;][-'^o]?[()DPpOo3/\\|*\]\[]+|=[()D]+|xD+|\^_*\^|[TQ]_+[TQ]|[oO]_+[oO]|</?3+)(?!\w)"
    r"|[(（](?=[^()（）\n]{1,20}[)）])[oOTtuUxXwvQqз\W_]*[)）]"
)
_FACE = re.compile(r"[\^_>≧≦◕´`ω°¬╥ಥ▽◡‿︿ᴗ]")

_URL_END = r"(?<![.,;:!?'\")\]*_])"
_URL = re.compile(
    rf"(?<![\w@.])(?:https?://|www\.)[!#-;=?-_a-z~]+{_URL_END}"
    rf"|(?<![\w@./-])(?:[A-Za-z0-9-]{{1,63}}\.){{1,8}}[A-Za-z]{{2,24}}/[!#-;=?-_a-z~]*{_URL_END}"
)
_HOST = re.compile(r"(?:[a-z]+://)?(?:[^/@]*@)?(?:www\.)?([^/:?#]*)", re.I)
_INLINE = re.compile(
    r"(?=[\\`<!\[& *_=#-]|["
    + _ARROWS
    + "])(?:"
    + "|".join(
        (
            r"\\(?P<escaped>[\\`*_{}\[\]()#+.!~|>-])",
            f"(?P<code>{markup.CODE})",
            f"(?P<dropped>{markup.CONTROL}|{markup.COMMENT}|{markup.TAG}|!\\[[^\\[\\]\n]{{0,300}}\\]{markup.LINK_TARGET})",
            f"(?P<autolink>{markup.AUTOLINK})",
            f"(?P<bracket>{markup.BRACKET})",
            r"(?P<entity>&(?:[A-Za-z][A-Za-z0-9]{1,30}|#\d{1,7}|#[xX][0-9A-Fa-f]{1,6});)",
            r"(?P<times>(?<=\d) ?\* ?(?=\d))",
            f"(?P<star>{markup.STAR})",
            r"(?P<strong>(?<!\w)_{2,3}(?=[^\s_])|(?<=[^\s_])_{2,3}(?!\w))",
            f"(?P<underscore>{markup.UNDERSCORE})",
            rf"(?P<arrow>[-=]+>|<[-=]+|[{_ARROWS}])",
            r"(?P<hash>(?<![\w&#])#(?=[^\W\d]))",
        )
    )
    + ")"
)
_CITATION = re.compile(r"\^?[\d, -]+|\^[\w-]+|[ xX]?")
_SILENT = re.compile(
    rf"(?<=[{EMOJI}\ufe0f])\u200d|\u200d(?=[{EMOJI}])|[{EMOJI}{_SURROGATE_OR_CONTROL}\ufe0e\ufe0f\u20e3\U000e0000-\U000e007f]"
)
_BETWEEN_WORDS = re.compile(r"[_|]+")
_LEFT_OVER = re.compile(r"[*`{}\\]|~(?!\d)")
_EMPTY_BRACKETS = re.compile(r"[(（\[]\s*[)）\]]")
_REPEATED = re.compile(r"([,;:!?！？。…～])\1+|(\?!|!\?)[?!]+|(\.)\.{3,}|(-)-+|[#=]{2,}|(?<=\s)[-–—]+(?=\s*$)")
_SPACES = re.compile(r"\s+")
_SPACE_BEFORE = re.compile(r" (?=[,.。、，](?!\d)|[!?](?:\s|$))")
_LEAD = re.compile(r"[\s,;:.!?…)\]}、。，：；！？»|–—-]+")
_MAX_TAG_WORDS = 3
_MAX_TAG = 40


def spoken(text: str) -> str:
    """What a voice says of one sentence or a whole answer, on one line; empty if nothing of it is to be said.

    Spans are taken as they stand in ``text``: whoever cuts an answer into sentences does not cut inside them.
    """
    marked = _MARKED.search(text) is not None
    if marked:
        if "```" in text or "~~~" in text:
            text = _FENCED.sub("\n", text)
        text = _TABLE_ROW.sub(_row, _LINE_MARKUP.sub("", text))
    text = _EMOTICON.sub(_emoticon, _BULLET.sub("", text))
    if marked:
        text = _SILENT.sub("", _inline(text))
        text = _LEFT_OVER.sub("", _BETWEEN_WORDS.sub(" ", text))
        text = _EMPTY_BRACKETS.sub("", text)
    text = _SPACE_BEFORE.sub("", _SPACES.sub(" ", _REPEATED.sub(_tamed, text)))
    if (lead := _LEAD.match(text)) is not None:
        start = lead.end()
        if text[start : start + 1].isdigit() and text[start - 1] in "-–.":
            start -= 1  # a sign or a decimal point
        text = text[start:]
    return text.rstrip() if any(character.isalnum() or extends(character) for character in text) else ""


def _row(found: re.Match[str]) -> str:
    return ", ".join(cell.strip() for cell in found[1].split("|") if cell.strip())


def _emoticon(found: re.Match[str]) -> str:
    face = found[0]
    return "" if face[0] not in "(（" or (_FACE.search(face) and len(face) > 3) else face


def _tamed(found: re.Match[str]) -> str:
    mark = found[1] or found[2]
    if mark:
        return mark
    return "..." if found[3] else " — " if found[4] else ""


def _inline(text: str) -> str:
    if "/" in text or "www." in text:
        text = _URL.sub(_bare_url, text)
    return _INLINE.sub(_replaced, text)


def _bare_url(found: re.Match[str]) -> str:
    in_markup = found.string[: found.start()].endswith(("](", "<", '="', "='"))
    return found[0] if in_markup else _host(found[0])


def _host(url: str) -> str:
    found = _HOST.match(url)
    return found[1] if found else ""


def _replaced(found: re.Match[str]) -> str:
    kind, span = found.lastgroup, found[0]
    if kind == "bracket":
        return _bracket(found)
    if kind in ("star", "underscore"):
        inner = span[1:-1]
        emote = is_emote(inner, found.string[: found.start()], found.string[found.end() :])
        return "" if emote else _inline(inner)
    if kind == "code":
        return span.strip("`")
    if kind == "escaped":
        return "" if span[1] in "*_`~|\\{}" else span[1]
    if kind == "autolink":
        return span[8:-1] if span.startswith("<mailto:") else _host(span[1:-1])
    if kind == "entity":
        return unescape(span)
    if kind == "times":
        return " × "
    return " " if kind in ("arrow", "dropped") else ""


def _bracket(found: re.Match[str]) -> str:
    text, start, end = found.string, found.start(), found.end()
    inner, _, target = found[0][1:].partition("]")
    if target or text[end : end + 1] == "[":
        return _inline(inner)  # a link
    before = text[start - 1] if start else ""
    if before == "]" or _CITATION.fullmatch(inner):
        return "" if not before.isalnum() or inner.startswith("^") else f" {inner} "
    if before.isalnum() and not is_ideographic(before):
        return f" {inner} "  # an index
    words = inner.split()
    limit = _MAX_TAG // 4 if is_ideographic(inner[0]) else _MAX_TAG
    if len(words) <= _MAX_TAG_WORDS and len(inner) <= limit and not any(mark in inner for mark in SOFT + ","):
        return ""
    return f" {_inline(inner)} "
