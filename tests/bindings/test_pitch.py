"""The pitch filter over real FFmpeg filters: height, length and joins measured, whatever the blocks."""

import asyncio
import itertools
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from e2e.promises import check_turn
from e2e.visitor import pcm_of, visitor
from fakes.binding_rig import BINDINGS, open_engines, open_operation
from fakes.server_process import running_server
from greenroom.bindings.discovery import BindingShelf
from greenroom.bindings.engines import parse_options
from greenroom.errors import BadRequest, Unavailable
from greenroom.values import Audio, Role

Samples = NDArray[np.float64]
ODD = (1, 7, 333, 1024, 4801, 12_345)
"""bytes in a block, over and over"""


def tone(rate: int, hertz: float, seconds: float, width: int = 2, channels: int = 1) -> Audio:
    """A sine at half of full scale; every further channel an octave higher."""
    at = np.arange(round(rate * seconds)) / rate
    wave = np.stack([0.5 * np.sin(2 * np.pi * hertz * 2**channel * at) for channel in range(channels)], axis=1)
    return Audio(encoded(wave.ravel(), width), rate, width, channels)


def encoded(wave: Samples, width: int) -> bytes:
    if width == 1:
        return (wave * 127 + 128).astype(np.uint8).tobytes()
    if width == 3:
        return (wave * 8_388_607).astype("<i4").view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
    return (wave * (32_767 if width == 2 else 2_147_483_647)).astype("<i2" if width == 2 else "<i4").tobytes()


