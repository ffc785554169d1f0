"""The fish binding: its SDK and its live websocket against a server that speaks the service's wire."""

import asyncio
import io
import sys
import wave
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from e2e.visitor import pcm_of
from fakes.binding_rig import BINDINGS, Places, open_engines, open_operation
from fakes.fish_server import FakeFish, speech_pcm
from fakes.voice_turn import voice_turn
from greenroom.bindings.discovery import BindingShelf
from greenroom.errors import BadRequest, BindingFailed, Unavailable
from greenroom.values import Audio, Role, SpeechText, Transcript

KEY = "secret-of-the-test"
SOUND = Audio(bytes(range(256)) * 100, 16_000)


@pytest.fixture
async def fake() -> AsyncIterator[FakeFish]:
    async with FakeFish(key=KEY) as server:
        yield server


def keyed(fake: FakeFish, key: str = KEY) -> Places:
    return Places(secrets={("FISH_API_KEY", fake.base_url): key})


async def stream(*items: Any) -> AsyncIterator[Any]:
    for item in items:
        yield item


async def spoken(voice: Any, *texts: str) -> list[Audio]:
    return [item async for item in voice.speak(stream(*map(SpeechText, texts)))]


async def speak(fake: FakeFish, *texts: str, key: str = KEY, **options: Any) -> list[Audio]:
    async with open_operation("fish", Role.TTS, {"base_url": fake.base_url, **options}, keyed(fake, key)) as voice:
        return await spoken(voice, *texts)


async def transcribe(fake: FakeFish, *audio: Audio, key: str = KEY, **options: Any) -> list[Transcript]:
    async with open_operation("fish", Role.STT, {"base_url": fake.base_url, **options}, keyed(fake, key)) as ears:
        return [item async for item in ears.transcribe(stream(*audio), "Ada")]


def pcm(sounds: list[Audio]) -> bytes:
    return b"".join(sound.pcm for sound in sounds)


async def test_speech_arrives_whole_in_whole_frames(fake: FakeFish) -> None:
    sounds = await speak(fake, "Hello there, my friend.")
    assert pcm(sounds) == speech_pcm("Hello there, my friend.")
    assert {(sound.sample_rate, sound.sample_width, sound.channels) for sound in sounds} == {(44_100, 2, 1)}
    assert all(len(sound.pcm) % 2 == 0 for sound in sounds)


async def test_the_first_sound_does_not_wait_for_the_last_word(fake: FakeFish) -> None:
    written = asyncio.Event()

    async def writing() -> AsyncIterator[SpeechText]:
        for piece in ("Once ", "upon a time, "):
            yield SpeechText(piece)
        await written.wait()
        yield SpeechText("there was a fish.")

    async with (
        open_operation("fish", Role.TTS, {"base_url": fake.base_url}, keyed(fake)) as voice,
        aclosing(voice.speak(writing())) as sounds,
    ):
        first = await anext(sounds)
        (talk,) = fake.talks
        assert talk.texts == ["Once ", "upon a time, "] and not talk.stopped
        written.set()
        rest = [sound async for sound in sounds]
    assert pcm([first, *rest]) == speech_pcm("Once upon a time, there was a fish.")
    assert talk.texts == ["Once ", "upon a time, ", "there was a fish."] and talk.stopped


async def test_the_request_says_who_speaks_and_how(fake: FakeFish) -> None:
    await speak(fake, "Hello.")
    async with open_operation(
        "fish",
        Role.TTS,
        {"base_url": fake.base_url, "backend": "default", "normalize": True, "latency": "balanced", "speed": 1.5},
        keyed(fake),
    ) as voice:
        async for _ in voice.speak(stream(SpeechText("Hello.", voice="other"))):
            pass
    first, second = fake.talks
    assert (first.model, second.model) == ("speech-1.6", None)
    asked = first.request
    assert (asked["reference_id"], asked["format"], asked["normalize"], asked["latency"], asked["chunk_length"]) == (
        "c9198512a4164a18b11a3bf96e5c668f",
        "pcm",
        False,
        "normal",
        200,
    )
    assert asked["prosody"] is None and asked["sample_rate"] == 44_100
    assert (second.request["reference_id"], second.request["normalize"]) == ("other", True)
    assert second.request["prosody"] == {"speed": 1.5, "volume": 0.0}


async def test_what_cannot_be_said_is_not_sent(fake: FakeFish) -> None:
    assert await speak(fake, "...", " ", "\u2014") == []
    assert fake.talks == []


async def test_leaving_hangs_up_and_the_next_is_not_disturbed(fake: FakeFish) -> None:
    fake.hold = asyncio.Event()
    async with open_operation("fish", Role.TTS, {"base_url": fake.base_url}, keyed(fake)) as voice:
        async with aclosing(voice.speak(stream(SpeechText("A long story that nobody wants to hear.")))) as sounds:
            await anext(sounds)
        fake.hold.set()
        await fake.talks[0].ended.wait()
        assert pcm(await spoken(voice, "A short one.")) == speech_pcm("A short one.")
    await fake.until(lambda: not fake.open)


