from math import pi, sin

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenroom.pipeline.loudness import LoudnessMeter, volumes


def tone(
    amplitude: float, duration_ms: int, sample_rate: int = 22050, sample_width: int = 2, channels: int = 1
) -> bytes:
    """A sine of 220 Hz, ``amplitude`` of full scale, the same on every channel."""
    frames = sample_rate * duration_ms // 1000
    peak = amplitude * (2 ** (8 * sample_width - 1) - 1)
    out = bytearray()
    for index in range(frames):
        sample = round(peak * sin(2 * pi * 220 * index / sample_rate))
        encoded = bytes([sample + 128]) if sample_width == 1 else sample.to_bytes(sample_width, "little", signed=True)
        out += encoded * channels
    return bytes(out)


@pytest.mark.parametrize("sample_rate", [8000, 11025, 16000, 22050, 24000, 44100, 48000])
@pytest.mark.parametrize("sample_width", [1, 2, 3, 4])
@pytest.mark.parametrize("channels", [1, 2])
def test_formats_agree(sample_rate: int, sample_width: int, channels: int) -> None:
    pcm = tone(0.5, 100, sample_rate, sample_width, channels) + tone(0.25, 100, sample_rate, sample_width, channels)
    values = volumes(pcm, sample_rate, sample_width, channels)
    assert len(values) in (10, 11)
    assert values[2] == pytest.approx(1.0, abs=0.1)
    assert values[7] == pytest.approx(0.5, abs=0.1)


def test_silence_is_zero() -> None:
    assert volumes(bytes(4410), 22050, 2, 1) == [0.0] * 5
    assert volumes(b"\x80" * 160, 8000, 1, 1) == [0.0]


def test_faint_noise_does_not_open_the_mouth() -> None:
    assert max(volumes(tone(0.001, 100), 22050, 2, 1)) < 0.02


@pytest.mark.parametrize("pcm", [b"", b"\x01", b"\x01\x02\x03"])
def test_odd_tails_are_ignored(pcm: bytes) -> None:
    assert volumes(pcm, 22050, 2, 2) == []
    assert len(volumes(tone(0.5, 40) + pcm, 22050, 2, 2)) == len(volumes(tone(0.5, 40), 22050, 2, 2))


def test_opposite_channels_do_not_cancel() -> None:
    sample = (10000).to_bytes(2, "little", signed=True) + (-10000).to_bytes(2, "little", signed=True)
    assert volumes(sample * 882, 44100, 2, 2) == [1.0]


@given(
    data=st.binary(max_size=4000),
    rate=st.sampled_from([8000, 11025, 22050]),
    width=st.integers(1, 4),
    channels=st.integers(1, 3),
    slice_ms=st.integers(1, 50),
    draw=st.data(),
)
def test_any_cutting_into_chunks_gives_the_same(
    data: bytes, rate: int, width: int, channels: int, slice_ms: int, draw: st.DataObject
) -> None:
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(data)), max_size=8)))
    meter = LoudnessMeter(rate, width, channels, slice_ms)
    values = [
        value
        for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)
        for value in meter.feed(data[start:end])
    ] + meter.finish()
    assert values == volumes(data, rate, width, channels, slice_ms)
    assert all(0 <= value <= 1 and round(value, 3) == value for value in values)


def test_slices_do_not_drift_where_one_is_no_whole_number_of_frames() -> None:
    assert len(volumes(bytes(2 * 11025 * 10), 11025, 2, 1)) == 500


@pytest.mark.parametrize(
    ("rate", "width", "channels", "slice_ms"), [(0, 2, 1, 20), (8000, 5, 1, 20), (8000, 2, 0, 20), (8000, 2, 1, 0)]
)
def test_an_impossible_format_is_refused(rate: int, width: int, channels: int, slice_ms: int) -> None:
    with pytest.raises(ValueError, match=r"positive|known"):
        LoudnessMeter(rate, width, channels, slice_ms)