def decoded(audio: list[Audio]) -> Samples:
    """-> ``[frames, channels]`` between -1 and 1"""
    pcm, width, channels = b"".join(piece.pcm for piece in audio), audio[0].sample_width, audio[0].channels
    if width == 1:
        wave = (np.frombuffer(pcm, np.uint8).astype(float) - 128) / 127
    elif width == 3:
        wide = np.zeros((len(pcm) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(pcm, np.uint8).reshape(-1, 3)
        wave = wide.view("<i4").ravel() / 2_147_483_647
    else:
        wave = np.frombuffer(pcm, "<i2" if width == 2 else "<i4") / (32_767 if width == 2 else 2_147_483_647)
    return wave.reshape(-1, channels)


def loudest_hertz(wave: Samples, rate: int) -> float:
    """Of the middle, away from both ends."""
    middle = wave[len(wave) // 5 : -len(wave) // 5]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle)), 8 * len(middle)))
    return float(np.argmax(spectrum) * rate / (8 * len(middle)))


async def blocks(audio: Audio, sizes: tuple[int, ...] = ODD) -> AsyncGenerator[Audio, None]:
    """Cut anywhere, in the middle of frames too."""
    at, size = 0, itertools.cycle(sizes)
    while at < len(audio.pcm):
        step = next(size)
        yield Audio(audio.pcm[at : at + step], audio.sample_rate, audio.sample_width, audio.channels)
        at += step


async def shifted(operation: Any, source: AsyncIterator[Audio]) -> list[Audio]:
    return [piece async for piece in operation.apply(source)]


def operation_type() -> Any:
    return BindingShelf((BINDINGS,)).get("pitch").operation(Role.FILTER_AUDIO)


def test_the_card_says_what_it_is() -> None:
    found = BindingShelf((BINDINGS,)).get("pitch")
    assert (found.status, found.card.roles, found.card.offline) == ("ready", (Role.FILTER_AUDIO,), True)


def test_nothing_heavy_is_imported_before_an_engine_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name == "av" or name.startswith("av.")]:
        monkeypatch.delitem(sys.modules, name)
    operation_type()
    assert "av" not in sys.modules


@pytest.mark.parametrize("semitones", [-24, -12, -7, -1, 0.5, 3, 12, 24])
@pytest.mark.parametrize(
    ("rate", "width", "channels"), [(24_000, 2, 1), (16_000, 4, 2), (44_100, 2, 2), (22_050, 4, 1), (8000, 1, 1)]
)
async def test_height_moves_and_length_stays(semitones: float, rate: int, width: int, channels: int) -> None:
    source = tone(rate, 330, 1.5, width, channels)
    async with open_operation("pitch", Role.FILTER_AUDIO, {"pitch_amount": semitones}) as pitch:
        made = await shifted(pitch, blocks(source))
    assert {(piece.sample_rate, piece.sample_width, piece.channels) for piece in made} == {(rate, width, channels)}
    assert all(len(piece.pcm) % piece.frame_bytes == 0 for piece in made)
    assert sum(len(piece.pcm) for piece in made) == len(source.pcm)
    wave = decoded(made)
    for channel in range(channels):
        wanted = 330 * 2 ** (channel + semitones / 12)
        if wanted < 0.45 * rate:
            assert loudest_hertz(wave[:, channel], rate) == pytest.approx(wanted, rel=0.012)


@pytest.mark.parametrize(("width", "channels"), [(3, 1), (3, 2), (2, 6)])
async def test_unusual_formats(width: int, channels: int) -> None:
    source = tone(48_000, 100, 1, width, channels)
    async with open_operation("pitch", Role.FILTER_AUDIO, {"pitch_amount": 5}) as pitch:
        made = await shifted(pitch, blocks(source))
    assert sum(len(piece.pcm) for piece in made) == len(source.pcm)
    for channel in range(channels):
        wanted = 100 * 2 ** (channel + 5 / 12)
        assert loudest_hertz(decoded(made)[:, channel], 48_000) == pytest.approx(wanted, rel=0.02)


@pytest.mark.parametrize("semitones", [-6, 4])
async def test_block_borders_are_not_heard(semitones: float) -> None:
    """However it is cut, the same sound comes out, and no step in it is steeper than the tone's own."""
    source = tone(24_000, 220, 2)
    async with open_operation("pitch", Role.FILTER_AUDIO, {"pitch_amount": semitones}) as pitch:
        whole = decoded(await shifted(pitch, blocks(source, (len(source.pcm),))))
        odd = decoded(await shifted(pitch, blocks(source)))
        tiny = decoded(await shifted(pitch, blocks(source, (240, 241))))
    assert np.array_equal(whole, odd) and np.array_equal(whole, tiny)
    own = 0.5 * 2 * np.pi * 220 * 2 ** (semitones / 12) / 24_000
    assert np.abs(np.diff(odd[2400:-2400, 0])).max() < 1.6 * own
    assert np.abs(odd).max() < 0.51


async def test_zero_passes_the_very_pieces_on() -> None:
    pieces = [piece async for piece in blocks(tone(16_000, 200, 0.2))]

    async def source() -> AsyncGenerator[Audio, None]:
        for piece in pieces:
            yield piece

    async with open_operation("pitch", Role.FILTER_AUDIO, {}) as pitch:
        assert await shifted(pitch, source()) == pieces


async def test_sound_comes_while_more_is_still_being_made() -> None:
    """The second half is only made once some of the first has left."""
    heard = asyncio.Event()
    first = tone(24_000, 200, 0.4)

    async def source() -> AsyncGenerator[Audio, None]:
        async for piece in blocks(first, (960,)):
            yield piece
        async with asyncio.timeout(30):
            await heard.wait()
        yield first

    made = 0
    async with (
        open_operation("pitch", Role.FILTER_AUDIO, {"pitch_amount": -3}) as pitch,
        aclosing(pitch.apply(source())) as out,
    ):
        async for piece in out:
            made += len(piece.pcm)
            heard.set()
    assert made == 2 * len(first.pcm)


async def test_several_streams_at_once_do_not_mix() -> None:
    async with open_engines() as engines:
        amounts = (-12, -5, 0, 4, 12)
        loaded = [await engines.load("pitch", Role.FILTER_AUDIO, {"pitch_amount": amount}) for amount in amounts]
        assert engines.open_count == 1
        sources = [tone(16_000, 300 + 20 * number, 1) for number in range(len(amounts))]
        made = await asyncio.gather(
            *(shifted(one.operation, blocks(source)) for one, source in zip(loaded, sources, strict=True))
        )
        for number, (amount, pieces) in enumerate(zip(amounts, made, strict=True)):
            wanted = (300 + 20 * number) * 2 ** (amount / 12)
            assert loudest_hertz(decoded(pieces)[:, 0], 16_000) == pytest.approx(wanted, rel=0.012)
        for one in loaded:
            await one.release()


async def test_one_operation_serves_two_streams_at_once() -> None:
    async with open_operation("pitch", Role.FILTER_AUDIO, {"pitch_amount": 7}) as pitch:
        low, high = await asyncio.gather(
            shifted(pitch, blocks(tone(16_000, 200, 1))), shifted(pitch, blocks(tone(24_000, 500, 1)))
        )
    assert loudest_hertz(decoded(low)[:, 0], 16_000) == pytest.approx(200 * 2 ** (7 / 12), rel=0.012)
    assert loudest_hertz(decoded(high)[:, 0], 24_000) == pytest.approx(500 * 2 ** (7 / 12), rel=0.012)


async def test_a_change_of_format_starts_a_new_stretch() -> None:
    first, second = tone(16_000, 200, 0.7), tone(24_000, 300, 0.9, 2, 2)

    async def source() -> AsyncGenerator[Audio, None]:
        async for piece in blocks(first):
            yield piece
        async for piece in blocks(second):
            yield piece

    async with open_operation("pitch", Role.FILTER_AUDIO, {"pitch_amount": 2}) as pitch:
        made = await shifted(pitch, source())
    by_rate = {rate: [piece for piece in made if piece.sample_rate == rate] for rate in (16_000, 24_000)}
    assert sum(len(piece.pcm) for piece in by_rate[16_000]) == len(first.pcm)
    assert sum(len(piece.pcm) for piece in by_rate[24_000]) == len(second.pcm)
    assert [piece.sample_rate for piece in made] == sorted(piece.sample_rate for piece in made)


@pytest.mark.parametrize("frames", [0, 1, 10, 500])
async def test_very_short_sound_keeps_its_length(frames: int) -> None:
    async with open_operation("pitch", Role.FILTER_AUDIO, {"pitch_amount": 12}) as pitch:
        made = await shifted(pitch, blocks(Audio(b"\1\2" * frames, 24_000)))
    assert sum(len(piece.pcm) for piece in made) == 2 * frames


async def test_silence_stays_silence() -> None:
    async with open_operation("pitch", Role.FILTER_AUDIO, {"pitch_amount": -3.5}) as pitch:
        for silence in (Audio(bytes(48_000), 24_000), Audio(b"\x80" * 24_000, 24_000, 1)):
            assert np.abs(decoded(await shifted(pitch, blocks(silence)))).max() == 0


async def test_closing_midway_closes_quietly() -> None:
    asked = 0

    async def endless() -> AsyncGenerator[Audio, None]:
        nonlocal asked
        while True:
            asked += 1
            yield tone(24_000, 200, 0.1)

    async with open_operation("pitch", Role.FILTER_AUDIO, {"pitch_amount": 1}) as pitch:
        async with aclosing(pitch.apply(endless())) as out:
            assert (await anext(out)).pcm
        before = asked
        assert len(await shifted(pitch, blocks(tone(24_000, 200, 0.3)))) > 0
        assert asked == before


async def test_the_loop_turns_while_much_is_filtered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The filters run in other threads than the loop's."""
    import threading

    import av.filter

    threads: set[int] = set()
    real = av.filter.Graph

    def noted() -> Any:
        threads.add(threading.get_ident())
        return real()

    monkeypatch.setattr(av.filter, "Graph", noted)
    async with open_operation("pitch", Role.FILTER_AUDIO, {"pitch_amount": 1}) as pitch:
        await shifted(pitch, blocks(tone(24_000, 200, 1), (48_000,)))
    assert threads and threading.get_ident() not in threads


async def test_it_is_far_faster_than_real_time(record_property: Any) -> None:
    """The figure is recorded; that the sound is whole is what is asserted."""
    source = tone(24_000, 200, 20)
    async with open_operation("pitch", Role.FILTER_AUDIO, {"pitch_amount": 4}) as pitch:
        began = time.perf_counter()
        made = await shifted(pitch, blocks(source, (960,)))
        record_property("times_real_time", round(20 / (time.perf_counter() - began)))
    assert sum(len(piece.pcm) for piece in made) == len(source.pcm)


@pytest.mark.parametrize("value", [25, -24.5, "high", float("nan"), None])
def test_amounts_out_of_range_are_refused(value: Any) -> None:
    with pytest.raises(BadRequest, match="pitch_amount"):
        parse_options(operation_type(), {"pitch_amount": value}, "pitch")


@pytest.mark.parametrize("value", [0, 2, "2", 1.5, -24])
def test_the_documents_examples_load(value: Any) -> None:
    assert parse_options(operation_type(), {"pitch_amount": value}, "pitch").model_dump() == {
        "pitch_amount": float(value)
    }


@pytest.mark.parametrize("audio", [Audio(b"\0\0", 100), Audio(b"\0" * 18, 16_000, 2, 9), Audio(b"\0" * 5, 16_000, 5)])
async def test_sound_of_no_format_is_refused(audio: Audio) -> None:
    async with open_operation("pitch", Role.FILTER_AUDIO, {"pitch_amount": 1}) as pitch:
        with pytest.raises(BadRequest):
            await shifted(pitch, blocks(audio))


async def test_a_missing_package_is_said_plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    monkeypatch.setitem(sys.modules, "av.filter", None)
    operation = operation_type()
    with pytest.raises(Unavailable, match=r'pip install "greenroom\[pitch\]"'):
        await operation.open_engine(operation.Options(), None)


async def test_a_turn_behind_espeak(tmp_path: Path) -> None:
    """The same words, an octave higher: as long, and with another spectrum."""
    text = "The lamp is lit. The door is open."
    sounds = []
    for amount in (0, 12):
        home = tmp_path / str(amount)
        home.mkdir()
        (home / "config.yaml").write_text(
            "turn: {audio_lead_ms: 0}\noperations:\n  - {role: t2t, id: eliza}\n  - {role: tts, id: espeak}\n"
            f"  - {{role: filter_audio, id: pitch, pitch_amount: {amount}}}\n",
            encoding="utf-8",
        )
        async with running_server(home) as server, visitor(server.url) as ana:
            told = await ana.run("say", text=text)
            check_turn(told)
            sounds.append(np.frombuffer(pcm_of(told), "<i2").astype(float))
    plain, higher = sounds
    assert len(higher) == pytest.approx(len(plain), rel=0.02)

    def center(wave: Samples) -> float:
        power = np.abs(np.fft.rfft(wave)) ** 2
        return float((power * np.arange(len(power))).sum() / power.sum() / len(power))

    assert center(higher) > 1.5 * center(plain)
