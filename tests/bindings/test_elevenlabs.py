"""The elevenlabs binding: its SDK and its websocket against a server that speaks the service's wire."""

import asyncio
import importlib
import itertools
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2e.visitor import pcm_of
from fakes.binding_rig import BINDINGS, Places, open_engines, open_operation
from fakes.elevenlabs_server import FakeEleven, failing_voice, speech_pcm
from fakes.voice_turn import voice_turn
from greenroom.bindings.discovery import BindingShelf
from greenroom.errors import BadRequest, BindingFailed, Unavailable
from greenroom.values import Audio, Role, SpeechText, WordTime

KEY = "secret-of-the-test"
OPERATION: Any = BindingShelf((BINDINGS,)).get("elevenlabs").operation(Role.TTS)
words_module: Any = importlib.import_module(f"{OPERATION.__module__.rpartition('.')[0]}.words")


@pytest.fixture
async def fake() -> AsyncIterator[FakeEleven]:
    async with FakeEleven(key=KEY) as server:
        yield server


def keyed(fake: FakeEleven, key: str = KEY) -> Places:
    return Places(secrets={("ELEVENLABS_API_KEY", fake.base_url): key})


async def stream(*items: Any) -> AsyncIterator[Any]:
    for item in items:
        yield item


async def spoken(voice: Any, *texts: str) -> list[Audio | WordTime]:
    return [item async for item in voice.speak(stream(*map(SpeechText, texts)))]


async def speak(fake: FakeEleven, *texts: str, key: str = KEY, **options: Any) -> list[Audio | WordTime]:
    async with open_operation(
        "elevenlabs", Role.TTS, {"base_url": fake.base_url, **options}, keyed(fake, key)
    ) as voice:
        return await spoken(voice, *texts)


def pcm(items: list[Audio | WordTime]) -> bytes:
    return b"".join(item.pcm for item in items if isinstance(item, Audio))


def words(items: list[Audio | WordTime]) -> list[WordTime]:
    return [item for item in items if isinstance(item, WordTime)]


async def test_speech_arrives_whole_in_whole_frames(fake: FakeEleven) -> None:
    items = await speak(fake, "Hello there, ", "my fri", "end.")
    assert pcm(items) == speech_pcm("Hello there, my friend.")
    assert all(len(item.pcm) % 2 == 0 and item.sample_rate == 24_000 for item in items if isinstance(item, Audio))


async def test_words_have_their_times_and_places(fake: FakeEleven) -> None:
    times = words(await speak(fake, "Hello, my ", "dearest friend."))
    assert times == [
        WordTime("Hello,", 0, 60, 0),
        WordTime("my", 60, 80, 7),
        WordTime("dearest", 80, 150, 10),
        WordTime("friend.", 150, 220, 18),
    ]


async def test_words_have_their_times_in_either_spelling(fake: FakeEleven) -> None:
    usual = words(await speak(fake, "Hello, my dearest friend."))
    fake.spelling = "charsDurationsMs"
    assert words(await speak(fake, "Hello, my dearest friend.")) == usual != []
    fake.spelling = "unheardOf"
    assert words(await speak(fake, "Hello, my dearest friend.")) == []


async def test_it_says_how_long_it_is_asked_to_wait(fake: FakeEleven) -> None:
    async with open_operation("elevenlabs", Role.TTS, {"base_url": fake.base_url, "max_retries": 5}) as voice:
        fake.key, fake.status, fake.retry_after = "", 429, "60"
        with pytest.raises(BindingFailed, match="try again in 60 s: refused"):
            await anext(voice.speak(stream(SpeechText("Hello."))))
        assert fake.refused == 1


async def test_the_first_sound_does_not_wait_for_the_last_word(fake: FakeEleven) -> None:
    written = asyncio.Event()

    async def writing() -> AsyncIterator[SpeechText]:
        for piece in ("Once ", "upon a time,"):
            yield SpeechText(piece)
        await written.wait()
        yield SpeechText(" there was a voice.")

    async with (
        open_operation("elevenlabs", Role.TTS, {"base_url": fake.base_url}, keyed(fake)) as voice,
        aclosing(voice.speak(writing())) as items,
    ):
        first = [item async for item in _until_audio(items)]
        (told,) = fake.streams
        assert "".join(told.texts) == "Once upon a time, " and not told.finished
        written.set()
        rest = [item async for item in items]
    assert pcm([*first, *rest]) == speech_pcm("Once upon a time, there was a voice.")


async def _until_audio(items: AsyncIterator[Audio | WordTime]) -> AsyncIterator[Audio | WordTime]:
    async for item in items:
        yield item
        if isinstance(item, Audio):
            return


