"""Any PCM -> 16 bit mono at the rate that a recogniser wants, piece by piece, with the standard library alone.

To a lower rate each output sample is the mean of the time that it covers; to a higher one, the line between two input
samples. That is plain but enough for recognising speech; it is no resampler for listening.
"""

import sys
from array import array
from itertools import accumulate, pairwise

from greenroom.errors import BadRequest
from greenroom.values import Audio

SAMPLE_RATES = range(4000, 192_001)
SAMPLE_WIDTHS = range(1, 5)
CHANNELS = range(1, 33)


def check(audio: Audio) -> None:
    """:raises BadRequest: for a rate, width or number of channels that no sound has."""
    for name, value, known in (
        ("sample rate", audio.sample_rate, SAMPLE_RATES),
        ("sample width", audio.sample_width, SAMPLE_WIDTHS),
        ("number of channels", audio.channels, CHANNELS),
    ):
        if value not in known:
            raise BadRequest(f"the audio's {name} is {value}; wanted {known.start} to {known.stop - 1}")


class MonoConverter:
    """One stream. Bytes that are not yet a whole frame wait for the next piece; a change of format starts anew."""

    def __init__(self, sample_rate: int) -> None:
        self._rate = sample_rate
        self._format: tuple[int, int, int] | None = None
        self._bytes = b""
        self._waiting: list[int] = []
        self._phase = 0
        """where the next output sample begins, in input samples after the first waiting one, times the output rate"""

    def feed(self, audio: Audio) -> bytes:
        """-> 16 bit little-endian mono. :raises BadRequest: as :func:`check`."""
        check(audio)
        form = (audio.sample_rate, audio.sample_width, audio.channels)
        if form != self._format:
            self._format, self._bytes, self._waiting, self._phase = form, b"", [], 0
        data = self._bytes + audio.pcm
        whole = len(data) - len(data) % audio.frame_bytes
        self._bytes = data[whole:]
        samples = _mono(_samples(data[:whole], audio.sample_width), audio.channels)
        if audio.sample_rate > self._rate:
            samples = self._lower(samples, audio.sample_rate)
        elif audio.sample_rate < self._rate:
            samples = self._raise(samples, audio.sample_rate)
        if sys.byteorder == "big":
            samples.byteswap()
        return samples.tobytes()

    def _lower(self, samples: "array[int]", rate: int) -> "array[int]":
        source = self._waiting + samples.tolist()
        last = len(source) * self._rate - 1
        places = [divmod(at, self._rate) for at in range(self._phase, last + 1, rate)]
        if not places:
            self._waiting = source
            return array("h")
        sums = list(accumulate(source, initial=0))
        areas = [self._rate * sums[index] + rest * source[index] for index, rest in places]
        index, self._phase = places[-1]
        self._waiting = source[index:]
        return array("h", [(after - before) // rate for before, after in pairwise(areas)])

    def _raise(self, samples: "array[int]", rate: int) -> "array[int]":
        source = self._waiting + samples.tolist()
        end = (len(source) - 1) * self._rate
        made = [
            source[index] + (source[index + 1] - source[index]) * rest // self._rate
            for index, rest in (divmod(at, self._rate) for at in range(self._phase, end, rate))
        ]
        index, phase = divmod(self._phase + len(made) * rate, self._rate)
        self._waiting, self._phase = source[index:], phase
        return array("h", made)


def _samples(data: bytes, width: int) -> "array[int]":
    """Wider samples lose their lowest bytes."""
    if width == 1:
        return array("h", [(value - 128) << 8 for value in data])
    samples = array("h")
    if width == 2:
        samples.frombytes(data)
    else:
        upper = bytearray(len(data) // width * 2)
        upper[0::2] = data[width - 2 :: width]
        upper[1::2] = data[width - 1 :: width]
        samples.frombytes(bytes(upper))
    if sys.byteorder == "big":
        samples.byteswap()
    return samples


def _mono(samples: "array[int]", channels: int) -> "array[int]":
    if channels == 1:
        return samples
    sums = map(sum, zip(*(samples[channel::channels] for channel in range(channels)), strict=True))
    return array("h", [total // channels for total in sums])
