"""One loaded voice: text -> samples, a piece at a time, by MeloTTS' own code."""

import pickle
import re
import unicodedata
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from greenroom.errors import BadRequest, BindingFailed, GreenroomError, Unavailable

from .korean import nothing_installed
from .languages import LANGUAGES, plain_speaker
from .package import NO_WORDS, load_tts_class, offline

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SLOWEST: Final = 0.05
"""a speed below would only fill the memory"""
_PICTURES: Final = frozenset({"So", "Sk", "Me", "Co", "Cn", "Cs"})
"""categories of Unicode; "Sc" and "Sm" are left in, as $ and + are read"""
_UNSEEN: Final = re.compile("[\ufe00-\ufe0f\u00ad\u200b-\u200f\u2060\ufeff]")
"""what joins and varies pictures and letters"""
_TOO_MANY_DIGITS: Final = re.compile(r"\d{19,}")
_BROKEN: Final = (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, RuntimeError, AssertionError)
"""what MeloTTS and torch raise for files that are damaged or do not belong together"""


def whole_sentences(base: Any) -> Any:
    """MeloTTS' class, speaking what it is given in one go: it would cut it anew, and put silence after each part."""
    import numpy as np

    class WholeTTS(base):  # type: ignore[misc]
        @staticmethod
        def split_sentences_into_pieces(text: str, language: str, quiet: bool = True) -> list[str]:
            """What it cleans while it cuts stays clean."""
            joined = " ".join(base.split_sentences_into_pieces(text, language, quiet=True)).strip()
            return [joined] if joined else []

        @staticmethod
        def audio_numpy_concat(segment_data_list: list[Any], sr: int, speed: float = 1.0) -> Any:
            parts = [np.asarray(part, np.float32).reshape(-1) for part in segment_data_list]
            return np.concatenate(parts) if parts else np.zeros(0, np.float32)

    return WholeTTS


class Synthesizer:
    """Its methods block; not for several threads at once.

    :raises Unavailable: with what is missing or damaged, and what mends it
    """

    def __init__(self, models: Path, language: str, config: Path, checkpoint: Path, device: str) -> None:
        self.language = language
        with offline(models), nothing_installed() if language == "KR" else nullcontext():
            kind = whole_sentences(load_tts_class())
            try:
                self._tts = kind(
                    language=language, device=device, use_hf=True, config_path=str(config), ckpt_path=str(checkpoint)
                )
                self.sample_rate = int(self._tts.hps.data.sampling_rate)
                self.speakers: dict[str, int] = {
                    str(name): int(number) for name, number in self._tts.hps.data.spk2id.items()
                }
            except pickle.UnpicklingError as error:
                raise Unavailable(
                    f"{checkpoint} is refused: it is damaged, or holds code beside weights, which could do anything "
                    "to this machine"
                ) from error
            except GreenroomError:
                raise
            except _BROKEN as error:
                raise Unavailable(f"the voice of {config} and {checkpoint} does not load: {error!r}") from error
            if not self.speakers:
                raise Unavailable(f"{config} names no speakers")
            self._warm_up()

    def _warm_up(self) -> None:
        """Loads the BERT too, which MeloTTS does when it first speaks. :raises Unavailable: if that is not here"""
        self.speak(LANGUAGES[self.language].greeting, next(iter(self.speakers.values())))

    def speak(self, text: str, speaker: int, **manner: float) -> "NDArray[np.float32]":
        """Mono at :attr:`sample_rate`; empty where there is nothing to say.

        :param manner: sdp_ratio, noise_scale, noise_scale_w, speed
        :raises BindingFailed: if the voice cannot say it
        """
        try:
            sound: NDArray[np.float32] = self._tts.tts_to_file(readable(text), speaker, quiet=True, **manner)
        except GreenroomError:
            raise
        except LookupError as error:
            if "nltk" in str(error).casefold():
                raise Unavailable(NO_WORDS) from error
            raise BindingFailed(f"MeloTTS could not speak a sentence: {error!r}") from error
        except _BROKEN as error:
            raise BindingFailed(f"MeloTTS could not speak a sentence: {error!r}") from error
        return sound


def readable(text: str) -> str:
    """Without what MeloTTS stumbles over: a number sign, with which the pieces of its words begin; pictures, which it
    reads as "unk"; more digits than a number has, which are read one by one."""
    shown = "".join(
        " " if one == "#" or unicodedata.category(one) in _PICTURES else one for one in _UNSEEN.sub("", text)
    )
    return _TOO_MANY_DIGITS.sub(lambda found: " ".join(found[0]), shown)


def choose_speaker(speakers: dict[str, int], wanted: str) -> int:
    """By name, however its dashes are written, or by number. :raises BadRequest: for one that the voice has not got"""
    if wanted in speakers:
        return speakers[wanted]
    for name, number in speakers.items():
        if plain_speaker(name) == plain_speaker(wanted):
            return number
    if wanted.strip().isdecimal() and int(wanted) in speakers.values():
        return int(wanted)
    raise BadRequest(
        f"this voice has no speaker {wanted!r}; its speakers: {', '.join(speakers)}", details={"field": "speaker_id"}
    )
