"""One loaded voice: text -> sentences of PCM, in a thread, by piper-tts and onnxruntime."""

import importlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from greenroom.errors import BindingFailed, Unavailable

from .voices import VoiceConfig, VoiceFile, install_command

if TYPE_CHECKING:
    from piper import SynthesisConfig

_QUIET: Final = 3
"""onnxruntime's level of errors; warnings about a voice's graph concern nobody here"""
_PROVIDERS: Final = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
WARM_UP: Final = "Hello. One, two, three."


def load_packages() -> None:
    """:raises Unavailable: naming what is missing"""
    for name in ("numpy", "onnxruntime", "piper"):
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise Unavailable(
                f'piper needs the package {name} ({error}); install with: pip install "greenroom[piper]"'
            ) from error


class Synthesizer:
    """Its methods block and may run in several threads at once.

    :raises Unavailable: for a broken file, or a device that onnxruntime does not serve
    """

    def __init__(self, voice: VoiceFile, config: VoiceConfig, device: str, threads: int) -> None:
        from piper import PiperConfig, PiperVoice

        self.name = voice.name
        try:
            parsed = PiperConfig.from_dict(config.raw)
        except (KeyError, ValueError, TypeError) as error:
            raise Unavailable(f"this version of piper-tts does not know the voice {voice.name}: {error}") from error
        self.sample_rate = parsed.sample_rate
        self._voice: PiperVoice = PiperVoice(
            session=_session(voice, device, threads), config=parsed, download_dir=voice.path.parent
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
        except (failures.Fail, failures.InvalidArgument, failures.RuntimeException) as error:
            raise BindingFailed(f"the voice {self.name} failed: {error}") from error

    def warm_up(self) -> None:
        from piper import SynthesisConfig

        for _ in self.speak(WARM_UP, SynthesisConfig()):
            pass


def _session(voice: VoiceFile, device: str, threads: int) -> Any:
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as failures

    provider = _PROVIDERS[device]
    if provider not in onnxruntime.get_available_providers():
        raise Unavailable(f"onnxruntime has no {provider} here: for device {device} install onnxruntime-gpu")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _QUIET
    options.intra_op_num_threads = threads
    try:
        return onnxruntime.InferenceSession(str(voice.path), sess_options=options, providers=[provider])
    except (
        failures.Fail, failures.InvalidArgument, failures.InvalidGraph, failures.InvalidProtobuf,
        failures.NoModel, failures.NoSuchFile, failures.NotImplemented, failures.RuntimeException,
    ) as error:  # fmt: skip
        raise Unavailable(
            f"{voice.path} is no whole voice ({error}); install it again with: {install_command(voice.name)}"
        ) from error
