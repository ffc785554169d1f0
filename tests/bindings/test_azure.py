"""The azure binding's voice: the real SDK against a server that speaks the service's websocket protocol."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from e2e.visitor import pcm_of
from fakes.azure_server import FakeAzure, speech_pcm, text_of
from fakes.binding_rig import BINDINGS, Places, open_engines, open_operation
from fakes.voice_turn import voice_turn
from greenroom.bindings.discovery import BindingShelf
from greenroom.errors import BadRequest, BindingFailed, Unavailable
from greenroom.values import Audio, Role, SpeechText, Viseme, WordTime

KEY = "secret-of-the-test"


@pytest.fixture
async def fake() -> AsyncIterator[FakeAzure]:
    async with FakeAzure(key=KEY) as server:
        yield server


def keyed(fake: FakeAzure, key: str = KEY) -> Places:
    return Places(secrets={("AZURE_API_KEY", fake.host): key})


async def stream(*items: Any) -> AsyncIterator[Any]:
    for item in items:
        yield item


async def spoken(voice: Any, *texts: str) -> list[Audio | WordTime]:
    return [item async for item in voice.speak(stream(*map(SpeechText, texts)))]


async def speak(fake: FakeAzure, *texts: str, key: str = KEY, **options: Any) -> list[Audio | WordTime]:
    async with open_operation("azure", Role.TTS, {"host": fake.host, **options}, keyed(fake, key)) as voice:
        return await spoken(voice, *texts)


def pcm(items: list[Audio | WordTime]) -> bytes:
    return b"".join(item.pcm for item in items if isinstance(item, Audio))


def words(items: list[Audio | WordTime]) -> list[WordTime]:
    return [item for item in items if isinstance(item, WordTime)]


async def test_speech_arrives_whole_in_whole_frames(fake: FakeAzure) -> None:
    items = await speak(fake, "Hello, my friend.", "...", " How are you?")
    assert pcm(items) == speech_pcm("Hello, my friend. How are you?")
    assert {(item.sample_rate, item.sample_width) for item in items if isinstance(item, Audio)} == {(24_000, 2)}
    assert all(len(item.pcm) % 2 == 0 for item in items if isinstance(item, Audio))
    assert {one.output_format for one in fake.utterances} == {"raw-24khz-16bit-mono-pcm"}


async def test_words_and_mouth_shapes_count_through_the_call(fake: FakeAzure) -> None:
    times = words(await speak(fake, "Say <hello> & go.", " Go on."))
    assert [(word.text, word.offset, word.start_ms, word.end_ms) for word in times] == [
        ("Say", 0, 0, 150),
        ("<hello>", 4, 200, 350),
        ("&", 12, 400, 550),
        ("go", 14, 600, 750),
        ("Go", 18, 800, 950),
        ("on", 21, 1000, 1150),
    ]
    assert [word.visemes for word in times][:2] == [
        (Viseme(4, 0), Viseme(0, 100)),
        (Viseme(8, 200), Viseme(0, 300)),
    ]
    assert sum(len(word.visemes) for word in times) == 12


async def test_sound_comes_while_the_rest_is_made_and_leaving_stops_it(fake: FakeAzure) -> None:
    fake.hold = asyncio.Event()
    async with open_operation("azure", Role.TTS, {"host": fake.host}, keyed(fake)) as voice:
        async with aclosing(voice.speak(stream(SpeechText("A sentence that takes a while.")))) as items:
            assert isinstance(await anext(items), Audio)
            assert not fake.utterances[0].is_whole
        await fake.utterances[0].ended.wait()
        assert not fake.utterances[0].is_whole
        fake.hold.set()
        assert pcm(await spoken(voice, "And on.")) == speech_pcm("And on.")


async def test_a_text_is_a_text_and_the_manner_is_ssml(fake: FakeAzure) -> None:
    said = 'He said "</voice>" & left \x07 <break/>.'
    await speak(fake, said, style="cheerful", style_degree=1.5, rate=1.2, pitch=-10, volume=80)
    async with open_operation("azure", Role.TTS, {"host": fake.host}, keyed(fake)) as voice:
        async for _ in voice.speak(stream(SpeechText("Bonjour", language="fr-FR", voice="en-US-AvaMultilingual'"))):
            pass
    first, second = (ElementTree.fromstring(one.ssml) for one in fake.utterances)  # noqa: S314 -- our own
    assert "".join(first.itertext()) == said.replace("\x07", " ")
    assert [(node.tag.rpartition("}")[2], dict(node.attrib)) for node in first.iter()][1:] == [
        ("voice", {"name": "en-US-AshleyNeural"}),
        ("express-as", {"style": "cheerful", "styledegree": "1.5"}),
        ("prosody", {"rate": "1.2", "pitch": "-10%", "volume": "80"}),
    ]
    attributes = [dict(node.attrib) for node in second.iter()][1:]
    assert attributes[0] == {"name": "en-US-AvaMultilingual'"}
    assert list(attributes[1].values()) == ["fr-FR"]


async def test_what_stands_in_what_is_as_the_service_takes_it(fake: FakeAzure) -> None:
    """By its documents a style may hold a language, a language a prosody, and a prosody neither."""
    options = {"host": fake.host, "style": "cheerful", "rate": 1.2}
    async with open_operation("azure", Role.TTS, options, keyed(fake)) as voice:
        async for _ in voice.speak(stream(SpeechText("Bonjour", language="fr-FR"))):
            pass
    nodes = ElementTree.fromstring(fake.utterances[0].ssml).iter()  # noqa: S314 -- our own
    assert [node.tag.rpartition("}")[2] for node in nodes] == ["speak", "voice", "express-as", "lang", "prosody"]


async def test_a_long_text_is_cut_at_its_sentences(fake: FakeAzure) -> None:
    text = "This sentence is one of many that follow. " * 120
    times = words(await speak(fake, text))
    assert len(fake.utterances) == 2
    assert all(text_of(one.ssml).rstrip().endswith(".") for one in fake.utterances)
    assert all(text[word.offset :].startswith(word.text) for word in times)
    assert [word.start_ms for word in times] == sorted(word.start_ms for word in times)


async def test_a_connection_is_made_on_load_and_kept(fake: FakeAzure) -> None:
    async with open_operation("azure", Role.TTS, {"host": fake.host}, keyed(fake)) as voice:
        await fake.until(lambda: fake.opened == 1)
        for _ in range(3):
            await spoken(voice, "Again.")
        assert {one.connection for one in fake.utterances} == {1}
        await fake.hang_up()
        await fake.until(lambda: fake.open_count == 0)
        assert pcm(await spoken(voice, "And again.")) == speech_pcm("And again.")
    await fake.until(lambda: fake.open_count == 0)


async def test_two_sessions_share_an_engine_and_speak_at_once(fake: FakeAzure) -> None:
    async with open_engines(keyed(fake)) as engines:
        one = await engines.load("azure", Role.TTS, {"host": fake.host})
        two = await engines.load("azure", Role.TTS, {"host": fake.host, "voice": "de-DE-KatjaNeural"})
        assert one.operation.engine is two.operation.engine
        fake.hold = asyncio.Event()
        both = [
            asyncio.create_task(spoken(one.operation, "First of two.")),
            asyncio.create_task(spoken(two.operation, "Zweiter von zwei.")),
        ]
        await fake.until(lambda: len(fake.utterances) == 2)
        fake.hold.set()
        first, second = await asyncio.gather(*both)
        assert pcm(first) == speech_pcm("First of two.") and pcm(second) == speech_pcm("Zweiter von zwei.")
        for loaded in (one, two):
            await loaded.release()


@pytest.mark.parametrize(
    ("status", "sentence", "retryable"),
    [
        (401, "refused the key: check AZURE_API_KEY", False),
        (403, "refused the key", False),
        (404, "are region, host, endpoint right", False),
        (429, "limits how often", True),
        (500, "failed", True),
        (503, "not available", True),
    ],
)
async def test_each_refusal_has_its_sentence(fake: FakeAzure, status: int, sentence: str, retryable: bool) -> None:
    fake.status = status
    with pytest.raises(BindingFailed, match=sentence) as caught:
        await speak(fake, "Hello.", max_retries=0)
    assert caught.value.retryable is retryable
    assert KEY not in caught.value.message and "X-ConnectionId" not in caught.value.message


@pytest.mark.parametrize(
    ("fail", "sentence"),
    [("drop", "cut off: internal error"), ("refuse", "refused the request: Unsupported voice"), ("empty", "no sound")],
)
async def test_each_failure_of_speech_has_its_sentence(fake: FakeAzure, fail: str, sentence: str) -> None:
    fake.fail = fail
    with pytest.raises(BindingFailed, match=sentence):
        await speak(fake, "Hello there.")
    assert len(fake.utterances) == 1, "what was heard, and what is refused, is not said twice"


async def test_silence_has_an_end(fake: FakeAzure) -> None:
    fake.fail = "silent"
    async with open_operation(
        "azure", Role.TTS, {"host": fake.host, "read_timeout_s": 1, "max_retries": 1}, keyed(fake)
    ) as voice:
        with pytest.raises(BindingFailed, match="has sent nothing for 1 s") as caught:
            await spoken(voice, "Hello.")
        assert caught.value.retryable and len(fake.utterances) == 2
        fake.fail = ""
        assert pcm(await spoken(voice, "Hello.")) == speech_pcm("Hello.")


async def test_a_wrong_key_and_none(fake: FakeAzure) -> None:
    with pytest.raises(BindingFailed, match="refused the key") as caught:
        await speak(fake, "Hello.", key="wrong-key")
    assert "wrong-key" not in caught.value.message
    async with open_operation("azure", Role.TTS, {"host": fake.host}) as voice:
        with pytest.raises(BindingFailed, match="none is configured for it: set AZURE_API_KEY"):
            await spoken(voice, "Hello.")
    regional = Places(secrets={("AZURE_REGION", "wss://unknown.tts.speech.microsoft.com"): "WestEurope"})
    for options, places, sentence in (
        ({}, Places(), "no region of Azure is set: set AZURE_REGION"),
        ({}, regional, "none is set: set AZURE_API_KEY"),
        ({"region": "chinaeast2"}, regional, r"set host to wss://chinaeast2\.tts\.speech\.azure\.cn"),
    ):
        async with open_operation("azure", Role.TTS, options, places) as voice:
            with pytest.raises(BindingFailed, match=sentence):
                await spoken(voice, "Hello.")
            assert "en-US-AshleyNeural" in [each.id for each in await voice.voices()]


async def test_nobody_listens() -> None:
    async with FakeAzure() as gone:
        pass
    async with FakeAzure() as other:
        host = other.host
    assert gone is not other
    async with open_operation("azure", Role.TTS, {"host": host, "max_retries": 0}) as voice:
        with pytest.raises(BindingFailed, match="cannot be reached") as caught:
            await spoken(voice, "Hello.")
        assert caught.value.retryable
        assert await voice.voices()


async def test_voices_are_those_of_the_service(fake: FakeAzure) -> None:
    async with open_operation("azure", Role.TTS, {"host": fake.host}, keyed(fake)) as voice:
        assert [(each.id, each.name, each.language, each.gender) for each in await voice.voices()] == [
            ("en-US-AshleyNeural", "Ashley", "en-US", "female"),
            ("de-DE-KatjaNeural", "Katja", "de-DE", "female"),
        ]


@pytest.mark.parametrize(
    "options",
    [
        {"voice": ""},
        {"rate": 9},
        {"pitch": 99},
        {"style": "a'b"},
        {"region": "evil.com/"},
        {"host": "localhost:1"},
        {"host": "wss://user:pass@example.com"},
        {"tempo": 1},
    ],
)
async def test_wrong_options_are_refused(options: dict[str, Any]) -> None:
    async with open_engines() as engines:
        with pytest.raises(BadRequest, match="option"):
            await engines.load("azure", Role.TTS, options)


async def test_a_missing_package_is_named_with_what_mends_it(fake: FakeAzure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "azure.cognitiveservices.speech", None)
    async with open_engines(keyed(fake)) as engines:
        with pytest.raises((BindingFailed, Unavailable), match=r'pip install "greenroom\[azure\]"'):
            await engines.load("azure", Role.TTS, {"host": fake.host})


def test_only_the_owner_sets_where_it_connects() -> None:
    found = BindingShelf((BINDINGS,)).get("azure")
    assert found.card.roles == (Role.STT, Role.TTS)
    for role in found.card.roles:
        fields = found.operation(role).Options.model_json_schema()["properties"]
        assert fields["host"]["access"] == fields["endpoint"]["access"] == "owner"
        assert all(field.get("description") for field in fields.values())
    options = found.operation(Role.TTS).Options.model_validate({"voice": "en-US-AshleyNeural"})
    assert options == found.operation(Role.TTS).Options()


async def test_a_whole_turn(fake: FakeAzure, tmp_path: Path) -> None:
    fake.transcript = "what is for tea"
    operation = {"id": "azure", "host": fake.host}
    told = await voice_turn(tmp_path / "home", operation, {"AZURE_API_KEY": KEY}, ears=operation)
    assert [each.data["content"] for each in told if each.name == "transcript"] == ["what is for tea"]
    said = [each.data["speech"] for each in told if each.name == "sentence"]
    assert pcm_of(told) == b"".join(map(speech_pcm, said))
