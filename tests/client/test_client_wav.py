import io
import struct
import wave
from pathlib import Path

import pytest

from greenroom.client.answer import Answer
from greenroom.client.received import Missed, Received
from greenroom.client.wav import WavWriter, header, read_wav
from greenroom.errors import BadRequest
from greenroom.protocol import events
from greenroom.values import Audio


@pytest.mark.parametrize(("width", "channels", "frames"), [(2, 1, 100), (2, 2, 33), (1, 1, 7), (3, 1, 5), (4, 2, 9)])
def test_what_is_written_in_pieces_is_read_as_one(width: int, channels: int, frames: int, tmp_path: Path) -> None:
    pcm = bytes(index % 251 for index in range(width * channels * frames))
    path = tmp_path / "voice.wav"
    with path.open("wb") as file, WavWriter(file) as writer:
        for start in range(0, len(pcm), 2 * width * channels):
            writer.write(Audio(pcm[start : start + 2 * width * channels], 22050, width, channels))
    assert read_wav(path) == Audio(pcm, 22050, width, channels)
    assert path.stat().st_size == 44 + len(pcm) + len(pcm) % 2
    assert writer.duration_ms == pytest.approx(1000 * frames / 22050)


def test_an_unfinished_file_can_be_played_and_is_right_after_an_error() -> None:
    target = io.BytesIO()

    def interrupted() -> None:
        with WavWriter(target) as writer:
            writer.write(Audio(b"\0\0" * 10, 8000))
            assert target.getvalue()[4:8] == b"\xff\xff\xff\xff"
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert struct.unpack("<I", target.getvalue()[40:44]) == (20,)
    with wave.open(io.BytesIO(target.getvalue())) as file:
        assert file.getnframes() == 10


def test_one_file_holds_one_format() -> None:
    with WavWriter(io.BytesIO()) as writer:
        writer.write(Audio(b"\0\0", 8000))
        with pytest.raises(ValueError, match="one format"):
            writer.write(Audio(b"\0\0", 16000))


def test_a_target_that_cannot_seek_keeps_the_open_header() -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    target = Pipe()
    with WavWriter(target) as writer:
        writer.write(Audio(b"\1\0", 8000))
    assert target.getvalue()[40:44] == b"\xff\xff\xff\xff"


def test_more_than_four_gigabytes_are_of_unknown_length() -> None:
    assert header(Audio(b"", 48000), 5_000_000_000)[40:44] == b"\xff\xff\xff\xff"


@pytest.mark.parametrize(
    "data", [b"", b"RIFF", b"not sound at all, but long enough to be some", header(Audio(b"", 8000), 0)]
)
def test_what_is_no_sound_is_refused_with_a_sentence(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "question.wav"
    path.write_bytes(data)
    with pytest.raises(BadRequest, match=r"question\.wav"):
        read_wav(path)


def test_floating_point_sound_is_refused_with_what_works(tmp_path: Path) -> None:
    path = tmp_path / "float.wav"
    data = bytearray(header(Audio(b"", 8000, 4), 4) + b"\0\0\0\0")
    data[20:22] = b"\3\0"
    path.write_bytes(data)
    with pytest.raises(BadRequest, match="16 bit PCM"):
        read_wav(path)


def chunk(audio: Audio) -> Received:
    event = events.AudioChunk(
        job_id="j",
        index=0,
        part=0,
        audio=audio.pcm,
        sr=audio.sample_rate,
        sw=audio.sample_width,
        ch=audio.channels,
        t_ms=0,
        duration_ms=1,
        volumes=[],
    )
    return Received(event)


def test_an_answer_gathers_text_and_voice(tmp_path: Path) -> None:
    answer = Answer()
    assert (answer.voice, answer.wav) == (None, b"")
    answer.add(Received(events.TextChunk(chunk="Hel")))
    answer.add(chunk(Audio(b"\1\0", 8000)))
    answer.add(chunk(Audio(b"\2\0", 8000)))
    assert answer.text == "Hel"
    assert answer.voice == Audio(b"\1\0\2\0", 8000)
    answer.save(tmp_path / "voice.wav")
    assert read_wav(tmp_path / "voice.wav") == answer.voice
    assert answer.complete


def test_an_answer_tells_how_the_model_ended() -> None:
    answer = Answer()
    answer.add(Received(events.TextGenerated(text="Hello.", finish_reason="length", usage={"completion_tokens": 2})))
    answer.add(Received(events.JobFinished(job_id="j", job_type="response", success=True)))
    assert (answer.finish_reason, answer.usage) == ("length", {"completion_tokens": 2})


def test_an_answer_says_when_something_is_missing() -> None:
    answer = Answer()
    answer.add(Received(events.TextChunk(chunk="Hel")))
    answer.add(Received(Missed(from_seq=2, to_seq=3)))
    answer.add(Received(events.TextGenerated(text="Hello.")))
    assert not answer.complete
    assert answer.text == "Hello."
    other = Answer()
    other.add(chunk(Audio(b"\1\0", 8000)))
    other.add(chunk(Audio(b"\2\0", 16000)))
    assert not other.complete
    assert other.voice == Audio(b"\1\0", 8000)
