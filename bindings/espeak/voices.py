"""Names of voices: what a user may write -> what the library loads.

A voice is named by its language code (``en-us``, ``pt-br``), followed by ``+`` and a variant for another timbre
(``en-us+f3``, ``de+Annie``). Display names and the library's own identifiers are understood as well.
"""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from greenroom.bindings.roles import Voice

from .library import NativeVoice


class Voices:
    def __init__(self, voices: Iterable[NativeVoice], variants: Iterable[NativeVoice]) -> None:
        self._voices: dict[str, NativeVoice] = {}
        for voice in voices:
            own = voice.languages[0][1].lower() if voice.languages else voice.identifier.lower()
            self._voices[own if own not in self._voices else _last_part(voice.identifier).lower()] = voice
        self._variants = {_last_part(variant.identifier): variant for variant in variants}
        self._names = {
            name.casefold(): id
            for id, voice in reversed(self._voices.items())
            for name in (voice.name, voice.identifier, id)
        }
        self._variant_names = {
            name.casefold(): id for id, variant in self._variants.items() for name in (variant.name, id)
        }
        self._languages = self._by_language()

    def find(self, name: str) -> str | None:
        """The id that a name means, its variant included."""
        base, plus, variant = name.strip().casefold().partition("+")
        base = base.strip()
        id = self._names.get(base) or self._languages.get(base.replace("_", "-"))
        if id is None or not plus:
            return id
        variant_id = self._variant_names.get(variant.strip())
        return None if variant_id is None else f"{id}+{variant_id}"

    def for_language(self, language: str, current: str) -> str | None:
        """The voice for a language code or English name; ``current`` if it speaks it, else one of its timbre."""
        code = language.strip().replace("_", "-").casefold()
        base, plus, variant = current.partition("+")
        own = {spoken.casefold() for _, spoken in self._voices[base].languages}
        if code in {_primary(spoken) for spoken in own} | own | {_plain_name(self._voices[base].name)}:
            return current
        while code:
            if found := self._languages.get(code):
                return found + plus + variant
            code = code.rpartition("-")[0]
        return None

    def native(self, id: str) -> str:
        """What the library loads for an id that :meth:`find` returned."""
        base, plus, variant = id.partition("+")
        return self._voices[base].identifier + plus + variant

    def near(self, name: str) -> list[str]:
        base, plus, variant = name.strip().partition("+")
        known = self.find(base)
        if known is None or not plus:
            return get_close_matches(base.lower(), self._voices, n=4, cutoff=0.4)
        return [f"{known}+{near}" for near in get_close_matches(variant, self._variants, n=4, cutoff=0.3)]

    def listed(self, current: str) -> Sequence[Voice]:
        """Every language's voice, and every timbre of the current one."""
        voices = [Voice(id, voice.name, _own_language(voice), voice.gender) for id, voice in self._voices.items()]
        base = current.partition("+")[0]
        native = self._voices[base]
        return voices + [
            Voice(f"{base}+{id}", f"{native.name}, {variant.name}", _own_language(native), variant.gender)
            for id, variant in self._variants.items()
        ]

    def _by_language(self) -> dict[str, str]:
        best: dict[str, tuple[int, str]] = {}
        for id, voice in self._voices.items():
            for priority, code in voice.languages:
                key = code.casefold()
                if key not in best or priority < best[key][0]:
                    best[key] = (priority, id)
        codes = {code: id for code, (_, id) in best.items()}
        names: dict[str, str] = {}
        for id, voice in self._voices.items():
            names.setdefault(_plain_name(voice.name), codes.get(_primary(_own_language(voice)), id))
        return names | codes


def _own_language(voice: NativeVoice) -> str:
    return voice.languages[0][1] if voice.languages else ""


def _primary(code: str) -> str:
    return code.partition("-")[0].casefold()


def _plain_name(name: str) -> str:
    """``English (America)`` -> ``english``."""
    return name.partition("(")[0].strip().casefold()


def _last_part(identifier: str) -> str:
    return identifier.replace("\\", "/").rpartition("/")[2]
