import asyncio
import sys
from pathlib import Path

import pytest

from fakes.sound_device import SoundDevice
from greenroom.client import read_wav
from greenroom.commandline.voice import Speaker, WavFile, open_speaker, sound_output
from greenroom.errors import Unavailable
from greenroom.values import Audio

HALF_A_SECOND = Audio(b"\1\0" * 4000, 8000)


async def test_the_speaker_plays_what_it_gets_and_says_when_it_is_through() -> None:
    device = SoundDevice()
    speaker = Speaker(device)
    speaker.play(HALF_A_SECOND)
    speaker.play(HALF_A_SECOND)
    ending = asyncio.create_task(speaker.finish())
    stream = device.streams[0]
    assert (stream.options["samplerate"], stream.options["channels"], stream.options["dtype"]) == (8000, 1, "int16")
    stream.pull(10_000)
    assert speaker.heard_ms == 625
    assert not ending.done()
    assert stream.pull(10_000) == b"\1\0" * 3000 + b"\0" * 4000
    await ending
    assert speaker.heard_ms == 1000
    speaker.close()
    assert stream.ended_by == "stop"
    assert not stream.running


async def test_silence_is_immediate() -> None:
    device = SoundDevice()
    speaker = Speaker(device)
    speaker.play(HALF_A_SECOND)
    device.streams[0].pull(4000)
    speaker.silence()
    await speaker.finish()
    speaker.play(HALF_A_SECOND)
    assert device.streams[0].pull(100) == b"\0" * 100
    assert speaker.heard_ms == 250
    speaker.close()
    assert device.streams[0].ended_by == "abort"


async def test_a_pause_in_the_stream_is_quiet() -> None:
    device = SoundDevice()
    speaker = Speaker(device)
    speaker.play(Audio(b"\1" * 10, 8000, 1))
    assert device.streams[0].pull(12) == b"\1" * 10 + b"\x80" * 2
    speaker.play(Audio(b"\2" * 10, 8000, 1))
    assert device.streams[0].pull(10) == b"\2" * 10
    await speaker.finish()
    speaker.close()


async def test_a_silent_answer_needs_no_device() -> None:
    device = SoundDevice()
    speaker = Speaker(device)
    await speaker.finish()
    speaker.close()
    assert device.streams == []
    assert speaker.heard_ms == 0


async def test_a_device_that_refuses() -> None:
    with pytest.raises(Unavailable, match="refuses this voice"):
        Speaker(SoundDevice(refuses=True)).play(HALF_A_SECOND)


def test_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", SoundDevice())
    assert sound_output()[1] == "sound comes from test output"
    assert open_speaker()[0] is not None
    monkeypatch.setitem(sys.modules, "sounddevice", SoundDevice(there=False))
    assert open_speaker() == (None, "this machine has no sound output device")
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert open_speaker()[0] is None


def test_a_file_is_made_with_the_first_sound(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    silent = WavFile(path)
    assert "no file was written" in silent.close()
    assert not path.exists()
    sink = WavFile(path)
    sink.play(HALF_A_SECOND)
    sink.silence()
    sink.play(HALF_A_SECOND)
    assert sink.close() == f"the voice is in {path} (0.5 s)"
    assert read_wav(path) == HALF_A_SECOND


def test_a_file_holds_one_format(tmp_path: Path) -> None:
    sink = WavFile(tmp_path / "a.wav")
    sink.play(HALF_A_SECOND)
    with pytest.raises(Unavailable, match="one format"):
        sink.play(Audio(b"\0\0", 16000))
    sink.close()
    assert read_wav(tmp_path / "a.wav") == HALF_A_SECOND
