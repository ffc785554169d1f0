"""Names of voices: what a user may write -> the id that the operating system knows."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any

from greenroom.bindings.roles import Voice

FEMALE_VARIANT = "+f3"
"""a timbre of eSpeak NG, whose voices are all male"""


class Voices:
    """``own``: id of the voice that the system speaks with by itself. ``varies``: ids may end with ``+variant``."""

    def __init__(self, voices: Iterable[Voice], own: str, varies: bool) -> None:
        self.all: Sequence[Voice] = tuple(voices)
        self._by_id = {voice.id.casefold(): voice for voice in self.all}
        self._own = self._by_id.get(own.casefold()) or next(iter(self.all), None)
        self._varies = varies

    def find(self, name: str) -> str | None:
        """The id for an id, a name, a language code or a part of a name that only one voice has."""
        base, plus, variant = name.strip().partition("+") if self._varies else (name.strip(), "", "")
        wanted = base.strip().casefold()
        if not wanted:
            return None
        found = self._by_id.get(wanted) or next((v for v in self.all if v.name.casefold() == wanted), None)
        found = found or next((v for v in self.all if v.language.casefold() == wanted.replace("_", "-")), None)
        if found is None:
            partly = [voice for voice in self.all if wanted in voice.name.casefold()]
            found = partly[0] if len(partly) == 1 else None
        return None if found is None else found.id + plus + variant.strip()

    def default(self, gender: str) -> str:
        """The system's own voice, or one of its language and this gender. Empty if there is no voice at all."""
        own = self._own
        if own is None:
            return ""
        if gender not in ("female", "male") or own.gender == gender:
            return own.id
        return self._like(own, _primary(own.language), gender) or own.id

    def for_language(self, language: str, current: str) -> str | None:
        """``current`` if it speaks the language, else a voice that does, of the same gender if there is one."""
        base, plus, variant = current.partition("+") if self._varies else (current, "", "")
        speaking = self._by_id.get(base.casefold())
        primary = _primary(language)
        if speaking is not None and _primary(speaking.language) == primary:
            return current
        exact = [voice for voice in self.all if voice.language.casefold() == language.casefold().replace("_", "-")]
        named = exact or [
            voice
            for voice in self.all
            if _primary(voice.language) == primary or voice.name.casefold().partition(" (")[0] == language.casefold()
        ]
        gender = speaking.gender if speaking is not None else ""
        chosen = next((voice for voice in named if voice.gender == gender), named[0] if named else None)
        return None if chosen is None else chosen.id + plus + variant

    def near(self, name: str) -> list[str]:
        names = {label.casefold(): label for voice in self.all for label in (voice.id, voice.name)}
        close = get_close_matches(name.partition("+")[0].casefold(), names, n=4, cutoff=0.4)
        return [names[label] for label in close] or [voice.id for voice in self.all[:6]]

    def _like(self, own: Voice, primary: str, gender: str) -> str | None:
        if self._varies:
            return own.id + FEMALE_VARIANT if gender == "female" else own.id
        fitting = [voice for voice in self.all if _primary(voice.language) == primary and voice.gender == gender]
        return fitting[0].id if fitting else None


def system_voice(raw: Any) -> Voice:
    """pyttsx3's record; its drivers write languages and genders each in its own way."""
    languages = [
        code.decode(errors="replace") if isinstance(code, bytes) else str(code) for code in raw.languages or ()
    ]
    language = languages[0].strip("\x00\x02\x05 ").replace("_", "-") if languages else ""
    gender = str(raw.gender or "").casefold()
    if "female" in gender:
        gender = "female"
    elif "male" in gender:
        gender = "male"
    else:
        gender = ""
    return Voice(str(raw.id), str(raw.name or raw.id), language, gender)


def _primary(language: str) -> str:
    return language.replace("_", "-").partition("-")[0].casefold()
