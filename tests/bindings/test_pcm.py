"""Conversion to 16 bit mono: the same sound under every cut, every format, nothing lost and nothing invented."""

import math
from array import array
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenroom.bindings.pcm import MonoConverter
from greenroom.errors import BadRequest
from greenroom.values import Audio

RATE = 16_000


def tone(rate: int, width: int, channels: int, seconds: float = 1, hertz: float = 440) -> Audio:
    frames = []
    for index in range(round(rate * seconds)):
        value = round(10000 * math.sin(2 * math.pi * hertz * index / rate))
        if width == 1:
            sample = bytes([(value >> 8) + 128])
        else:
            sample = (value << 8 * (width - 2)).to_bytes(width, "little", signed=True)
        frames.append(sample * channels)
    return Audio(b"".join(frames), rate, width, channels)


def converted(audio: Audio, *cuts: int) -> "array[int]":
    converter = MonoConverter(RATE)
    made = array("h")
    bounds = [0, *sorted(cuts), len(audio.pcm)]
    for start, end in pairwise(bounds):
        piece = Audio(audio.pcm[start:end], audio.sample_rate, audio.sample_width, audio.channels)
        made.frombytes(converter.feed(piece))
    return made


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 24000, 44100, 48000, 96000, 192000])
@pytest.mark.parametrize(("width", "channels"), [(2, 1), (1, 1), (3, 2), (4, 8)])
def test_a_tone_stays_what_it_is(rate: int, width: int, channels: int) -> None:
    if rate > 48000 and channels > 1:
        channels = 2
    made = converted(tone(rate, width, channels, seconds=0.5))
    assert abs(len(made) - RATE // 2) <= 3
    risings = sum(1 for before, after in pairwise(made) if before < 0 <= after)
    assert abs(risings - 220) <= 1
    assert 9500 < max(made) <= 10000 and -10300 <= min(made) < -9500


def test_channels_are_averaged() -> None:
    left_and_right = array("h", [1000, -3000] * 4 + [32767, 32767] + [-32768, -32768]).tobytes()
    made = converted(Audio(left_and_right, RATE, 2, 2))
    assert made.tolist() == [-1000] * 4 + [32767, -32768]


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from([8000, 16000, 22050, 44100, 48000]),
    st.sampled_from([(1, 1), (2, 1), (2, 2), (3, 2), (4, 3)]),
    st.lists(st.integers(0, 3000), max_size=12),
)
def test_every_cut_gives_the_same_sound(rate: int, form: tuple[int, int], cuts: list[int]) -> None:
    audio = tone(rate, *form, seconds=0.02)
    within = [min(cut, len(audio.pcm)) for cut in cuts]
    assert converted(audio, *within) == converted(audio)


def test_a_ragged_end_is_kept_for_the_next_piece_or_dropped() -> None:
    assert converted(Audio(b"\x01\x02\x03", RATE)) == array("h", [0x0201])
    assert not converted(Audio(b"", RATE))
    assert not converted(Audio(b"\x01", 48000, 2, 2))


def test_a_new_format_starts_anew() -> None:
    converter = MonoConverter(RATE)
    converter.feed(Audio(b"\x01\x02\x03", RATE))
    assert converter.feed(Audio(b"\x80\xff", RATE, 1)) == array("h", [0, 127 << 8]).tobytes()


@pytest.mark.parametrize(
    ("audio", "named"),
    [
        (Audio(b"", 0), "sample rate is 0"),
        (Audio(b"", 1_000_000), "sample rate"),
        (Audio(b"", RATE, 5), "sample width is 5"),
        (Audio(b"", RATE, 2, 0), "number of channels is 0"),
    ],
)
def test_no_sound_is_refused(audio: Audio, named: str) -> None:
    with pytest.raises(BadRequest, match=named):
        MonoConverter(RATE).feed(audio)
