"""Speech and transcription: every form of sound is made, read back, and understood."""

import base64
import io
import json
import struct
import sys
import wave
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal

import av
import httpx
import openai
import pytest

from fakes.flite import flite, word_errors
from fakes.openai_door import SCRIPTED_OPERATIONS, SPEAKING, Served, served, with_backend
from fakes.openai_server import FakeOpenAI
from greenroom.bindings.wav import wav_of
from greenroom.values import Audio, Role

Form = Literal["pcm", "wav", "mp3", "opus", "flac", "aac"]
FORMS: tuple[Form, ...] = ("pcm", "wav", "mp3", "opus", "flac", "aac")
CODECS = {"wav": "pcm_s16le", "mp3": "mp3float", "opus": "opus", "flac": "flac", "aac": "aac"}
SENTENCE = "please open the window and close the door"
OPERATIONS = [
    {"role": "t2t", "id": "eliza"},
    {"role": "tts", "id": "flite_voice"},
    {"role": "stt", "id": "pocketsphinx"},
]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Served]:
    async with served(tmp_path, OPERATIONS, bindings=SPEAKING) as running:
        yield running


@pytest.fixture
async def scripted(tmp_path: Path) -> AsyncIterator[Served]:
    async with served(tmp_path, SCRIPTED_OPERATIONS) as running:
        yield running


async def spoken(server: Served, form: Form, text: str = SENTENCE, **more: Any) -> bytes:
    async with (
        server.client() as client,
        client.audio.speech.with_streaming_response.create(
            model="tts-1", voice="alloy", input=text, response_format=form, **more
        ) as answer,
    ):
        return await answer.read()


def read(sound: bytes, form: Form) -> tuple[float, str]:
    """-> seconds, codec"""
    if form == "pcm":
        return len(sound) / 48_000, "pcm"
    with av.open(io.BytesIO(sound)) as container:
        name = container.streams.audio[0].codec_context.name
        return sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0)), str(name)


def text_as_sound(text: str) -> bytes:
    """A WAV that the scripted ears hear as this text."""
    return wav_of(Audio(text.encode().ljust(len(text) + len(text) % 2), 8000))


@pytest.mark.parametrize("form", FORMS)
async def test_every_form_of_speech_is_understood(server: Served, form: Form) -> None:
    sound = await spoken(server, form)
    seconds, codec = read(sound, form)
    assert codec == CODECS.get(form, "pcm")
    assert abs(seconds - flite(SENTENCE).duration_ms / 1000) < 0.15
    if form == "pcm":
        sound = wav_of(Audio(sound, 24_000))
    async with server.client() as client:
        heard = await client.audio.transcriptions.create(model="whisper-1", file=(f"speech.{form}", sound))
    assert word_errors(SENTENCE, heard.text) <= 1, heard.text


@pytest.mark.parametrize("speed", [0.25, 0.5, 2.0, 4.0])
async def test_speed_changes_how_long_it_takes(server: Served, speed: float) -> None:
    seconds, _ = read(await spoken(server, "wav", speed=speed), "wav")
    assert abs(seconds - flite(SENTENCE).duration_ms / 1000 / speed) < 0.15


async def test_a_voice_may_be_chosen(server: Served) -> None:
    plain = await spoken(server, "pcm", "Hello.")
    async with server.client() as client:
        voices: list[tuple[Any, bool]] = [("slt", True), ("Ron", False), ("nova", True), ({"id": "rms"}, False)]
        for voice, same in [*voices, ("greenroom", True)]:
            answer = await client.audio.speech.create(
                model="flite_voice", voice=voice, input="Hello.", response_format="pcm"
            )
            assert (answer.content == plain) is same, voice
        with pytest.raises(openai.BadRequestError, match="there are slt, rms") as refused:
            await client.audio.speech.create(model="tts-1", voice="darth", input="Hello.")
    assert refused.value.param == "voice"
    listed = (await server.http.get("/v1/audio/voices")).json()
    assert listed["voices"][1] == {"id": "rms", "name": "Ron", "language": "en-us", "gender": "male"}


@pytest.mark.parametrize("form", FORMS)
async def test_speech_is_sent_as_it_is_made(tmp_path: Path, form: Form) -> None:
    body = {"model": "tts-1", "input": "A sentence that takes a while to say. " * 5, "response_format": form}
    async with (
        FakeOpenAI(speech_first_byte_s=0, speech_real_time=0.5) as fake,
        served(tmp_path, with_backend(fake)) as server,
        server.http.stream("POST", "/v1/audio/speech", json=body) as answer,
    ):
        assert answer.status_code == 200
        async for piece in answer.aiter_raw():
            assert piece
            break
        assert len(fake.of("/audio/speech")) == 1, "the first sentence is not over"
        assert fake.of("/audio/speech")[0].finished is None


