"""The azure binding's ears: the real SDK against a server that speaks the service's websocket protocol."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from fakes.azure_server import FakeAzure, word_pcm
from fakes.binding_rig import Places, open_engines, open_operation
from greenroom.errors import BadRequest, BindingFailed
from greenroom.values import Audio, Role, Transcript

KEY = "secret-of-the-test"
RATE = 24_000
SOUND = Audio(word_pcm("hello") * 5, RATE)
PAUSE = Audio(bytes(2 * RATE), RATE)


@pytest.fixture
async def fake() -> AsyncIterator[FakeAzure]:
    async with FakeAzure(key=KEY, transcript="Hello there.") as server:
        yield server


def keyed(fake: FakeAzure, key: str = KEY) -> Places:
    return Places(secrets={("AZURE_API_KEY", fake.host): key})


async def stream(*items: Any) -> AsyncIterator[Any]:
    for item in items:
        yield item


async def heard(ears: Any, *audio: Audio, hint: str = "") -> list[Transcript]:
    return [item async for item in ears.transcribe(stream(*audio), hint)]


async def listen(fake: FakeAzure, *audio: Audio, hint: str = "", key: str = KEY, **options: Any) -> list[Transcript]:
    async with open_operation("azure", Role.STT, {"host": fake.host, **options}, keyed(fake, key)) as ears:
        return await heard(ears, *audio, hint=hint)


async def test_partials_come_before_the_sound_has_ended(fake: FakeAzure) -> None:
    ended = asyncio.Event()

    async def live() -> AsyncIterator[Audio]:
        yield SOUND
        await ended.wait()

    async with (
        open_operation("azure", Role.STT, {"host": fake.host}, keyed(fake)) as ears,
        aclosing(ears.transcribe(live(), "")) as items,
    ):
        assert await anext(items) == Transcript("hello", final=False)
        assert not fake.hearings[0].ended.is_set()
        ended.set()
        assert [item async for item in items] == [Transcript("Hello there.", final=False), Transcript("Hello there.")]


async def test_phrases_are_joined_and_hints_are_sent(fake: FakeAzure) -> None:
    items = await listen(fake, SOUND, PAUSE, SOUND, hint="Ada, Babbage\nLovelace", language="de-DE", profanity="raw")
    assert items[-1] == Transcript("Hello there. Hello there.")
    assert Transcript("Hello there. hello", final=False) in items
    assert [item.final for item in items] == [False] * (len(items) - 1) + [True]
    (hearing,) = fake.hearings
    assert "language=de-DE" in hearing.path
    assert [item["Text"] for item in hearing.context["dgi"]["Groups"][0]["Items"]] == ["Ada", "Babbage", "Lovelace"]
    assert hearing.context["phraseDetection"]["enrichment"]["profanity"] == "raw"
    assert len(hearing.pcm) == pytest.approx(32_000 * 3, abs=640), "16 kHz, mono"


async def test_japanese_phrases_are_joined_without_a_space(fake: FakeAzure) -> None:
    fake.transcript = "はい"
    assert (await listen(fake, SOUND, PAUSE, SOUND, language="ja-JP"))[-1] == Transcript("はいはい")


@pytest.mark.parametrize(
    "audio", [(), (Audio(bytes(32_000), 16_000),), (Audio(b"", 16_000),), (Audio(b"\0\0", 16_000),)]
)
async def test_silence_is_an_empty_transcript(fake: FakeAzure, audio: tuple[Audio, ...]) -> None:
    assert await listen(fake, *audio) == [Transcript("")]


@pytest.mark.parametrize("cut", [1, 2, 3, 34, 321])
async def test_sound_of_any_length_has_an_end(fake: FakeAzure, cut: int) -> None:
    assert (await listen(fake, Audio(SOUND.pcm[:-cut], 16_000)))[-1] == Transcript("Hello there.")


async def test_sound_that_nobody_understands(fake: FakeAzure) -> None:
    fake.fail = "nomatch"
    assert (await listen(fake, SOUND))[-1] == Transcript("")


async def test_much_sound_at_once_is_not_held_back(fake: FakeAzure) -> None:
    """The SDK would send 60 s of sound in 30."""
    items = await listen(fake, *[SOUND, PAUSE] * 30)
    assert items[-1].text.count("Hello there.") == 30


async def test_a_connection_is_ready_for_the_next_speaker(fake: FakeAzure) -> None:
    async with open_operation("azure", Role.STT, {"host": fake.host}, keyed(fake)) as ears:
        await fake.until(lambda: fake.opened == 1)
        await heard(ears, SOUND)
        assert fake.hearings[-1].connection == 1
        await fake.until(lambda: fake.opened == 2 and fake.open_count == 1)
        await fake.hang_up()
        await fake.until(lambda: fake.open_count == 0)
        assert (await heard(ears, SOUND))[-1] == Transcript("Hello there.")
    await fake.until(lambda: fake.open_count == 0)


async def test_leaving_in_the_middle_hangs_up(fake: FakeAzure) -> None:
    never = asyncio.Event()

    async def live() -> AsyncIterator[Audio]:
        yield SOUND
        await never.wait()

    async with open_operation("azure", Role.STT, {"host": fake.host}, keyed(fake)) as ears:
        async with aclosing(ears.transcribe(live(), "")) as items:
            await anext(items)
        await fake.hearings[0].ended.wait()
        listening = asyncio.create_task(heard(ears, SOUND, PAUSE))
        await fake.until(lambda: len(fake.hearings) == 2)
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        await fake.hearings[1].ended.wait()
        assert (await heard(ears, SOUND))[-1] == Transcript("Hello there.")


async def test_two_sessions_at_once(fake: FakeAzure) -> None:
    fake.transcript = lambda pcm: f"{len(pcm) // 32_000} s"
    async with open_engines(keyed(fake)) as engines:
        one = await engines.load("azure", Role.STT, {"host": fake.host})
        two = await engines.load("azure", Role.STT, {"host": fake.host})
        assert one.operation.engine is two.operation.engine
        first, second = await asyncio.gather(heard(one.operation, *[SOUND] * 2), heard(two.operation, *[SOUND] * 4))
        assert (first[-1].text, second[-1].text) == ("2 s", "4 s")
        for loaded in (one, two):
            await loaded.release()


@pytest.mark.parametrize(
    ("status", "sentence"),
    [(401, "refused the key: check AZURE_API_KEY"), (403, "refused the key"), (429, "limits how often")],
)
async def test_each_refusal_has_its_sentence(fake: FakeAzure, status: int, sentence: str) -> None:
    fake.status = status
    with pytest.raises(BindingFailed, match=sentence) as caught:
        await listen(fake, SOUND)
    assert KEY not in caught.value.message and "SessionId" not in caught.value.message


async def test_a_connection_that_breaks(fake: FakeAzure) -> None:
    fake.fail = "drop"
    with pytest.raises(BindingFailed, match="was cut off: internal error"):
        await listen(fake, SOUND, read_timeout_s=30)


async def test_a_service_that_falls_silent(fake: FakeAzure) -> None:
    fake.fail = "silent"
    with pytest.raises(BindingFailed, match="has sent nothing for 1 s"):
        await listen(fake, SOUND, read_timeout_s=1)


async def test_no_key_and_no_region(fake: FakeAzure) -> None:
    with pytest.raises(BindingFailed, match="refused the key"):
        await listen(fake, SOUND, key="wrong")
    async with open_operation("azure", Role.STT, {}) as ears:
        with pytest.raises(BindingFailed, match="set AZURE_REGION"):
            await heard(ears, SOUND)


async def test_sound_that_is_none_is_refused(fake: FakeAzure) -> None:
    async with open_operation("azure", Role.STT, {"host": fake.host}, keyed(fake)) as ears:
        with pytest.raises(BadRequest, match="sample rate"):
            await heard(ears, SOUND, Audio(b"\0\0", 1))
        assert (await heard(ears, SOUND))[-1] == Transcript("Hello there.")