async def test_the_next_connection_is_ready(fake: FakeFish) -> None:
    async with open_operation("fish", Role.TTS, {"base_url": fake.base_url}, keyed(fake)) as voice:
        await fake.until(lambda: fake.opened == 1)
        for count in (1, 2, 3):
            await spoken(voice, "Hello.")
            assert len(fake.talks) == count
            await fake.until(lambda: len(fake.open) == 1)
        assert fake.opened == 4
        await fake.hang_up()
        await fake.until(lambda: not fake.open)
        assert pcm(await spoken(voice, "Still there.")) == speech_pcm("Still there.")


async def test_two_sessions_share_an_engine_and_speak_at_once(fake: FakeFish) -> None:
    async with open_engines(keyed(fake)) as engines:
        options = {"base_url": fake.base_url}
        one = await engines.load("fish", Role.TTS, options)
        two = await engines.load("fish", Role.TTS, {**options, "backend": "s1"})
        ears = await engines.load("fish", Role.STT, options)
        assert one.operation.engine is two.operation.engine
        fake.hold = asyncio.Event()
        both = [asyncio.create_task(spoken(each.operation, text)) for each, text in ((one, "Aaa."), (two, "Bbb."))]
        await fake.until(lambda: len(fake.talks) == 2)
        fake.hold.set()
        assert [pcm(sounds) for sounds in await asyncio.gather(*both)] == [speech_pcm("Aaa."), speech_pcm("Bbb.")]
        for loaded in (one, two, ears):
            await loaded.release()


@pytest.mark.parametrize(
    ("way", "sentence"),
    [
        ("mute", "sent no sound"),
        ("error", "could not speak this: bad voice"),
        ("garbage", "something that is no speech"),
        ("early", "was cut off"),
        ("dropped", "was cut off: out of memory"),
        ("cut", "was cut off: out of memory"),
        ("silent", "has sent nothing for 1 s"),
    ],
)
async def test_each_failure_of_speech_has_its_sentence(fake: FakeFish, way: str, sentence: str) -> None:
    with pytest.raises(BindingFailed, match=sentence):
        await speak(
            fake, "Hello there.", model_id=f"fail_{way}", max_retries=1, read_timeout_s=1 if way == "silent" else 60
        )
    assert len(fake.talks) == (1 if way in ("garbage", "cut") else 2), "only what was not heard is said again"


@pytest.mark.parametrize(
    ("status", "sentence", "retryable"),
    [
        (401, "refused the API key: check FISH_API_KEY", False),
        (402, "credit at .* is used up", False),
        (403, "does not allow this", False),
        (404, "does not have what was asked for", False),
        (429, "limits how often", True),
        (500, "failed with status 500", True),
        (302, "set base_url to where it really is", False),
    ],
)
async def test_each_refusal_has_its_sentence(fake: FakeFish, status: int, sentence: str, retryable: bool) -> None:
    fake.status = status
    for asking in (speak(fake, "Hello.", max_retries=0), transcribe(fake, SOUND, max_retries=0)):
        with pytest.raises(BindingFailed, match=sentence) as caught:
            await asking
        assert caught.value.retryable is retryable and KEY not in caught.value.message


async def test_a_hiccup_is_not_heard(fake: FakeFish) -> None:
    async with open_operation("fish", Role.TTS, {"base_url": fake.base_url}) as voice:
        fake.key = ""
        fake.statuses = [503]
        assert pcm(await spoken(voice, "Hello.")) == speech_pcm("Hello.")
    fake.statuses = [503]
    assert await transcribe(fake, SOUND) == [Transcript("hello there")]


@pytest.mark.parametrize("role", [Role.TTS, Role.STT])
async def test_it_waits_as_long_as_it_is_asked_to_or_says_how_long_that_is(fake: FakeFish, role: Role) -> None:
    async def call() -> list[Any]:
        async with open_operation("fish", role, {"base_url": fake.base_url, "max_retries": 5}) as operation:
            if role is Role.STT:
                return [item async for item in operation.transcribe(stream(SOUND), "")]
            return await spoken(operation, "Hello.")

    fake.key, fake.statuses, fake.retry_after = "", [429, 503], "0.01"
    assert await call() and fake.refused == 2
    fake.status, fake.retry_after = 429, "60"
    with pytest.raises(BindingFailed, match="try again in 60 s: refused") as caught:
        await call()
    assert caught.value.retryable and (caught.value.details or {})["retry_after_s"] == 60


async def test_no_key(fake: FakeFish) -> None:
    async with open_operation("fish", Role.TTS, {}) as voice:
        with pytest.raises(BindingFailed, match="none is configured for it: set FISH_API_KEY"):
            await spoken(voice, "Hello.")
        assert [each.id for each in await voice.voices()] == ["c9198512a4164a18b11a3bf96e5c668f"]
    with pytest.raises(BindingFailed, match="refused the API key"):
        await speak(fake, "Hello.", key="wrong")


