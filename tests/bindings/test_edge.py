"""The edge binding: edge-tts itself against a server that speaks the service's wire, and real MP3."""

import asyncio
import importlib
import itertools
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2e.promises import loudness
from e2e.visitor import pcm_of
from fakes.binding_rig import BINDINGS, open_engines, open_operation
from fakes.edge_server import WORD_MS, FakeEdge, decoded, speech_mp3
from fakes.voice_turn import voice_turn
from greenroom.bindings.discovery import BindingShelf
from greenroom.errors import BadRequest, BindingFailed, Unavailable
from greenroom.values import Audio, Role, SpeechText, WordTime

OPERATION: Any = BindingShelf((BINDINGS,)).get("edge").operation(Role.TTS)
mp3: Any = importlib.import_module(f"{OPERATION.__module__.rpartition('.')[0]}.mp3")


@pytest.fixture
async def fake() -> AsyncIterator[FakeEdge]:
    async with FakeEdge() as server:
        yield server


async def stream(*items: Any) -> AsyncIterator[Any]:
    for item in items:
        yield item


async def spoken(voice: Any, *texts: str) -> list[Audio | WordTime]:
    return [item async for item in voice.speak(stream(*map(SpeechText, texts)))]


async def speak(fake: FakeEdge, *texts: str, **options: Any) -> list[Audio | WordTime]:
    async with open_operation("edge", Role.TTS, {"base_url": fake.base_url, **options}) as voice:
        return await spoken(voice, *texts)


def pcm(items: list[Audio | WordTime]) -> bytes:
    return b"".join(item.pcm for item in items if isinstance(item, Audio))


def words(items: list[Audio | WordTime]) -> list[WordTime]:
    return [item for item in items if isinstance(item, WordTime)]


def said(text: str) -> bytes:
    return decoded(speech_mp3(text))


async def test_speech_arrives_whole(fake: FakeEdge) -> None:
    items = await speak(fake, "Hello there, my friend.", "...", "How are you?")
    assert pcm(items) == said("Hello there, my friend.") + said("How are you?")
    assert {(item.sample_rate, item.sample_width, item.channels) for item in items if isinstance(item, Audio)} == {
        (24_000, 2, 1)
    }
    assert loudness(pcm(items)) > 0.1
    assert fake.readings[0].config["outputFormat"] == "audio-24khz-48kbitrate-mono-mp3"


async def test_words_have_their_times_and_places(fake: FakeEdge) -> None:
    items = await speak(fake, "Say <it> & go.", " Go on.")
    first_ms = Audio(said("Say <it> & go."), 24_000).duration_ms
    assert [(word.text, word.offset, word.start_ms) for word in words(items)] == [
        ("Say", 0, 0),
        ("<it>", 4, WORD_MS),
        ("&", 9, 2 * WORD_MS),
        ("go", 11, 3 * WORD_MS),
        ("Go", 15, first_ms),
        ("on", 18, first_ms + WORD_MS),
    ]
    assert all(word.end_ms - word.start_ms == pytest.approx(WORD_MS - 40) for word in words(items))
    assert [one.text for one in fake.readings] == ["Say <it> & go.", "Go on."]


async def test_sound_comes_while_the_rest_is_made_and_leaving_hangs_up(fake: FakeEdge) -> None:
    fake.hold = asyncio.Event()
    async with open_operation("edge", Role.TTS, {"base_url": fake.base_url}) as voice:
        async with aclosing(voice.speak(stream(SpeechText("A sentence that takes a while to say.")))) as items:
            async for item in items:
                if isinstance(item, Audio):
                    break
            assert not fake.readings[0].whole
        await fake.readings[0].ended.wait()
        assert not fake.readings[0].whole
        fake.hold.set()
        assert pcm(await spoken(voice, "And on.")) == said("And on.")


async def test_the_request_says_who_speaks_and_how(fake: FakeEdge) -> None:
    await speak(fake, "Hello.", voice="de-DE-KatjaNeural", rate=20, pitch=-5, volume=-10)
    async with open_operation("edge", Role.TTS, {"base_url": fake.base_url}) as voice:
        for name in ("zh-CN-liaoning-XiaobeiNeural", "'/><evil"):
            async for _ in voice.speak(stream(SpeechText("Hello.", voice=name))):
                pass
    first, second, third = (one.ssml for one in fake.readings)
    assert "(de-DE, KatjaNeural)" in first
    assert "pitch='-5Hz' rate='+20%' volume='-10%'" in first
    assert "(zh-CN-liaoning, XiaobeiNeural)" in second
    assert "(en-US, EmmaMultilingualNeural)" in third and "evil" not in third


async def test_a_long_text_is_read_in_parts(fake: FakeEdge) -> None:
    text = "This sentence is one of many. " * 40
    items = await speak(fake, text)
    assert len(fake.readings) == 2
    assert all(text[word.offset :].startswith(word.text) for word in words(items))


async def test_two_sessions_share_an_engine_and_speak_at_once(fake: FakeEdge) -> None:
    async with open_engines() as engines:
        one = await engines.load("edge", Role.TTS, {"base_url": fake.base_url})
        two = await engines.load("edge", Role.TTS, {"base_url": fake.base_url, "rate": 10})
        assert one.operation.engine is two.operation.engine
        fake.hold = asyncio.Event()
        both = [asyncio.create_task(spoken(each.operation, text)) for each, text in ((one, "Aaa b."), (two, "Ccc d."))]
        await fake.until(lambda: len(fake.readings) == 2)
        fake.hold.set()
        assert [pcm(items) for items in await asyncio.gather(*both)] == [said("Aaa b."), said("Ccc d.")]
        for loaded in (one, two):
            await loaded.release()


