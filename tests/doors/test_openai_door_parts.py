"""The small parts of OpenAI's door, each by itself."""

import io
import random
import wave
from collections.abc import AsyncIterator, Sequence
from itertools import pairwise
from pathlib import Path

import av
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from greenroom.bindings.roles import Effect, Engine, Options, TextFilter, Unit
from greenroom.doors.openai.failures import failure_of
from greenroom.doors.openai.generation import StopTexts
from greenroom.doors.openai.recording import decoded
from greenroom.doors.openai.sound import encoded
from greenroom.doors.openai.subtitles import segments, srt, words
from greenroom.errors import (
    BadRequest,
    BindingFailed,
    Busy,
    Cancelled,
    Conflict,
    Forbidden,
    GreenroomError,
    Internal,
    NotFound,
    Restarted,
    TooLarge,
    TooSlow,
    Unauthorized,
    Unavailable,
)
from greenroom.pipeline.annotations import text_stages
from greenroom.pipeline.chain import stacked
from greenroom.values import Audio, TextChunk


@example("aba", ["b", "aba"], None)
@given(st.text("abc", max_size=40), st.lists(st.text("abc", min_size=1, max_size=4), max_size=3), st.data())
def test_a_stop_text_ends_the_answer_however_it_is_cut(text: str, stops: list[str], data: st.DataObject | None) -> None:
    found = [(at + len(stop), at) for stop in stops if (at := text.find(stop)) >= 0]
    cutter = StopTexts(stops)
    said, at = "", 0
    while at < len(text) and not cutter.found:
        size = data.draw(st.integers(1, 5)) if data is not None else 5
        said += cutter.feed(text[at : at + size])
        at += size
    said += cutter.finish()
    assert said == (text[: min(found)[1]] if found else text)
    assert cutter.found == bool(found)


class Upper(TextFilter[Engine]):
    unit = Unit.SENTENCE

    async def apply(self, text: AsyncIterator[TextChunk]) -> AsyncIterator[TextChunk]:
        async for chunk in text:
            yield TextChunk(f"<{chunk.text.upper()}>")


class Note(Upper):
    effect = Effect.ANNOTATE


async def test_filters_that_judge_sentences_get_sentences_and_annotators_are_left_out() -> None:
    async def spoken() -> AsyncIterator[TextChunk]:
        for word in ("Hello", " there", ". I", " am here."):
            yield TextChunk(word)

    filters = [Note(Engine(), Options()), Upper(Engine(), Options())]
    async with stacked(spoken(), text_stages(filters)) as chunks:
        assert [chunk.text async for chunk in chunks] == ["<HELLO THERE.>", "< I AM HERE.>"]


def test_sentences_share_the_time_of_a_recording() -> None:
    found = segments("Hello there. Who is it?", 60 * 61)
    assert [one.text for one in found] == ["Hello there.", "Who is it?"]
    assert found[0].start_s == 0 and found[0].end_s == found[1].start_s and found[1].end_s == 3660
    assert srt(found).endswith(" --> 01:01:00,000\nWho is it?\n\n")
    assert segments("", 1) == []


def test_words_share_the_time_of_their_sentence() -> None:
    found = words(segments("Go on. Who is it?", 14))
    assert [one["word"] for one in found] == ["Go", "on.", "Who", "is", "it?"]
    assert found[0]["start"] == 0 and found[-1]["end"] == 14
    assert all(one["end"] == after["start"] for one, after in pairwise(found))
    assert words([]) == []


def tone(rate: int, width: int, channels: int, seconds: float = 0.5) -> list[Audio]:
    frame = bytes([0x80] if width == 1 else [0] * (width - 1) + [16]) * channels
    whole = frame * round(rate * seconds)
    step = 700 * len(frame)
    return [Audio(whole[at : at + step], rate, width, channels) for at in range(0, len(whole), step)]


async def sound(pieces: Sequence[Audio], form: str, *, with_av: bool = True, speed: float = 1.0) -> bytes:
    async def stream() -> AsyncIterator[Audio]:
        for piece in pieces:
            yield piece

    return b"".join([data async for data in encoded(stream(), form, speed, av if with_av else None)])


