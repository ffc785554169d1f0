"""A recording in whatever form it was sent -> PCM.

Bare PCM in a WAV is read here; everything else (mp3, mp4, m4a, ogg, webm, flac, ...) by PyAV, to 16 kHz mono.
"""

import asyncio
import io
import wave
from typing import Any, Final

from greenroom.doors.openai.failures import bad_field, too_large
from greenroom.doors.openai.sound import load_av
from greenroom.errors import GreenroomError
from greenroom.values import Audio

_RATE_HZ: Final = 16_000
_TAKEN_HZ: Final = range(4000, 192_001)
"""a resampler from a rate of a gigahertz, which a few bytes may claim, takes hundreds of megabytes for its filter"""
_CONTAINERS: Final = (
    "aac,ac3,aiff,amr,asf,au,caf,eac3,flac,flv,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,mp3,mpeg,mpegts,ogg,w64,wav,wv"
)
"""Nothing else is looked into: a playlist would make the library open other files and addresses."""
_CLOSED: Final = {"format_whitelist": _CONTAINERS, "protocol_whitelist": "none"}
_MAX_CHUNKS: Final = 256
"""of a WAV before its sound; each costs time to skip"""


async def decoded(data: bytes, longest_s: float) -> Audio:
    """:raises BadRequest: no recording. :raises TooLarge: too long. :raises Unavailable: no PyAV, and it is needed."""
    audio = await asyncio.to_thread(_wav, data) if data[:4] == b"RIFF" else None
    if audio is None:
        av = await load_av("a recording that is no WAV")
        audio = await asyncio.to_thread(_decode, av, data, longest_s)
    if audio.duration_ms > longest_s * 1000:
        raise _too_long(longest_s)
    if not audio.pcm:
        raise bad_field("file", "holds no sound")
    return audio


def _wav(data: bytes) -> Audio | None:
    """``None`` for a WAV of another kind than bare PCM. :raises BadRequest: it is made of crumbs."""
    if _chunks_before_sound(data) > _MAX_CHUNKS:
        raise bad_field("file", f"has more than {_MAX_CHUNKS} chunks before its sound")
    try:
        with wave.open(io.BytesIO(data)) as file:
            frames = file.readframes(file.getnframes())
            audio = Audio(frames, file.getframerate(), file.getsampwidth(), file.getnchannels())
    except (wave.Error, EOFError, ValueError, RuntimeError):  # the last where a chunk claims to reach past the end
        return None
    if audio.sample_width > 4 or audio.channels > 32 or audio.sample_rate not in _TAKEN_HZ:
        return None
    whole = len(frames) - len(frames) % audio.frame_bytes
    return Audio(frames[:whole], audio.sample_rate, audio.sample_width, audio.channels)


def _chunks_before_sound(data: bytes) -> int:
    """Counted up to one more than there may be."""
    at, count = 12, 0
    while count <= _MAX_CHUNKS and at + 8 <= len(data) and data[at : at + 4] != b"data":
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + size + size % 2
        count += 1
    return count


def _decode(av: Any, data: bytes, longest_s: float) -> Audio:
    """One that was cut off, as a recorder leaves it that was stopped, is taken as far as it goes."""
    pieces: list[bytes] = []
    size = 0
    resampler = av.AudioResampler(format="s16", layout="mono", rate=_RATE_HZ)
    try:
        with av.open(io.BytesIO(data), options=_CLOSED) as container:
            if not container.streams.audio:
                raise bad_field("file", "holds no sound")
            for frame in container.decode(audio=0):
                if frame.sample_rate not in _TAKEN_HZ:
                    raise bad_field("file", f"has {frame.sample_rate} samples a second; 4000 to 192000 are taken")
                for shaped in resampler.resample(frame):
                    piece = bytes(shaped.planes[0])[: shaped.samples * 2]
                    pieces.append(piece)
                    size += len(piece)
                if size > longest_s * _RATE_HZ * 2:
                    raise _too_long(longest_s)
    except (av.error.FFmpegError, ValueError) as error:
        if not size:
            raise bad_field(
                "file", f"cannot be read as a recording ({type(error).__name__}); wav, mp3, m4a, ogg, webm and flac can"
            ) from None
    if size:
        for shaped in resampler.resample(None):
            pieces.append(bytes(shaped.planes[0])[: shaped.samples * 2])
    return Audio(b"".join(pieces), _RATE_HZ)


def _too_long(longest_s: float) -> GreenroomError:
    return too_large("file", f"at most {longest_s:g} s of sound are taken")