async def test_the_request_says_who_speaks_and_how(fake: FakeEleven) -> None:
    await speak(fake, "Hello.")
    items = await speak(
        fake,
        "Hallo.",
        voice="mine",
        model="eleven_multilingual_v2",
        stability=0.3,
        similarity_boost=0.9,
        style=0.2,
        speed=1.1,
        speaker_boost=False,
        language="de",
        output_format="pcm_16000",
    )
    assert pcm(items) == speech_pcm("Hallo.", 16_000)
    first, second = fake.streams
    assert (first.voice, second.voice) == ("JBFqnCBsd6RMkjVDRZzb", "abcdefghij0123456789")
    assert first.query == {
        "model_id": "eleven_flash_v2_5",
        "output_format": "pcm_24000",
        "sync_alignment": "true",
        "inactivity_timeout": "180",
    }
    assert (second.query["model_id"], second.query["language_code"]) == ("eleven_multilingual_v2", "de")
    assert second.settings == {
        "stability": 0.3,
        "similarity_boost": 0.9,
        "style": 0.2,
        "use_speaker_boost": False,
        "speed": 1.1,
    }


async def test_voices_by_name_or_id(fake: FakeEleven) -> None:
    async with open_operation("elevenlabs", Role.TTS, {"base_url": fake.base_url}, keyed(fake)) as voice:
        assert [(each.id, each.name, each.language, each.gender) for each in await voice.voices()] == [
            ("JBFqnCBsd6RMkjVDRZzb", "George - Warm", "en", "male"),
            ("abcdefghij0123456789", "Mine", "de", "female"),
        ]
        for name in ("Mine", "abcdefghij0123456789", "george"):
            async for _ in voice.speak(stream(SpeechText("Hello.", voice=name))):
                pass
        with pytest.raises(BindingFailed, match=r"has no voice .Nobody.; some that it has: .*Mine"):
            async for _ in voice.speak(stream(SpeechText("Hello.", voice="Nobody"))):
                pass
    assert [one.voice[:4] for one in fake.streams] == ["abcd", "abcd", "JBFq"]
    assert fake.lists == 2, "two pages, asked for once"


async def test_models_are_the_accounts(fake: FakeEleven) -> None:
    found = BindingShelf((BINDINGS,)).get("elevenlabs")
    options = OPERATION.Options.model_validate({"base_url": fake.base_url})
    listed = await OPERATION.models(options, keyed(fake).place(found))
    assert [model.name for model in listed] == ["eleven_flash_v2_5"]
    assert await OPERATION.models(options, Places().place(found)) == ()
    fake.status = 500
    assert await OPERATION.models(options, keyed(fake).place(found)) == ()


async def test_what_cannot_be_said_is_not_sent(fake: FakeEleven) -> None:
    assert await speak(fake, "...", " ", "\u2014") == []
    assert fake.streams == []


async def test_leaving_hangs_up_and_the_next_is_not_disturbed(fake: FakeEleven) -> None:
    fake.hold = asyncio.Event()
    async with open_operation("elevenlabs", Role.TTS, {"base_url": fake.base_url}, keyed(fake)) as voice:
        async with aclosing(voice.speak(stream(SpeechText("A long story that nobody wants to hear.")))) as items:
            async for _ in _until_audio(items):
                pass
        fake.hold.set()
        await fake.streams[0].ended.wait()
        assert pcm(await spoken(voice, "A short one.")) == speech_pcm("A short one.")
    await fake.until(lambda: not fake.open)


async def test_the_next_connection_is_ready(fake: FakeEleven) -> None:
    async with open_operation("elevenlabs", Role.TTS, {"base_url": fake.base_url}, keyed(fake)) as voice:
        await fake.until(lambda: fake.opened == 1)
        for _ in range(3):
            await spoken(voice, "Hello.")
            await fake.until(lambda: len(fake.open) == 1)
        assert fake.opened == 4
        await fake.hang_up()
        await fake.until(lambda: not fake.open)
        assert pcm(await spoken(voice, "Still there.")) == speech_pcm("Still there.")


async def test_two_sessions_share_an_engine_and_speak_at_once(fake: FakeEleven) -> None:
    async with open_engines(keyed(fake)) as engines:
        one = await engines.load("elevenlabs", Role.TTS, {"base_url": fake.base_url})
        two = await engines.load("elevenlabs", Role.TTS, {"base_url": fake.base_url, "voice": "Mine"})
        assert one.operation.engine is two.operation.engine
        fake.hold = asyncio.Event()
        both = [asyncio.create_task(spoken(each.operation, text)) for each, text in ((one, "Aaa."), (two, "Bbb."))]
        await fake.until(lambda: len(fake.streams) == 2)
        fake.hold.set()
        assert [pcm(items) for items in await asyncio.gather(*both)] == [speech_pcm("Aaa."), speech_pcm("Bbb.")]
        for loaded in (one, two):
            await loaded.release()


