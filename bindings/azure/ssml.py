"""SSML for one utterance: text, voice and manner -> the document that the service reads aloud."""

import re
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from greenroom.bindings.spoken_text import without_controls

_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*")
_SPEAK = 'version="1.0" xmlns="http://www.w3.org/2001/10/synthesis" xmlns:mstts="https://www.w3.org/2001/mstts"'


@dataclass(frozen=True, slots=True)
class Manner:
    voice: str
    style: str = ""
    style_degree: float = 1.0
    rate: float = 1.0
    pitch: int = 0
    """percent"""
    volume: int = 100
    """0 to 100"""
    language: str = ""
    """a code such as ``fr-FR``, for voices of several languages"""


def ssml(text: str, manner: Manner) -> str:
    """Whatever stands in the text is read, never obeyed."""
    body = escape(without_controls(text))
    how = ""
    if manner.rate != 1.0:
        how += f' rate="{manner.rate:g}"'
    if manner.pitch:
        how += f' pitch="{manner.pitch:+d}%"'
    if manner.volume != 100:
        how += f' volume="{manner.volume}"'
    if how:
        body = f"<prosody{how}>{body}</prosody>"
    if _LANGUAGE.fullmatch(manner.language):  # within prosody the service takes none
        body = f"<lang xml:lang={quoteattr(manner.language)}>{body}</lang>"
    if manner.style:
        degree = f' styledegree="{manner.style_degree:g}"' if manner.style_degree != 1.0 else ""
        body = f"<mstts:express-as style={quoteattr(manner.style)}{degree}>{body}</mstts:express-as>"
    voice = f"<voice name={quoteattr(manner.voice)}>{body}</voice>"
    return f'<speak {_SPEAK} xml:lang="{_locale(manner.voice)}">{voice}</speak>'


def _locale(voice: str) -> str:
    """``en-US-AshleyNeural`` -> ``en-US``"""
    locale = "-".join(voice.split("-")[:2])
    return locale if _LANGUAGE.fullmatch(locale) else "en-US"
