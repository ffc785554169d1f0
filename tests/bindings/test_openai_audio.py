import io
import math
import wave
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any

import pytest

from fakes.binding_rig import open_operation
from fakes.openai_script import speech_pcm
from fakes.openai_server import FakeOpenAI
from greenroom.errors import BadRequest, BindingFailed
from greenroom.values import Audio, Role, SpeechText, Transcript


@pytest.fixture
async def fake() -> AsyncIterator[FakeOpenAI]:
    async with FakeOpenAI(speech_first_byte_s=0, speech_real_time=0, transcribe_s=0) as server:
        yield server


async def stream(*items: Any) -> AsyncIterator[Any]:
    for item in items:
        yield item


async def speak(fake: FakeOpenAI, *texts: str, **options: Any) -> list[Audio]:
    async with open_operation("openai", Role.TTS, {"base_url": fake.base_url, **options}) as voice:
        return [sound async for sound in voice.speak(stream(*map(SpeechText, texts)))]


def pcm_of(sounds: Sequence[Audio]) -> bytes:
    return b"".join(sound.pcm for sound in sounds)


@pytest.mark.parametrize("options", [{}, {"response_format": "wav"}, {"model": "fail:odd-bytes"}])
async def test_speech_arrives_whole_in_whole_frames(fake: FakeOpenAI, options: dict[str, Any]) -> None:
    sounds = await speak(fake, "Hello there.", **options)
    assert pcm_of(sounds) == speech_pcm("Hello there.")
    assert {(sound.sample_rate, sound.sample_width, sound.channels) for sound in sounds} == {(24_000, 2, 1)}
    assert all(len(sound.pcm) % 2 == 0 and 0 < sound.duration_ms <= 100 for sound in sounds)


async def test_a_wav_is_recognised_where_pcm_was_asked(fake: FakeOpenAI) -> None:
    assert pcm_of(await speak(fake, "Hello.", model="fail:wav-anyway")) == speech_pcm("Hello.")


async def test_the_first_bytes_pass_while_the_rest_is_made(fake: FakeOpenAI) -> None:
    fake.settings.speech_real_time = 1.0
    fake.settings.speech_piece_ms = 20
    async with open_operation("openai", Role.TTS, {"base_url": fake.base_url}) as voice:
        async with aclosing(voice.speak(stream(SpeechText("A sentence that takes a while to say.")))) as sounds:
            first = await anext(sounds)
        assert first.duration_ms <= 40
        await fake.exchanges[0].ended.wait()
        assert fake.exchanges[0].lost is not None


async def test_the_request_says_who_speaks_and_how(fake: FakeOpenAI) -> None:
    await speak(fake, "Hi.")
    async with open_operation(
        "openai", Role.TTS, {"base_url": fake.base_url, "speed": 1.5, "instructions": "whisper", "model": "m"}
    ) as voice:
        async for _ in voice.speak(stream(SpeechText("Hi.", voice="echo"))):
            pass
        assert {"nova", "echo"} <= {known.id for known in await voice.voices()}
    assert [exchange.body for exchange in fake.exchanges] == [
        {"model": "tts-1", "input": "Hi.", "voice": "nova", "response_format": "pcm"},
        {
            "model": "m",
            "input": "Hi.",
            "voice": "echo",
            "response_format": "pcm",
            "speed": 1.5,
            "instructions": "whisper",
        },
    ]


async def test_what_cannot_be_said_is_not_sent(fake: FakeOpenAI) -> None:
    assert await speak(fake, "...", "  ", "\u2014!") == []
    assert fake.exchanges == []
    assert pcm_of(await speak(fake, "One.", "...", "Two.")) == speech_pcm("One.") + speech_pcm("Two.")


async def test_a_text_longer_than_openai_takes_is_sent_in_parts(fake: FakeOpenAI) -> None:
    fake.settings.speech_s_per_character = 0.0001
    text = "This sentence is one of many that follow. " * 150
    await speak(fake, text)
    sent = [exchange.body["input"] for exchange in fake.exchanges]
    assert len(sent) == 2 and "".join(sent) == text and max(map(len, sent)) <= 4096
    assert sent[0].rstrip().endswith(".")


async def test_the_voices_are_those_of_the_model(fake: FakeOpenAI) -> None:
    for model, has in (("tts-1", False), ("gpt-4o-mini-tts", True)):
        options = {"base_url": fake.base_url, "model": model, "voice": "my own"}
        async with open_operation("openai", Role.TTS, options) as voice:
            known = {each.id for each in await voice.voices()}
        assert {"my own", "nova", "alloy"} <= known and ("marin" in known) is has


