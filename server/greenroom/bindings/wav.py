"""WAV and bare PCM, read as they stream in; WAV written whole.

bytes, cut anywhere -> WavReader   -> the format once it is known, and PCM
                    -> SoundFramer -> Audio in whole frames, about 100 ms each
"""

import io
import struct
import wave
from dataclasses import dataclass

from greenroom.errors import BindingFailed
from greenroom.values import Audio

PIECE_S = 0.1
_PCM, _EXTENSIBLE = 1, 0xFFFE
_MAX_HEADER_BYTES = 1 << 20
_UNKNOWN_LENGTHS = (0, 0x7FFFFFFF, 0xFFFFFFFF)
"""what servers write for the length of data that they are still making"""


@dataclass(slots=True)
class WavReader:
    """``sample_rate`` is 0 until the header has been read."""

    sample_rate: int = 0
    sample_width: int = 2
    channels: int = 1
    _header: bytes = b""
    _left: int | None = None
    """bytes of sound still to come; ``None``: until the stream ends"""
    _in_data: bool = False

    def feed(self, data: bytes) -> bytes:
        """-> PCM, maybe cut in the middle of a frame. :raises BindingFailed: if this is no PCM in a WAV."""
        if not self._in_data:
            self._header += data
            data = self._read_header()
        if self._left is not None:
            data = data[: self._left]
            self._left -= len(data)
        return data

    def _read_header(self) -> bytes:
        header = self._header
        if len(header) < 12:
            return b""
        if header[:4] != b"RIFF" or header[8:12] != b"WAVE":
            raise BindingFailed("the voice sent something that is no WAV")
        at = 12
        while len(header) >= at + 8:
            name, size = struct.unpack_from("<4sI", header, at)
            if name == b"data":
                if not self.sample_rate:
                    raise BindingFailed("the voice sent a WAV that does not say its format")
                self._in_data = True
                self._left = None if size in _UNKNOWN_LENGTHS or size >= 0xFFFFFF00 else size
                self._header = b""
                return header[at + 8 :]
            if size > _MAX_HEADER_BYTES:
                raise BindingFailed("the voice sent a WAV with a broken header")
            if len(header) < at + 8 + size:
                return b""
            if name == b"fmt ":
                self._read_format(header[at + 8 : at + 8 + size])
            at += 8 + size + size % 2
        return b""

    def _read_format(self, fmt: bytes) -> None:
        if len(fmt) < 16:
            raise BindingFailed("the voice sent a WAV with a broken header")
        kind, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", fmt)
        if kind == _EXTENSIBLE and len(fmt) >= 26:
            kind = struct.unpack_from("<H", fmt, 24)[0]
        if kind != _PCM or bits not in (8, 16, 24, 32) or channels not in (1, 2) or not rate:
            raise BindingFailed(
                f"the voice sent a WAV of an unknown kind: format {kind}, {bits} bits, {channels} channels"
            )
        self.sample_rate, self.sample_width, self.channels = rate, bits // 8, channels


class SoundFramer:
    """Bytes, cut anywhere -> whole frames: the first at once, then pieces of 100 ms. Sees a WAV where PCM was asked.

    ``sample_rate`` (Hz) is that of bare PCM, 16 bit and mono; a WAV says its own.
    """

    def __init__(self, is_wav: bool, sample_rate: int) -> None:
        self._wav = WavReader() if is_wav else None
        self._format = Audio(b"", sample_rate)
        self._pending = b""
        self._began = is_wav
        self.sounded = False

    def feed(self, data: bytes) -> list[Audio]:
        if not self._began:
            self._pending += data
            if len(self._pending) < 4:
                return []
            self._began = True
            data, self._pending = self._pending, b""
            if data.startswith(b"RIFF"):
                self._wav = WavReader()
        if self._wav is not None:
            data = self._wav.feed(data)
            if self._wav.sample_rate:
                self._format = Audio(b"", self._wav.sample_rate, self._wav.sample_width, self._wav.channels)
        self._pending += data
        return self._cut()

    def end(self) -> list[Audio]:
        """The rest. Half a frame at the very end is dropped."""
        return self._cut(everything=True)

    def _cut(self, everything: bool = False) -> list[Audio]:
        frame = self._format.frame_bytes
        piece = max(1, round(self._format.sample_rate * PIECE_S)) * frame
        made: list[Audio] = []
        end = len(self._pending) - len(self._pending) % frame
        at = 0
        while at < end and (end - at >= piece or everything or not self.sounded):
            made.append(self._audio(self._pending[at : min(end, at + piece)]))
            at += len(made[-1].pcm)
            self.sounded = True
        self._pending = self._pending[at:]
        return made

    def _audio(self, pcm: bytes) -> Audio:
        return Audio(pcm, self._format.sample_rate, self._format.sample_width, self._format.channels)


def wav_of(audio: Audio) -> bytes:
    """A whole WAV file."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(audio.channels)
        file.setsampwidth(audio.sample_width)
        file.setframerate(audio.sample_rate)
        file.writeframes(audio.pcm)
    return out.getvalue()
