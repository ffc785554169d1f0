"""One loaded voice: text -> sentences of PCM, in a thread, by piper-tts and onnxruntime."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from greenroom.bindings.onnx_session import open_session
from greenroom.errors import BindingFailed, Unavailable

from .voices import PRONOUNCER_FOLDER, VoiceConfig, VoiceFile, install_command

if TYPE_CHECKING:
    from piper import SynthesisConfig

WARM_UP: Final = "Hello. One, two, three."


class Synthesizer:
    """Its methods block and may run in several threads at once.

    :raises Unavailable: for a broken file, or a device that onnxruntime does not serve
    """

    def __init__(self, voice: VoiceFile, config: VoiceConfig, device: str, threads: int) -> None:
        from piper import PiperConfig, PiperVoice
        from piper.config import PhonemeType

        self.name = voice.name
        try:
            parsed = PiperConfig.from_dict(config.raw)
        except (KeyError, ValueError, TypeError) as error:
            raise Unavailable(f"this version of piper-tts does not know the voice {voice.name}: {error}") from error
        if parsed.phoneme_type is PhonemeType.PINYIN:
            _check_chinese(voice)
        self.sample_rate = parsed.sample_rate
        self._voice: PiperVoice = PiperVoice(
            session=open_session(voice.path, device, threads, "voice", install_command(voice.name)),
            config=parsed,
            download_dir=voice.path.parent,
        )

    def speak(self, text: str, manner: "SynthesisConfig") -> Iterator[bytes]:
        """16 bit mono, a sentence each. :raises BindingFailed: if the voice cannot speak it"""
        from onnxruntime.capi import onnxruntime_pybind11_state as failures

        try:
            for chunk in self._voice.synthesize(text.replace("[[", "[ ["), manner):
                yield chunk.audio_int16_bytes
        except ImportError as error:
            raise Unavailable(
                f"the voice {self.name} needs the package {error.name or error} for its language: see the extras of "
                'piper-tts, such as pip install "piper-tts[zh]"'
            ) from error
        except (failures.Fail, failures.InvalidArgument, failures.RuntimeException, RuntimeError) as error:
            raise BindingFailed(f"the voice {self.name} failed: {error}") from error

    def warm_up(self) -> None:
        from piper import SynthesisConfig

        for _ in self.speak(WARM_UP, SynthesisConfig()):
            pass


def _check_chinese(voice: VoiceFile) -> None:
    """piper-tts would fetch the model that reads Chinese as it speaks the first sentence.

    :raises Unavailable: if it is not here, with the command that gets it
    """
    folder = voice.path.parent / PRONOUNCER_FOLDER
    if not (folder / "g2pw.onnx").is_file():
        code = f"from piper.phonemize_chinese import ChinesePhonemizer as C; C({folder.as_posix()!r})"
        raise Unavailable(
            f"the voice {voice.name} needs the model g2pW to pronounce Chinese; get it with: "
            f'pip install "piper-tts[zh]" and then: python -c "{code}"'
        )
