"""Where the voice goes: to the loudspeakers while it comes, into a WAV file, or nowhere."""

import asyncio
import threading
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from greenroom.client.wav import WavWriter
from greenroom.errors import Unavailable
from greenroom.values import Audio

_SAMPLE_TYPES = {1: "uint8", 2: "int16", 3: "int24", 4: "int32"}


class VoiceSink(Protocol):
    def play(self, audio: Audio) -> None: ...
    def silence(self) -> None:
        """At once: what waits is dropped, and nothing more is taken."""

    async def finish(self) -> None:
        """Returns when everything has been heard, or written."""

    def close(self) -> str:
        """Free what it holds. -> what became of the voice, if that is worth a sentence."""
        ...

    @property
    def heard_ms(self) -> float | None:
        """``None``: it cannot know."""
        ...


class NoVoice:
    heard_ms = None

    def play(self, audio: Audio) -> None: ...
    def silence(self) -> None: ...
    async def finish(self) -> None: ...
    def close(self) -> str:
        return ""


class WavFile:
    """The file is made with the first sound, and is whole also after an interruption."""

    heard_ms = None

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._writer: WavWriter | None = None
        self._silent = False

    def play(self, audio: Audio) -> None:
        """:raises Unavailable: if it cannot be written."""
        if self._silent:
            return
        try:
            if self._writer is None:
                self._file = self._path.open("wb")
                self._writer = WavWriter(self._file)
            self._writer.write(audio)
        except (OSError, ValueError) as error:
            self._silent = True
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise Unavailable(f"{self._path} cannot be written: {reason}") from error

    def silence(self) -> None:
        self._silent = True

    async def finish(self) -> None: ...

    def close(self) -> str:
        self._silent = True
        if self._writer is None or self._file is None:
            return "the answer had no voice; no file was written"
        writer, self._writer = self._writer, None
        with self._file:
            writer.close()
        return f"the voice is in {self._path} ({writer.duration_ms / 1000:.1f} s)"


class Speaker:
    """Plays through the default output device by ``sounddevice``.

    :raises Unavailable: if the device cannot be opened, when the first sound comes.
    """

    def __init__(self, sounddevice: Any) -> None:
        self._sounddevice = sounddevice
        self._stream: Any = None
        self._form: Audio | None = None
        self._waiting = bytearray()
        self._lock = threading.Lock()
        self._played_bytes = 0
        self._silent = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._empty = asyncio.Event()

    @property
    def heard_ms(self) -> float | None:
        if self._form is None:
            return 0.0
        return 1000 * self._played_bytes / (self._form.frame_bytes * self._form.sample_rate)

    def play(self, audio: Audio) -> None:
        if self._silent:
            return
        if self._stream is None:
            self._open(audio)
        with self._lock:
            self._waiting += audio.pcm
            self._empty.clear()

    def silence(self) -> None:
        with self._lock:
            self._silent = True
            self._waiting.clear()
        self._empty.set()

    async def finish(self) -> None:
        if self._stream is not None:
            await self._empty.wait()

    def close(self) -> str:
        if self._stream is not None:
            stream, self._stream = self._stream, None
            (stream.abort if self._silent else stream.stop)()  # stop() lets the device play what it has taken
            stream.close()
        return ""

    def _open(self, audio: Audio) -> None:
        self._loop = asyncio.get_running_loop()
        self._form = Audio(b"", audio.sample_rate, audio.sample_width, audio.channels)
        try:
            self._stream = self._sounddevice.RawOutputStream(
                samplerate=audio.sample_rate,
                channels=audio.channels,
                dtype=_SAMPLE_TYPES[audio.sample_width],
                callback=self._more,
            )
            self._stream.start()
        except (self._sounddevice.PortAudioError, ValueError) as error:
            self._silent = True
            raise Unavailable(f"the sound device refuses this voice: {error}; --out FILE writes it instead") from error

    def _more(self, target: Any, _frames: int, _time: Any, _status: Any) -> None:
        """Called by the sound device's own thread."""
        with self._lock:
            wanted = len(target)
            piece = bytes(self._waiting[:wanted])
            del self._waiting[:wanted]
            self._played_bytes += len(piece)
            empty = not self._waiting
        quiet = b"\x80" if self._form is not None and self._form.sample_width == 1 else b"\0"
        target[:] = piece + quiet * (wanted - len(piece))
        if empty and self._loop is not None and not self._empty.is_set():
            self._loop.call_soon_threadsafe(self._set_empty)

    def _set_empty(self) -> None:
        with self._lock:
            if not self._waiting:
                self._empty.set()


def sound_output() -> tuple[Any, str]:
    """The ``sounddevice`` module if it can play, else ``None``; and a sentence on what is there, or missing."""
    try:
        import sounddevice
    except ImportError:
        return None, "the package sounddevice is not installed; install it with: pip install sounddevice"
    except OSError:
        return None, "the PortAudio library is not installed (Debian, Ubuntu: apt install libportaudio2)"
    try:
        device = sounddevice.query_devices(kind="output")
    except (sounddevice.PortAudioError, ValueError):
        return None, "this machine has no sound output device"
    return sounddevice, f"sound comes from {device.get('name', 'the default device')}"


def open_speaker() -> tuple[Speaker | None, str]:
    module, sentence = sound_output()
    return (Speaker(module) if module is not None else None), sentence