@pytest.mark.parametrize(
    ("failure", "sentence"),
    [
        ("mp3", "sent audio/mpeg although pcm was asked"),
        ("silent", "sent no sound"),
        ("html", "a web page, 'Log in' in place of speech"),
        ("json", "in place of speech"),
        ("cut", "cut off"),
        ("500", "status 500"),
        ("slow", "has sent nothing for 1 s"),
    ],
)
async def test_each_failure_of_speech_has_its_sentence(fake: FakeOpenAI, failure: str, sentence: str) -> None:
    with pytest.raises(BindingFailed, match=sentence):
        await speak(
            fake, "Hello there.", model=f"fail:{failure}", max_retries=0, read_timeout_s=1 if failure == "slow" else 60
        )


async def test_a_header_that_is_no_wav(fake: FakeOpenAI) -> None:
    with pytest.raises(BindingFailed, match="no WAV"):
        await speak(fake, "Hello there.", response_format="wav", model="fail:odd-bytes")


SPOKEN = Audio(bytes(range(256)) * 40, 16_000)


async def transcribe(fake: FakeOpenAI, *audio: Audio, hint: str = "", **options: Any) -> list[Transcript]:
    async with open_operation("openai", Role.STT, {"base_url": fake.base_url, **options}) as listener:
        return [transcript async for transcript in listener.transcribe(stream(*audio), hint)]


async def test_the_whole_utterance_is_sent_as_wav(fake: FakeOpenAI) -> None:
    half = len(SPOKEN.pcm) // 2
    pieces = (Audio(SPOKEN.pcm[:half], 16_000), Audio(SPOKEN.pcm[half:], 16_000))
    assert await transcribe(fake, *pieces, hint="Ada, Babbage") == [Transcript("hello there")]
    (exchange,) = fake.of("/audio/transcriptions")
    assert exchange.body == {
        "model": "gpt-4o",
        "language": "en",
        "prompt": "Ada, Babbage",
        "response_format": "json",
        "filename": "speech.wav",
    }
    with wave.open(io.BytesIO(exchange.file)) as file:
        assert (file.getframerate(), file.getsampwidth(), file.getnchannels()) == (16_000, 2, 1)
        assert file.readframes(file.getnframes()) == SPOKEN.pcm


async def test_partials_come_where_the_model_streams(fake: FakeOpenAI) -> None:
    assert await transcribe(fake, SPOKEN, stream=True) == [
        Transcript("hello", final=False),
        Transcript("hello there", final=False),
        Transcript("hello there"),
    ]


async def test_text_replies_are_read_too(fake: FakeOpenAI) -> None:
    assert await transcribe(fake, SPOKEN, response_format="text", language="") == [Transcript("hello there")]
    assert "language" not in fake.exchanges[0].body


async def test_a_newer_model_is_told_the_language_in_its_own_way(fake: FakeOpenAI) -> None:
    assert await transcribe(fake, SPOKEN, model="gpt-transcribe", language="de") == [Transcript("hello there")]
    body = fake.exchanges[0].body
    assert body["languages[]"] == "de" and "language" not in body


async def test_no_sound_is_an_empty_transcript(fake: FakeOpenAI) -> None:
    assert await transcribe(fake) == [Transcript("")]
    assert await transcribe(fake, Audio(b"\0" * 100, 16_000)) == [Transcript("")]
    assert fake.exchanges == []


async def test_a_format_that_changes_is_refused(fake: FakeOpenAI) -> None:
    with pytest.raises(BadRequest, match="changed in the middle"):
        await transcribe(fake, SPOKEN, Audio(SPOKEN.pcm, 48_000))


@pytest.mark.parametrize(
    ("failure", "sentence"),
    [
        ("html", "web page, 'Log in'"),
        ("json", "no transcript"),
        ("429", "try again in 7 s"),
        ("end", "cut off"),
        ("garbage", "no transcript"),
        ("error", "failed while transcribing: the backend ran out of memory"),
    ],
)
async def test_each_failure_of_recognition_has_its_sentence(fake: FakeOpenAI, failure: str, sentence: str) -> None:
    with pytest.raises(BindingFailed, match=sentence):
        await transcribe(fake, SPOKEN, model=f"fail:{failure}", max_retries=0)


def test_the_tone_of_the_fake_is_a_sine() -> None:
    samples = memoryview(speech_pcm("ab")).cast("h")
    assert len(samples) == 2880 and samples[30] == round(8000 * math.sin(math.pi / 2))