async def test_speech_as_events(server: Served) -> None:
    body = {"model": "tts-1", "input": SENTENCE, "response_format": "pcm", "stream_format": "sse"}
    async with server.http.stream("POST", "/v1/audio/speech", json=body) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        events = [json.loads(line.removeprefix("data: ")) async for line in answer.aiter_lines() if line]
    assert {event["type"] for event in events[:-1]} == {"speech.audio.delta"}
    assert events[-1]["type"] == "speech.audio.done"
    sound = b"".join(base64.b64decode(event["audio"]) for event in events[:-1])
    assert sound == await spoken(server, "pcm")


async def test_what_is_not_spoken_is_left_out(scripted: Served) -> None:
    async with scripted.client() as client:
        await client.audio.speech.create(
            model="tts-1", voice="alloy", input="*waves* Hello **you**. How are you?", response_format="pcm"
        )
    stage = await scripted.stage(Role.TTS)
    assert stage.spoken == ["Hello you.", "How are you?"]


async def test_a_character_lends_its_voice(tmp_path: Path) -> None:
    operations = [{"role": "t2t", "id": "eliza"}, {"role": "tts", "id": "espeak"}]
    async with served(tmp_path, operations) as server, server.client() as client:
        sounds = {}
        for model in ("tts-1", "english/companions/robin", "german/maerchen/brumm", "espeak"):
            answer = await client.audio.speech.create(
                model=model, voice="default", input="Hello.", response_format="wav"
            )
            with wave.open(io.BytesIO(answer.content)) as file:
                assert (file.getframerate(), file.getsampwidth(), file.getnchannels()) == (24_000, 2, 1)
            sounds[model] = len(answer.content)
        assert sounds["german/maerchen/brumm"] != sounds["tts-1"]
        voices = (await server.http.get("/v1/audio/voices", params={"model": "espeak"})).json()["voices"]
        assert len(voices) > 50 and {"id", "name", "language", "gender"} <= voices[0].keys()


