"""Which characters end sentences and clauses, close what was open, or belong to the character before them."""

import re
import unicodedata

ELLIPSES = "…‥⋯"
STRONG = "։؝؞؟۔܀܁܂߹।॥။።፧፨᙮᠃᠉។៕᱾᱿‼‽⁇⁈⁉⸮。｡！？．\u037e꓿꘎꛳꛷꡶꡷꣎꣏꤯꧈꧉꩝꩞꩟꫰꫱꯫﹒﹖﹗"
"""Marks that end a sentence whatever follows; the ASCII ones need a look at what follows"""

TERMINAL = ".!?" + ELLIPSES + STRONG

SOFT_SPACED = ",;:–-"
"""Marks that end a clause where a space follows (and, for dashes, precedes)"""

SOFT = "，、；：،؛—―၊፣፤፥፦៖՝·᠂᠈﹐﹑﹔﹕､"
"""Marks that end a clause whatever follows"""

OPENERS = "\"'“‘„‚«‹([{¿¡「『（《〈【〔〖｛［*_`~"
CLOSERS = "\"'”’»›)]}」』）》〉】〕〗｝］*_`~"

_TONE_AND_VOICE = "\u0e33\u0eb3\uff9e\uff9f"
"""Letters by category that Unicode's grapheme rules join to what precedes them"""

UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
"""Character class: Thai, Lao, Myanmar, Khmer: no space between words, one between phrases"""

IDEOGRAPHIC = (
    "\u2e80-\u2fff\u3005-\u3007\u3040-\u30ff\u3100-\u312f\u31a0-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)
"""Character class: Chinese and Japanese"""

EMOJI = (
    "\u231a\u231b\u2328\u23cf\u23e9-\u23fa\u24c2\u25a0-\u25ff\u2600-\u2775\u2794-\u27bf\u2934\u2935\u2b05-\u2b07\u2b1b\u2b1c"
    "\u2b50\u2b55\u3030\u303d\u3297\u3299\U0001f000-\U0001f0ff\U0001f10d-\U0001faff\U0001fc00-\U0001fffd"
)
"""Character class: pictures among characters, without the digits that share their blocks"""

_EMOJI_CHAR = re.compile(f"[{EMOJI}]")
_IDEOGRAPH = re.compile(f"[{IDEOGRAPHIC}]")
_UNSPACED_CHAR = re.compile(f"[{UNSPACED}]")


def is_emoji(character: str) -> bool:
    return character > "\u2000" and _EMOJI_CHAR.match(character) is not None


def is_ideographic(character: str) -> bool:
    return character > "\u2e00" and _IDEOGRAPH.match(character) is not None


def is_unspaced(character: str) -> bool:
    """Also Chinese and Japanese."""
    return character > "\u0e00" and (
        _UNSPACED_CHAR.match(character) is not None or _IDEOGRAPH.match(character) is not None
    )


def extends(character: str) -> bool:
    """Whether it forms one grapheme cluster with the character before it."""
    if character < "\u0300":
        return False
    return (
        unicodedata.category(character) in ("Mn", "Mc", "Me")
        or character in "\u200c\u200d"
        or character in _TONE_AND_VOICE
        or "\U0001f3fb" <= character <= "\U0001f3ff"
        or "\U000e0020" <= character <= "\U000e007f"
    )


def may_part(before: str, after: str) -> bool:
    """Whether text may be cut between these two characters of a script without spaces: never inside a cluster, nor
    between a Thai or Lao vowel and the consonant that it is written before."""
    return (
        is_unspaced(before)
        and is_unspaced(after)
        and unicodedata.category(before) == "Lo"
        and unicodedata.category(after) == "Lo"
        and not extends(after)
        and not ("\u0e40" <= before <= "\u0e44" or "\u0ec0" <= before <= "\u0ec4")
        and after not in "\u0e30\u0e32\u0e45\u0eb0\u0eb2"
    )