async def test_two_servers_at_once(fake: FakeEdge) -> None:
    async with FakeEdge() as other:
        for server in (fake, other, fake):
            await speak(server, "Hello.")
        assert (len(fake.readings), len(other.readings)) == (2, 1)
    import edge_tts.communicate

    assert "127.0.0.1" not in edge_tts.communicate.WSS_URL, "the package itself still knows its own address"


@pytest.mark.parametrize(
    ("fail", "sentence", "attempts"),
    [
        ("mute", "sent no sound: is the voice right", 2),
        ("early", "sent no sound", 2),
        ("garbage", "something that is no speech", 1),
        ("nomp3", "something that is no MP3", 1),
        ("cut", "was cut off", 1),
        ("silent", "has sent nothing for 1 s", 2),
    ],
)
async def test_each_failure_of_speech_has_its_sentence(fake: FakeEdge, fail: str, sentence: str, attempts: int) -> None:
    fake.fail = fail
    with pytest.raises(BindingFailed, match=sentence):
        await speak(fake, "Hello there, you.", read_timeout_s=1 if fail == "silent" else 60)
    assert len(fake.readings) == attempts


@pytest.mark.parametrize(
    ("status", "sentence", "retryable"),
    [
        (403, "is this machine's clock right.*pip install -U edge-tts", False),
        (401, "wants an API key", False),
        (429, "limits how often", True),
        (500, "failed with status 500", True),
        (404, "does not have what was asked for", False),
    ],
)
async def test_each_refusal_has_its_sentence(fake: FakeEdge, status: int, sentence: str, retryable: bool) -> None:
    fake.status = status
    with pytest.raises(BindingFailed, match=sentence) as caught:
        await speak(fake, "Hello.", max_retries=0)
    assert caught.value.retryable is retryable


async def test_a_hiccup_is_not_heard(fake: FakeEdge) -> None:
    fake.statuses = [503]
    assert pcm(await speak(fake, "Hello.")) == said("Hello.")


async def test_a_connection_that_does_not_come_about_in_time(fake: FakeEdge, monkeypatch: pytest.MonkeyPatch) -> None:
    class Waiting:
        def __init__(self, *_: Any, **__: Any) -> None: ...

        async def stream(self) -> AsyncIterator[dict[str, Any]]:
            raise aiohttp.ConnectionTimeoutError("as the package lets it through")
            yield {}

    async with open_operation("edge", Role.TTS, {"base_url": fake.base_url, "max_retries": 0}) as voice:
        monkeypatch.setattr(voice.engine.sdk, "communicate", Waiting)
        with pytest.raises(BindingFailed, match="did not accept the connection in time"):
            await spoken(voice, "Hello.")


async def test_nobody_listens() -> None:
    async with FakeEdge() as fake:
        base_url = fake.base_url
    async with open_operation("edge", Role.TTS, {"base_url": base_url, "max_retries": 0}) as voice:
        with pytest.raises(BindingFailed, match="cannot be reached"):
            await spoken(voice, "Hello.")
        assert "en-US-EmmaMultilingualNeural" in [each.id for each in await voice.voices()]


async def test_voices_are_those_of_the_service(fake: FakeEdge) -> None:
    async with open_operation("edge", Role.TTS, {"base_url": fake.base_url}) as voice:
        assert [(each.id, each.name, each.language, each.gender) for each in await voice.voices()] == [
            ("en-US-EmmaMultilingualNeural", "EmmaMultilingual", "en-US", "female")
        ]
        fake.status = 500
        assert len(await voice.voices()) > 10


@given(st.lists(st.integers(0, 20_000), max_size=30))
def test_mp3_is_the_same_however_it_is_cut(cuts: list[int]) -> None:
    whole = speech_mp3("Cut me here.")
    places = sorted({0, len(whole), *(cut % (len(whole) + 1) for cut in cuts)})
    decoder = mp3.Mp3Decoder()
    made = b"".join(decoder.feed(whole[begin:end]) for begin, end in itertools.pairwise(places))
    assert made + decoder.end() == said("Cut me here.")


@pytest.mark.parametrize(
    "options",
    [{"voice": "Emma"}, {"voice": "en-US-x'Neural"}, {"rate": 900}, {"base_url": "https://example.com"}, {"speed": 1}],
)
async def test_wrong_options_are_refused(options: dict[str, Any]) -> None:
    async with open_engines() as engines:
        with pytest.raises(BadRequest, match="option"):
            await engines.load("edge", Role.TTS, options)


@pytest.mark.parametrize("name", ["edge_tts", "av"])
async def test_a_missing_package_is_named_with_what_mends_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    async with open_engines() as engines:
        with pytest.raises((BindingFailed, Unavailable), match=r'pip install "greenroom\[edge,encode\]"'):
            await engines.load("edge", Role.TTS, {})


def test_only_the_owner_sets_where_it_connects() -> None:
    fields = OPERATION.Options.model_json_schema()["properties"]
    assert fields["base_url"]["access"] == fields["proxy"]["access"] == "owner"
    assert all(field.get("description") for field in fields.values())


async def test_a_whole_turn(fake: FakeEdge, tmp_path: Path) -> None:
    told = await voice_turn(tmp_path / "home", {"id": "edge", "base_url": fake.base_url}, {})
    sentences = [each.data["speech"] for each in told if each.name == "sentence"]
    assert pcm_of(told) == b"".join(map(said, sentences))