async def test_without_pyav_plain_sound_still_works(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    with_av = await spoken(server, "wav")
    monkeypatch.setitem(sys.modules, "av", None)
    without = await spoken(server, "wav")
    assert abs(len(without) - len(with_av)) < 4800
    async with server.client() as client:
        heard = await client.audio.transcriptions.create(model="whisper-1", file=("a.wav", wav_of(flite(SENTENCE))))
        assert word_errors(SENTENCE, heard.text) <= 1
        for change in ({"response_format": "mp3"}, {"response_format": "wav", "speed": 2.0}):
            body = {"model": "tts-1", "input": SENTENCE, **change}
            answer = await server.http.post("/v1/audio/speech", json=body)
            assert answer.status_code == 503 and "greenroom[encode]" in answer.json()["error"]["message"]
            assert answer.headers["x-should-retry"] == "false"
        with pytest.raises(openai.InternalServerError, match=r"greenroom\[encode\]"):
            await client.audio.transcriptions.create(model="whisper-1", file=("a.mp3", b"ID3 something"))


async def test_a_voice_that_fails(tmp_path: Path) -> None:
    async with FakeOpenAI(speech_first_byte_s=0, speech_real_time=0) as fake:
        for kind, status in (("500", 503), ("silent", 503), ("cut", 200)):
            voice = {
                "role": "tts",
                "id": "openai",
                "base_url": fake.base_url,
                "model": f"fail:{kind}",
                "max_retries": 0,
            }
            async with served(tmp_path / kind, [voice]) as server:
                body = {"model": "tts-1", "input": "A sentence. " * 30, "response_format": "pcm"}
                if status == 200:
                    with pytest.raises(httpx.RemoteProtocolError):
                        await server.http.post("/v1/audio/speech", json=body)
                    events = await server.http.post("/v1/audio/speech", json={**body, "stream_format": "sse"})
                    last = events.text.strip().split("\n\n")[-1]
                    assert json.loads(last.removeprefix("data: "))["error"]["type"] == "server_error"
                else:
                    answer = await server.http.post("/v1/audio/speech", json=body)
                    assert answer.status_code == status and answer.json()["error"]["message"]


async def test_forms_of_a_transcript(scripted: Served) -> None:
    sound = text_as_sound("Hello there. Who are you?")
    seconds = len("Hello there. Who are you? ") / 2 / 8000
    async with scripted.client() as client:

        async def heard(form: Any, **more: Any) -> Any:
            return await client.audio.transcriptions.create(
                model="whisper-1", file=("a.wav", sound), response_format=form, **more
            )

        assert (await heard("json")).text == "Hello there. Who are you?"
        assert await heard("text") == "Hello there. Who are you?\n"
        verbose = await heard("verbose_json", language="en", timestamp_granularities=["segment"])
        assert (verbose.text, verbose.language) == ("Hello there. Who are you?", "en")
        assert abs(float(verbose.duration) - seconds) < 0.01
        assert [segment.text for segment in verbose.segments] == ["Hello there.", "Who are you?"]
        assert verbose.words is None and verbose.usage.seconds == 1
        by_word = await heard("verbose_json", timestamp_granularities=["word", "segment"])
        assert [one.word for one in by_word.words] == ["Hello", "there.", "Who", "are", "you?"]
        assert by_word.words[0].start == 0 and by_word.words[-1].end == by_word.duration
        srt = await heard("srt")
        assert srt.startswith("1\n00:00:00,000 --> 00:00:00,") and "\n2\n" in srt
        vtt = await heard("vtt")
        assert vtt.startswith("WEBVTT\n\n00:00:00.000 --> 00:00:00.")


async def test_a_transcript_as_it_comes(scripted: Served) -> None:
    async with scripted.client() as client:
        stream = await client.audio.transcriptions.create(
            model="gpt-4o-transcribe", file=("a.wav", text_as_sound("Hello there.")), stream=True
        )
        events = [event async for event in stream]
    assert [event.type for event in events] == ["transcript.text.delta", "transcript.text.done"]
    assert "".join(event.delta for event in events if event.type == "transcript.text.delta") == "Hello there."


async def test_the_pieces_of_a_transcript_are_the_transcript(server: Served) -> None:
    """Although the recogniser changes its mind about what it has heard."""
    sound = wav_of(flite(SENTENCE))
    async with server.client() as client:
        stream = await client.audio.transcriptions.create(model="whisper-1", file=("a.wav", sound), stream=True)
        events = [event async for event in stream]
    *pieces, last = events
    assert last.type == "transcript.text.done" and last.text
    assert "".join(event.delta for event in pieces if event.type == "transcript.text.delta") == last.text


async def test_a_transcript_that_only_grows_is_told_while_it_does(tmp_path: Path) -> None:
    said = "hello there my friend"
    async with FakeOpenAI(transcribe_s=0, transcript=said) as fake:
        ears = {"role": "stt", "id": "openai", "base_url": fake.base_url, "model": "whisper-fake", "stream": True}
        async with served(tmp_path, [*SCRIPTED_OPERATIONS[:2], ears]) as server, server.client() as client:
            stream = await client.audio.transcriptions.create(
                model="whisper-1", file=("a.wav", text_as_sound("x" * 4000)), stream=True
            )
            pieces = [event.delta async for event in stream if event.type == "transcript.text.delta"]
    assert len(pieces) > 1 and "".join(pieces) == said


def wav_head(rate: int) -> bytes:
    """Of a recording that claims so many samples a second."""
    form = struct.pack("<HHIIHH", 1, 1, rate, 2 * rate % 2**32, 2, 16)
    return b"RIFF\x24\0\0\0WAVEfmt " + struct.pack("<I", len(form)) + form


@pytest.mark.parametrize(
    ("data", "file", "param"),
    [
        ({"model": "whisper-1"}, None, "file"),
        ({"model": "whisper-1"}, b"", "file"),
        ({"model": "whisper-1"}, b"no sound at all", "file"),
        ({"model": "whisper-1"}, b"RIFF\x00\x00\x00\x00WAVEjunk", "file"),
        ({"model": "whisper-1"}, wav_head(1_845_501_760) + b"data\x10\0\0\0" + bytes(16), "file"),
        ({"model": "whisper-1"}, wav_head(16_000) + b"LIST\xff\xff\xff\x7f", "file"),
        ({}, b"x", "model"),
        ({"model": "whisper-1", "response_format": "midi"}, b"x", "response_format"),
        ({"model": "whisper-1", "stream": "perhaps"}, b"x", "stream"),
        ({"model": "whisper-1", "temperature": "warm"}, b"x", "temperature"),
        ({"model": "whisper-1", "temperature": "nan"}, b"x", "temperature"),
        ({"model": "whisper-1", "language": "en; rm"}, b"x", "language"),
        ({"model": "whisper-1", "timestamp_granularities[]": "letter"}, b"x", "timestamp_granularities"),
    ],
)
async def test_a_form_that_is_wrong(scripted: Served, data: dict[str, str], file: bytes | None, param: str) -> None:
    files = {"other": b"x"} if file is None else {"file": ("a.wav", file)}
    answer = await scripted.http.post("/v1/audio/transcriptions", data=data, files=files)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


async def test_a_body_that_is_no_form(scripted: Served) -> None:
    path = "/v1/audio/transcriptions"
    for content, kind in (
        (b"{}", "application/json"),
        (b"x", "multipart/form-data"),
        (b"--b\r\n", "multipart/form-data; boundary=b"),
    ):
        answer = await scripted.http.post(path, content=content, headers={"content-type": kind})
        assert answer.status_code == 400 and answer.json()["error"]["type"] == "invalid_request_error"
    quiet = wav_of(Audio(bytes(2 * 4000 * 301), 4000))
    long = await scripted.http.post(path, files={"file": quiet}, data={"model": "whisper-1"})
    assert long.status_code == 413 and long.json()["error"]["param"] == "file"