async def test_the_environments_key_goes_nowhere_unasked(fake: FakeFish, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FISH_API_KEY", "key-of-the-environment")
    async with open_operation("fish", Role.STT, {"base_url": fake.base_url}) as ears:
        with pytest.raises(BindingFailed, match="set FISH_API_KEY") as caught:
            await anext(ears.transcribe(stream(SOUND), ""))
    assert "environment" not in caught.value.message


async def test_nobody_listens() -> None:
    async with FakeFish() as fake:
        base_url = fake.base_url
    async with open_operation("fish", Role.TTS, {"base_url": base_url, "max_retries": 0}) as voice:
        with pytest.raises(BindingFailed, match="cannot be reached"):
            await spoken(voice, "Hello.")
    async with open_operation("fish", Role.STT, {"base_url": base_url, "max_retries": 0}) as ears:
        with pytest.raises(BindingFailed, match="cannot be reached"):
            await anext(ears.transcribe(stream(SOUND), ""))


async def test_voices_are_ones_own_and_popular_ones(fake: FakeFish) -> None:
    async with open_operation(
        "fish", Role.TTS, {"base_url": fake.base_url, "model_id": "popular"}, keyed(fake)
    ) as voice:
        assert [(each.id, each.name, each.language) for each in await voice.voices()] == [
            ("popular", "Somebody", "en, zh"),
            ("mine", "My voice", "de"),
        ]


async def test_the_whole_utterance_is_sent_as_wav(fake: FakeFish) -> None:
    half = len(SOUND.pcm) // 2
    pieces = (Audio(SOUND.pcm[:half], 16_000), Audio(SOUND.pcm[half:], 16_000))
    assert await transcribe(fake, *pieces) == [Transcript("hello there")]
    assert await transcribe(fake, *pieces, language="") == [Transcript("hello there")]
    first, second = fake.heard
    assert (first["language"], first["ignore_timestamps"], "language" in second) == ("en", False, False)
    with wave.open(io.BytesIO(first["audio"])) as file:
        assert (file.getframerate(), file.getsampwidth(), file.getnchannels()) == (16_000, 2, 1)
        assert file.readframes(file.getnframes()) == SOUND.pcm


async def test_next_to_no_sound_is_no_words(fake: FakeFish) -> None:
    assert await transcribe(fake) == await transcribe(fake, Audio(bytes(100), 16_000)) == [Transcript("")]
    assert fake.heard == []


@pytest.mark.parametrize("answer", [b"<html><title>Log in</title></html>", b"{}", b"[]", b""])
async def test_an_answer_that_is_no_transcript(fake: FakeFish, answer: bytes) -> None:
    fake.asr_answer = answer
    with pytest.raises(BindingFailed, match="something that is no transcript"):
        await transcribe(fake, SOUND)


async def test_recognition_that_takes_too_long_and_one_that_is_left(fake: FakeFish) -> None:
    fake.asr_hold = asyncio.Event()
    with pytest.raises(BindingFailed, match="has sent nothing for 1 s"):
        await transcribe(fake, SOUND, read_timeout_s=1, max_retries=0)
    await fake.until(lambda: fake.lost == 1)
    fake.heard.clear()
    task = asyncio.create_task(transcribe(fake, SOUND))
    await fake.until(lambda: bool(fake.heard))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await fake.until(lambda: fake.lost == 2)


@pytest.mark.parametrize(
    "options",
    [{"latency": "fast"}, {"model_id": "a/b"}, {"backend": ""}, {"chunk_length": 9}, {"base_url": "api.fish.audio"}],
)
async def test_wrong_options_are_refused(options: dict[str, Any]) -> None:
    async with open_engines() as engines:
        with pytest.raises(BadRequest, match="option"):
            await engines.load("fish", Role.TTS, options)


async def test_a_missing_package_is_named_with_what_mends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fishaudio", None)
    async with open_engines() as engines:
        with pytest.raises((BindingFailed, Unavailable), match=r'pip install "greenroom\[fish\]"'):
            await engines.load("fish", Role.TTS, {})


def test_options_are_jaisons_and_only_the_owner_sets_where_it_connects() -> None:
    found = BindingShelf((BINDINGS,)).get("fish")
    tts = found.operation(Role.TTS).Options
    assert tts.model_validate({"backend": "default", "normalize": True, "latency": "balanced", "model_id": ""})
    defaults: Any = tts()
    assert (defaults.backend, defaults.normalize, defaults.latency) == ("speech-1.6", False, "normal")
    for role in found.card.roles:
        fields = found.operation(role).Options.model_json_schema()["properties"]
        assert fields["base_url"]["access"] == "owner"
        assert all(field.get("description") for field in fields.values())


async def test_a_whole_turn(fake: FakeFish, tmp_path: Path) -> None:
    operation = {"id": "fish", "base_url": fake.base_url}
    told = await voice_turn(tmp_path / "home", operation, {"FISH_API_KEY": KEY}, ears=operation)
    assert [each.data["content"] for each in told if each.name == "transcript"] == ["hello there"]
    said = [each.data["speech"] for each in told if each.name == "sentence"]
    assert pcm_of(told) == b"".join(map(speech_pcm, said))