@pytest.mark.parametrize(
    ("way", "sentence", "attempts"),
    [
        ("mute", "sent no sound", 2),
        ("quota", "quota at .* is used up: You have 3 credits", 1),
        ("key", "refused the API key: check ELEVENLABS_API_KEY", 1),
        ("other", "could not speak this: Something odd", 2),
        ("garbage", "something that is no speech", 1),
        ("early", "was cut off", 2),
        ("dropped", "was cut off: Too slow", 2),
        ("cut", "was cut off: internal error", 1),
        ("silent", "has sent nothing for 1 s", 2),
    ],
)
async def test_each_failure_of_speech_has_its_sentence(
    fake: FakeEleven, way: str, sentence: str, attempts: int
) -> None:
    with pytest.raises(BindingFailed, match=sentence):
        await speak(fake, "Hello there.", voice=failing_voice(way), read_timeout_s=1 if way == "silent" else 60)
    assert len(fake.streams) == attempts, "only what was not heard, and may go well, is said again"


@pytest.mark.parametrize(
    ("status", "sentence", "retryable"),
    [
        (401, "refused the API key: check ELEVENLABS_API_KEY", False),
        (403, "does not allow this", False),
        (429, "limits how often", True),
        (500, "failed with status 500", True),
    ],
)
async def test_each_refusal_has_its_sentence(fake: FakeEleven, status: int, sentence: str, retryable: bool) -> None:
    fake.status = status
    with pytest.raises(BindingFailed, match=sentence) as caught:
        await speak(fake, "Hello.", max_retries=0)
    assert caught.value.retryable is retryable and KEY not in caught.value.message


async def test_no_key(fake: FakeEleven, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELEVENLABS_API_KEY", "key-of-the-environment")
    async with open_operation("elevenlabs", Role.TTS, {}) as voice:
        with pytest.raises(BindingFailed, match="none is configured for it: set ELEVENLABS_API_KEY"):
            await spoken(voice, "Hello.")
        assert "George" in [each.name for each in await voice.voices()]
    async with open_operation("elevenlabs", Role.TTS, {"base_url": fake.base_url}) as voice:
        with pytest.raises(BindingFailed, match="set ELEVENLABS_API_KEY") as caught:
            await spoken(voice, "Hello.")
        assert "environment" not in caught.value.message
    with pytest.raises(BindingFailed, match="refused the API key"):
        await speak(fake, "Hello.", key="wrong")


async def test_nobody_listens() -> None:
    async with FakeEleven() as fake:
        base_url = fake.base_url
    async with open_operation("elevenlabs", Role.TTS, {"base_url": base_url, "max_retries": 0}) as voice:
        with pytest.raises(BindingFailed, match="cannot be reached"):
            await spoken(voice, "Hello.")
        assert await voice.voices()


@pytest.mark.parametrize(
    "options",
    [{"speed": 2}, {"stability": 7}, {"output_format": "mp3"}, {"voice": ""}, {"model": "a/b"}, {"base_url": "eleven"}],
)
async def test_wrong_options_are_refused(options: dict[str, Any]) -> None:
    async with open_engines() as engines:
        with pytest.raises(BadRequest, match="option"):
            await engines.load("elevenlabs", Role.TTS, options)


async def test_a_missing_package_is_named_with_what_mends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "elevenlabs"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "elevenlabs", None)
    async with open_engines() as engines:
        with pytest.raises((BindingFailed, Unavailable), match=r'pip install "greenroom\[elevenlabs\]"'):
            await engines.load("elevenlabs", Role.TTS, {})


def test_only_the_owner_sets_where_it_connects() -> None:
    fields = OPERATION.Options.model_json_schema()["properties"]
    assert fields["base_url"]["access"] == "owner"
    assert all(field.get("description") for field in fields.values())


@given(st.text(alphabet="ab3 .,!", max_size=40), st.lists(st.integers(0, 40), max_size=6))
def test_text_is_cut_between_words_alone(text: str, cuts: list[int]) -> None:
    whole = words_module.WholeWords()
    places = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    sent = [whole.feed(text[begin:end]) for begin, end in itertools.pairwise(places)] + [whole.end()]
    assert all(piece == "" or piece[-1].isspace() for piece in sent)
    assert "".join("".join(sent).split()) == "".join(text.split())
    if not any(mark in text for mark in ".,!"):
        assert "".join(sent).split() == text.split()


async def test_a_whole_turn(fake: FakeEleven, tmp_path: Path) -> None:
    operation = {"id": "elevenlabs", "base_url": fake.base_url}
    told = await voice_turn(tmp_path / "home", operation, {"ELEVENLABS_API_KEY": KEY})
    said = [each.data["speech"] for each in told if each.name == "sentence"]
    assert pcm_of(told) == b"".join(map(speech_pcm, said))
