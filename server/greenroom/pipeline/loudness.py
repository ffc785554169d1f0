"""PCM -> how loud each 20 ms is, for lip sync. Pure Python: numpy is not loaded for a server that only speaks."""

import sys
from array import array
from math import sqrt
from operator import mul

FLOOR = 0.1
"""RMS (of full scale 1.0) that already opens the mouth wholly, so that room noise does not count as the loudest"""

_SAMPLES_PER_SLICE = 128
"""at most so many samples of a slice are squared: enough for an envelope, and the cost does not grow with the rate"""

_FULL_SCALE = {1: 128.0, 2: 32768.0, 3: 32768.0, 4: 2147483648.0}


def volumes(pcm: bytes, sample_rate: int, sample_width: int, channels: int, slice_ms: int = 20) -> list[float]:
    """One value 0..1 for each slice of a whole clip, a last shorter slice included; an odd tail is ignored.

    :param sample_rate: Hz
    :param sample_width: bytes a sample, 1 (unsigned) to 4 (signed, little-endian)
    :raises ValueError: for a format that PCM does not have.
    """
    meter = LoudnessMeter(sample_rate, sample_width, channels, slice_ms)
    return meter.feed(pcm) + meter.finish()


class LoudnessMeter:
    """Chunks of one utterance's PCM -> values 0..1 (three digits), one for each slice, across chunk borders.

    A value is the slice's RMS divided by the loudest RMS heard so far (never less than ``FLOOR``): a quiet voice moves
    the mouth as a loud one does, silence is 0, and nothing waits for the end of the clip.
    """

    def __init__(self, sample_rate: int, sample_width: int, channels: int, slice_ms: int = 20) -> None:
        if sample_width not in _FULL_SCALE:
            raise ValueError(f"sample width {sample_width}: 1 to 4 bytes are known")
        if sample_rate < 1 or channels < 1 or slice_ms < 1:
            raise ValueError("sample rate, channels and slice length must be positive")
        self._rate = sample_rate
        self._width = sample_width
        self._channels = channels
        self._slice_ms = slice_ms
        self._slices = 0
        self._loudest = FLOOR
        self._tail = b""

    def feed(self, pcm: bytes) -> list[float]:
        """The slices that these bytes complete; the rest waits for the next call."""
        data = self._tail + pcm if self._tail else pcm
        values: list[float] = []
        at = 0
        while at + (size := self._slice_bytes()) <= len(data):
            if size:
                values.append(self._value(data[at : at + size]))
            self._slices += 1
            at += size
        self._tail = data[at:]
        return values

    def finish(self) -> list[float]:
        """The last, shorter slice, if a whole frame of it came. The meter is then ready for another utterance."""
        frame = self._width * self._channels
        rest = self._tail[: len(self._tail) - len(self._tail) % frame]
        values = [self._value(rest)] if rest else []
        self._tail = b""
        self._slices = 0
        self._loudest = FLOOR
        return values

    def _slice_bytes(self) -> int:
        """Length of the current slice; lengths alternate where it is no whole number of frames, so none drifts."""
        position = self._slices * self._rate * self._slice_ms
        frames = (position + self._rate * self._slice_ms) // 1000 - position // 1000
        return frames * self._width * self._channels

    def _value(self, pcm: bytes) -> float:
        samples = _samples(pcm, self._width)
        step = len(samples) // _SAMPLES_PER_SLICE
        if step > 1:
            if self._channels > 1 and step % self._channels == 0:
                step -= 1  # else every sample taken would be of the same channel
            samples = samples[::step]
        rms = sqrt(sum(map(mul, samples, samples)) / len(samples)) / _FULL_SCALE[self._width]
        self._loudest = max(self._loudest, rms)
        return round(min(rms / self._loudest, 1.0), 3)


def _samples(pcm: bytes, width: int) -> "list[int] | array[int]":
    if width == 1:
        return [sample - 128 for sample in pcm]
    if width == 3:  # the two high bytes of each are precise enough
        high = bytearray(len(pcm) // 3 * 2)
        high[0::2] = pcm[1::3]
        high[1::2] = pcm[2::3]
        pcm = bytes(high)
    values = array("i" if width == 4 else "h", pcm)
    if sys.byteorder == "big":
        values.byteswap()
    return values
