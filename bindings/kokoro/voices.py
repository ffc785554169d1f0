"""Names of voices and languages: ``af_heart`` is American and female; ``af_bella:2+am_adam`` is a mixture."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

from greenroom.bindings.roles import Voice
from greenroom.errors import BadRequest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LANGUAGES: Final = {
    "a": ("en-us", "en-US", ("english", "en", "american english")),
    "b": ("en-gb", "en-GB", ("british english",)),
    "e": ("es", "es", ("spanish",)),
    "f": ("fr-fr", "fr-FR", ("french", "fr")),
    "h": ("hi", "hi", ("hindi",)),
    "i": ("it", "it", ("italian",)),
    "j": ("ja", "ja", ("japanese",)),
    "p": ("pt-br", "pt-BR", ("portuguese", "pt", "brazilian portuguese")),
    "z": ("cmn", "zh", ("chinese", "mandarin", "zh", "zh-cn", "zh-tw")),
}
"""by a voice's first letter: eSpeak NG's code, the usual code, other names"""
_NAMES: Final = {name: code for code, _, names in LANGUAGES.values() for name in names}
_GENDERS: Final = {"f": "female", "m": "male"}


def own_language(voice: str) -> str:
    """eSpeak NG's code for the language of a voice, by its name."""
    return LANGUAGES.get(voice[:1], LANGUAGES["a"])[0]


def find_language(name: str, spoken: Sequence[str]) -> str | None:
    """eSpeak NG's code for a code (``fr``, ``pt_BR``, ``en-AU``) or an English name, if it is one of ``spoken``."""
    code = name.strip().replace("_", "-").casefold()
    while code:
        for candidate in (code, _NAMES.get(code, "")):
            if candidate in spoken:
                return candidate
        code = code.rpartition("-")[0]
    return None


def speaks(current: str, language: str) -> bool:
    """Whether what is spoken in ``current`` will do for ``language``: the same, or any of it without a region."""
    asked = language.strip().replace("_", "-").casefold()
    code = _NAMES.get(asked, asked)
    if "-" in asked or " " in asked:
        return code == current
    return code.partition("-")[0] == current.partition("-")[0]


def mixed_style(voices: Mapping[str, "NDArray[np.float32]"], name: str) -> "NDArray[np.float32]":
    """The style of a voice or of a mixture. :raises BadRequest: for a voice that there is not, with the nearest"""
    parts: list[tuple[NDArray[np.float32], float]] = []
    for part in name.split("+"):
        voice, colon, share = part.strip().partition(":")
        try:
            weight = float(share) if colon else 1.0
        except ValueError:
            weight = 0.0
        style = voices.get(voice.strip().casefold())
        if style is None:
            near = ", ".join(get_close_matches(voice, voices, n=4, cutoff=0.3) or list(voices)[:8])
            raise BadRequest(f"kokoro has no voice {voice!r}; nearest: {near}", details={"field": "voice"})
        if not 0 < weight < 1000:
            raise BadRequest(f"voice {name!r}: a share is a number above 0: af_bella:2+am_adam:1")
        parts.append((style, weight))
    if len({style.shape for style, _ in parts}) > 1:
        raise BadRequest(f"the voices of {name!r} cannot be mixed: they differ in size", details={"field": "voice"})
    total = sum(weight for _, weight in parts)
    style, weight = parts[0]
    mixture = style * (weight / total)
    for style, weight in parts[1:]:
        mixture = mixture + style * (weight / total)
    return mixture.astype(style.dtype)


def listed(names: Sequence[str]) -> list[Voice]:
    return [
        Voice(
            name,
            name.partition("_")[2].replace("_", " ").title() or name,
            LANGUAGES[name[0]][1] if name[:1] in LANGUAGES else "",
            _GENDERS.get(name[1:2], ""),
        )
        for name in sorted(names)
    ]
