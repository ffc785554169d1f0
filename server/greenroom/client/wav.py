"""WAV files: written while the sound comes, read as PCM."""

import struct
import wave
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from greenroom.errors import BadRequest
from greenroom.values import Audio

_UNKNOWN_SIZE = 0xFFFFFFFF
_HEADER_BYTES = 44


def header(form: Audio, data_bytes: int) -> bytes:
    """The 44 bytes before ``data_bytes`` of PCM in the format of ``form``. Past 4 GiB the sizes say "unknown"."""
    frame = form.frame_bytes
    padded = data_bytes + data_bytes % 2
    known = data_bytes < _UNKNOWN_SIZE - _HEADER_BYTES
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF",
        padded + _HEADER_BYTES - 8 if known else _UNKNOWN_SIZE,
        b"WAVE",
        b"fmt ",
        16,
        1,
        form.channels,
        form.sample_rate,
        form.sample_rate * frame,
        frame,
        8 * form.sample_width,
        b"data",
        data_bytes if known else _UNKNOWN_SIZE,
    )


class WavWriter:
    """Writes what it is given at once; closing it puts the true length into the header.

    Until then, and where the target cannot seek, the header says "until the end of the file", which players accept.
    """

    def __init__(self, target: BinaryIO) -> None:
        self._target = target
        self._form: Audio | None = None
        self.data_bytes = 0

    @property
    def duration_ms(self) -> float:
        if self._form is None:
            return 0.0
        return 1000 * self.data_bytes / (self._form.frame_bytes * self._form.sample_rate)

    def write(self, audio: Audio) -> None:
        """:raises ValueError: if its format is not that of the first piece. :raises OSError: as writing does."""
        if self._form is None:
            self._form = Audio(b"", audio.sample_rate, audio.sample_width, audio.channels)
            self._target.write(header(self._form, _UNKNOWN_SIZE))
        form = self._form
        if (audio.sample_rate, audio.frame_bytes) != (form.sample_rate, form.frame_bytes):
            raise ValueError("a WAV file holds sound of one format only")
        self._target.write(audio.pcm)
        self._target.flush()
        self.data_bytes += len(audio.pcm)

    def close(self) -> None:
        if self._form is None or not self._target.seekable():
            return
        if self.data_bytes % 2:
            self._target.write(b"\0")
        self._target.seek(0)
        self._target.write(header(self._form, self.data_bytes))
        self._target.seek(0, 2)
        self._target.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_wav(source: str | Path | BinaryIO) -> Audio:
    """:raises BadRequest: if it is no PCM WAV file. :raises OSError: as reading does."""
    name = str(source) if isinstance(source, str | Path) else "the data"
    try:
        with wave.open(str(source) if isinstance(source, Path) else source, "rb") as file:
            pcm = file.readframes(file.getnframes())
            audio = Audio(pcm, file.getframerate(), file.getsampwidth(), file.getnchannels())
    except (wave.Error, EOFError, struct.error) as error:
        why = str(error) or "it is cut off"
        raise BadRequest(f"{name} is no WAV file with PCM sound ({why}); 16 bit PCM is what works everywhere") from None
    if not audio.pcm:
        raise BadRequest(f"{name} holds no sound")
    whole = len(audio.pcm) - len(audio.pcm) % audio.frame_bytes
    return Audio(audio.pcm[:whole], audio.sample_rate, audio.sample_width, audio.channels)
