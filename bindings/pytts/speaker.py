"""pyttsx3 in its one thread: a text -> a sound file -> PCM.

Its drivers differ in when they are done. SAPI 5 and NSSpeechSynthesizer have written the file when ``runAndWait``
returns; the one for espeak-ng writes it from the library's own thread, maybe later, and tells so.
"""

import ctypes
import importlib
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from greenroom.bindings.wav import WavReader
from greenroom.errors import BindingFailed, Unavailable
from greenroom.values import Audio

from .aiff import read_aiff
from .voices import Voices, system_voice

ESPEAK: Final = "espeak"
_ESPEAK_LIBRARY: Final = "libespeak-ng.so.1"
_ESPEAK_MODULE: Final = "pyttsx3.drivers._espeak"
_TRIES: Final = 2
"""its driver for espeak-ng now and then cancels an utterance that follows another closely"""
_COMMANDS: Final = {"sapi5": "<", "nsss": "[["}
"""what begins a command in a text, by driver"""


@dataclass(frozen=True, slots=True)
class Manner:
    voice: str
    """id"""
    rate: int
    """words a minute"""
    volume: float
    """0 to 1"""


def preload() -> None:
    """On Linux: the espeak-ng of the espeakng-loader wheel, where the system has none. Before pyttsx3 is imported.

    :raises Unavailable: if espeak-ng is in use in this process: both would speak nonsense
    """
    if sys.platform in ("win32", "darwin") or _ESPEAK_MODULE in sys.modules:
        return
    try:
        ctypes.CDLL(_ESPEAK_LIBRARY, mode=os.RTLD_NOLOAD)
    except OSError:  # as it should be: nobody has loaded it
        pass
    else:
        raise Unavailable(
            "pytts cannot share a process with other voices that use espeak-ng: let it have its own, "
            "by taking pytts out of isolation in config.yaml, or setting it to process"
        )
    try:
        import espeakng_loader
    except ImportError:  # then the system's own, if there is one
        return
    os.environ["ESPEAK_DATA_PATH"] = str(espeakng_loader.get_data_path())
    ctypes.CDLL(str(espeakng_loader.get_library_path()))


class Speaker:
    """Made and used in one and the same thread.

    :raises Unavailable: without pyttsx3, or where the system has no voices
    """

    def __init__(self) -> None:
        try:
            preload()
            pyttsx3 = importlib.import_module("pyttsx3")
            self._engine: Any = pyttsx3.init()
        except ImportError as error:
            raise Unavailable(
                f'pytts needs the package pyttsx3 ({error}); install with: pip install "greenroom[pytts]"'
            ) from error
        except (RuntimeError, OSError) as error:
            raise Unavailable(
                f"the system's voices do not start: {error}; on Linux they come with: pip install espeakng-loader"
            ) from error
        self.driver = str(self._engine)
        _silence(self.driver)
        self._done = threading.Event()
        self._completed = False
        self._failure: BaseException | None = None
        self._wanted: Callable[[], bool] = _always
        self._engine.connect("finished-utterance", self._on_finished)
        self._engine.connect("started-word", self._on_word)
        self._engine.connect("error", self._on_error)
        own = self._engine.getProperty("voice")
        self.voices = Voices(
            map(system_voice, self._engine.getProperty("voices") or ()), str(own or ""), self.driver == ESPEAK
        )
        if not self.voices.all:
            raise Unavailable("this system has no voices; install some in its settings for speech")

    def speak(
        self, text: str, manner: Manner, path: Path, timeout_s: float, wanted: Callable[[], bool] = lambda: True
    ) -> Audio | None:
        """``None`` if nothing of the text is spoken, or ``wanted`` has become false.

        :raises BindingFailed: if the system's voice fails, or takes longer than ``timeout_s``
        """
        self._wanted = wanted
        command = _COMMANDS.get(self.driver)
        if command:
            text = text.replace(command, " ")
        try:
            for _ in range(_TRIES):
                if self._utter(text, manner, path, timeout_s):
                    return _read(path)
                if not wanted():
                    return None
        finally:
            self._wanted = _always
        raise BindingFailed("the system's voice gave up an utterance", retryable=True)

    def close(self) -> None:
        self._engine.stop()

    def _utter(self, text: str, manner: Manner, path: Path, timeout_s: float) -> bool:
        """Whether the file is there."""
        path.unlink(missing_ok=True)
        self._done.clear()
        self._completed = False
        self._failure = None
        for name, value in (("voice", manner.voice), ("rate", manner.rate), ("volume", manner.volume)):
            self._engine.setProperty(name, value)
        self._settle()
        self._engine.save_to_file(text, str(path))
        self._engine.runAndWait()
        if self.driver == ESPEAK and self._failure is None and not self._done.wait(timeout_s):
            self._engine.stop()
            raise BindingFailed(f"the system's voice did not finish within {timeout_s:g} s", retryable=True)
        if self._failure is not None:
            raise BindingFailed(f"the system's voice failed: {self._failure}") from self._failure
        return path.is_file() and (self.driver != ESPEAK or self._completed)

    def _settle(self) -> None:
        """espeak-ng queues what is set, and the driver empties that queue at the start of a run if it finds it busy."""
        native = sys.modules.get(_ESPEAK_MODULE)
        if native is not None:
            native.Synchronize()

    def _on_finished(self, completed: bool = True, **_: object) -> None:
        """In the library's thread, where it has one."""
        self._completed = self._completed or completed
        self._done.set()

    def _on_word(self, **_: object) -> None:
        # espeak-ng calls from the thread that a stop would wait for; its utterances take milliseconds
        if self.driver != ESPEAK and not self._wanted():
            self._engine.stop()

    def _on_error(self, exception: BaseException | None = None, **_: object) -> None:
        self._failure = exception or RuntimeError("it did not say why")


def _always() -> bool:
    return True


def _silence(driver: str) -> None:
    """Its drivers print to stdout, for every file and every trouble."""
    module = sys.modules.get(f"pyttsx3.drivers.{driver}")
    if module is not None:
        vars(module)["print"] = lambda *_, **__: None


def _read(path: Path) -> Audio | None:
    data = path.read_bytes()
    if data[:4] == b"FORM":
        audio = read_aiff(data)
    else:
        reader = WavReader()
        pcm = reader.feed(data)
        if not reader.sample_rate:
            raise BindingFailed("the system's voice wrote no sound")
        frame = reader.sample_width * reader.channels
        audio = Audio(pcm[: len(pcm) - len(pcm) % frame], reader.sample_rate, reader.sample_width, reader.channels)
    return audio if audio.pcm else None
