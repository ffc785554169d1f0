"""The loaded model: a piece of text -> PCM, in a thread, by kokoro-onnx, phonemizer and onnxruntime."""

import importlib
import logging
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from greenroom.bindings.onnx_session import open_session
from greenroom.errors import BindingFailed, Unavailable

from .model_files import install_command, read_voices

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_INPUTS: Final = ({"tokens", "style", "speed"}, {"input_ids", "style", "speed"})
_FULL_SCALE: Final = 32_767
WARM_UP: Final = "Hello. One, two, three."


class Synthesizer:
    """Its methods block and may run in several threads at once: only the pronouncing takes turns.

    :raises Unavailable: for a broken file, or a device that onnxruntime does not serve
    """

    sample_rate: Final = 24_000

    def __init__(self, model: Path, voices: Path, device: str, threads: int) -> None:
        from kokoro_onnx import Kokoro

        self.voices = read_voices(voices)
        session = open_session(model, device, threads, "model", install_command(model.name.removesuffix(".onnx")))
        names = {entry.name for entry in session.get_inputs()}
        if names not in _INPUTS:
            found = ", ".join(sorted(names))
            raise Unavailable(f"{model} is no Kokoro model: it takes {found}; get one with: {install_command()}")
        self._kokoro = Kokoro.from_session(session, str(voices))
        self._kokoro.voices.close()  # it reads them from the open file at every use
        self._kokoro.voices = self.voices
        self._pronouncing = threading.Lock()
        self._pronouncers: dict[str, Any] = {}
        # it warns of every foreign word
        self._pronouncing_log = logging.Logger("pronouncing", logging.ERROR)
        self._pronouncer_type: Any = importlib.import_module("phonemizer.backend").EspeakBackend
        self.languages: Sequence[str] = tuple(self._pronouncer_type.supported_languages())

    def speak(self, text: str, style: "NDArray[np.float32]", speed: float, language: str) -> bytes:
        """16 bit mono; empty if nothing of the text is spoken. :raises BindingFailed: if the model fails"""
        import numpy as np
        from onnxruntime.capi import onnxruntime_pybind11_state as failures

        phonemes = self.phonemes(text, language)
        if not any(phoneme.isalpha() for phoneme in phonemes):
            return b""
        try:
            audio, _ = self._kokoro.create(
                phonemes, style, speed, language, is_phonemes=True, trim=True, sentence_pause=0, clause_pause=0
            )
        except (failures.Fail, failures.InvalidArgument, failures.RuntimeException) as error:
            raise BindingFailed(f"the Kokoro model failed: {error}") from error
        pcm: bytes = (np.clip(audio, -1, 1) * _FULL_SCALE).astype("<i2").tobytes()
        return pcm

    def phonemes(self, text: str, language: str) -> str:
        """How a text is pronounced, in the signs that the model knows."""
        with self._pronouncing:
            pronouncer = self._pronouncers.get(language)
            if pronouncer is None:
                # without the flag, words of another language are framed by its code, which would be read out
                pronouncer = self._pronouncers[language] = self._pronouncer_type(
                    language,
                    preserve_punctuation=True,
                    with_stress=True,
                    language_switch="remove-flags",
                    logger=self._pronouncing_log,
                )
            spoken = " ".join(pronouncer.phonemize([text])).strip()
        known: str = self._kokoro.tokenizer.known(spoken)
        return known

    def warm_up(self, language: str) -> None:
        """The pronouncing in this language, and the model."""
        style = next(iter(self.voices.values()))
        self.speak(WARM_UP, style, 1, language)