@pytest.mark.parametrize("with_av", [True, False])
@pytest.mark.parametrize(("rate", "width", "channels"), [(24_000, 2, 1), (8000, 1, 1), (48_000, 3, 2), (44_100, 4, 2)])
async def test_any_sound_becomes_what_openai_sends(rate: int, width: int, channels: int, with_av: bool) -> None:
    made = await sound(tone(rate, width, channels), "pcm", with_av=with_av)
    assert abs(len(made) - 24_000) < 500


async def test_a_format_that_changes_on_the_way_loses_nothing() -> None:
    made = await sound([*tone(8000, 2, 1), *tone(48_000, 2, 2), *tone(24_000, 2, 1)], "flac")
    with av.open(io.BytesIO(made)) as container:
        samples = sum(frame.samples for frame in container.decode(audio=0))
    assert abs(samples - 36_000) < 500


async def test_a_stream_of_wav_says_no_length_and_is_read_all_the_same() -> None:
    made = await sound(tone(24_000, 2, 1), "wav")
    with wave.open(io.BytesIO(made)) as file:
        assert (file.getframerate(), file.getsampwidth(), file.getnchannels()) == (24_000, 2, 1)
    assert abs((await decoded(made, 10)).duration_ms - 500) < 1
    assert await sound([], "wav") == b"", "no head without a sound"


@pytest.mark.parametrize("form", ["mp3", "opus", "flac", "aac"])
async def test_a_recording_in_any_form_is_read(form: str) -> None:
    read = await decoded(await sound(tone(16_000, 2, 1, 2), form), 10)
    assert (read.sample_rate, read.sample_width, read.channels) == (16_000, 2, 1)
    assert abs(read.duration_ms - 2000) < 100


@pytest.mark.parametrize("form", ["mp3", "opus", "flac", "aac"])
async def test_a_recording_that_was_cut_off_is_taken_as_far_as_it_goes(form: str) -> None:
    noise = Audio(random.Random(1).randbytes(4 * 48_000), 24_000)
    whole = await sound([noise], form)
    heard = await decoded(whole[: len(whole) * 2 // 3], 10)
    assert 1000 < heard.duration_ms < 3900


async def test_a_recording_that_is_too_long_is_not_read_to_its_end() -> None:
    made = await sound(tone(16_000, 2, 1, 3), "mp3")
    with pytest.raises(TooLarge, match="at most 2 s"):
        await decoded(made, 2)


async def test_a_recording_leads_nowhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list of files is no recording, although the library would open what it names."""
    with wave.open(str(tmp_path / "secret.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(bytes(32_000))
    monkeypatch.chdir(tmp_path)
    lists = (
        b"ffconcat version 1.0\nfile secret.wav\n",
        b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nsecret.wav\n#EXT-X-ENDLIST\n",
        b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 9 RTP/AVP 0\n",
    )
    for made in lists:
        with pytest.raises(BadRequest, match="cannot be read as a recording"):
            await decoded(made, 10)


async def test_a_recording_of_crumbs_is_not_read() -> None:
    made = b"RIFF\0\0\0\0WAVE" + b"junk\0\0\0\0" * 300_000
    with pytest.raises(BadRequest, match="chunks before its sound"):
        await decoded(made, 10)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (BadRequest("x"), 400),
        (Unauthorized("x"), 401),
        (Forbidden("x"), 403),
        (NotFound("x"), 404),
        (Conflict("x"), 409),
        (Busy("x"), 429),
        (TooLarge("x"), 413),
        (Unavailable("x"), 503),
        (BindingFailed("x"), 502),
        (BindingFailed("x", retryable=True), 503),
        (BindingFailed("x", retryable=True, details={"status": 429, "retry_after_s": 0.2}), 429),
        (Cancelled("x"), 409),
        (Restarted("x"), 503),
        (TooSlow("x"), 503),
        (Internal("x"), 500),
        (GreenroomError("x"), 500),
    ],
)
def test_every_error_has_its_status(error: GreenroomError, status: int) -> None:
    failure = failure_of(error)
    assert failure.status == status and failure.message == "x" and failure.type
    assert ("retry-after" in failure.headers) == (status == 429)


def test_no_error_of_the_tree_is_forgotten() -> None:
    for kind in GreenroomError.__subclasses__():
        if kind.__module__ == GreenroomError.__module__ and kind is not Internal:
            assert failure_of(kind("x")).status != 500, kind
