"""The espeak binding with the real library: sound, words, voices, fairness, and text that nobody should send."""

import array
import asyncio
import importlib
import math
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import aclosing
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenroom.bindings.discovery import BindingShelf
from greenroom.bindings.engines import parse_options
from greenroom.bindings.roles import Place, TextToSpeech
from greenroom.errors import BadRequest, Unavailable
from greenroom.values import Audio, Role, SpeechText, WordTime

ROOT = Path(__file__).parents[2] / "bindings"
SENTENCE = "Hello there, I should be heard while the rest of me is still being made."


def tts_type() -> Any:
    return BindingShelf((ROOT,)).get("espeak").operation(Role.TTS)


def module(name: str) -> Any:
    return importlib.import_module(f"{tts_type().__module__}.{name}")


async def opened(**options: Any) -> TextToSpeech[Any]:
    operation = tts_type()
    parsed = parse_options(operation, options, "espeak")
    place = Place("espeak", ROOT / "espeak", ROOT / "none")
    engine = await operation.open_engine(parsed, place)
    try:
        return operation(engine, parsed)  # type: ignore[no-any-return]
    except BadRequest:
        await engine.close()
        raise


async def texts(*parts: str | SpeechText) -> AsyncIterator[SpeechText]:
    for part in parts:
        yield part if isinstance(part, SpeechText) else SpeechText(part)


async def spoken(operation: TextToSpeech[Any], *parts: str | SpeechText) -> tuple[list[Audio], list[WordTime]]:
    items = [item async for item in operation.speak(texts(*parts))]
    return [item for item in items if isinstance(item, Audio)], [item for item in items if isinstance(item, WordTime)]


def samples(audio: list[Audio]) -> "array.array[int]":
    return array.array("h", b"".join(chunk.pcm for chunk in audio))


def loudness(audio: list[Audio]) -> float:
    values = samples(audio)
    return math.sqrt(sum(value * value for value in values) / max(1, len(values)))


@pytest.fixture
async def espeak() -> AsyncIterator[TextToSpeech[Any]]:
    operation = await opened()
    yield operation
    await operation.engine.close()


def test_card_is_ready() -> None:
    found = BindingShelf((ROOT,)).get("espeak")
    assert (found.status, found.card.roles, found.card.offline) == ("ready", (Role.TTS,), True)
    assert found.model_entries[0]["name"] == "espeak-ng"


def test_nothing_heavy_is_imported_before_an_engine_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "espeakng_loader", raising=False)
    tts_type()
    assert "espeakng_loader" not in sys.modules


async def test_a_missing_wheel_is_said_plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(Unavailable, match="pip install espeakng-loader"):
        await opened()


async def test_speech_is_heard_in_sensible_chunks(espeak: TextToSpeech[Any]) -> None:
    audio, _ = await spoken(espeak, SENTENCE)
    assert {(chunk.sample_rate, chunk.sample_width, chunk.channels) for chunk in audio} == {(22050, 2, 1)}
    assert audio[0].duration_ms == 60
    assert max(chunk.duration_ms for chunk in audio) < 201
    assert 3000 < sum(chunk.duration_ms for chunk in audio) < 6000
    assert loudness(audio) > 500
    assert max(abs(value) for value in samples(audio[:1])[:220]) > 0, "silence before the first sound is cut"


async def test_words_come_in_order_with_their_times_and_places(espeak: TextToSpeech[Any]) -> None:
    first, second = "Peter bought three apples. ", "Grüße from Zoë, at last!"
    audio, words = await spoken(espeak, first, second)
    assert [word.text for word in words] == ["Peter", "bought", "three", "apples", "Grüße", "from", "Zoë", "at", "last"]
    joined = first + second
    assert all(joined[word.offset :].startswith(word.text) for word in words)
    assert all(word.start_ms < word.end_ms for word in words)
    assert all(word.end_ms <= later.start_ms for word, later in pairwise(words))
    length_ms = sum(chunk.duration_ms for chunk in audio)
    assert words[-1].end_ms < length_ms - 200, "the pause after the sentence belongs to no word"
    quiet = samples(audio)[round(words[-1].end_ms * 22.05) + 1 :]
    assert max(map(abs, quiet)) == 0


async def test_a_pause_follows_what_ends_and_none_what_goes_on(espeak: TextToSpeech[Any]) -> None:
    def silence_ms(audio: list[Audio]) -> float:
        pcm = b"".join(chunk.pcm for chunk in audio)
        return (len(pcm) - len(pcm.rstrip(b"\0"))) / 44.1

    pauses = [silence_ms((await spoken(espeak, f"Hello there{mark}"))[0]) for mark in (".", ",", "")]
    assert pauses[0] > pauses[1] > 100 > pauses[2]


@pytest.mark.parametrize("options", [{"rate": 90}, {"word_gap_ms": 200}, {"volume": 10}, {"pitch": 0}])
async def test_options_are_heard(espeak: TextToSpeech[Any], options: dict[str, int]) -> None:
    other = await opened(**options)
    plain, _ = await spoken(espeak, SENTENCE)
    changed, _ = await spoken(other, SENTENCE)
    if "volume" in options:
        assert loudness(changed) < loudness(plain) / 3
    elif "pitch" in options:
        assert loudness(changed) > 0
    else:
        assert len(samples(changed)) > 1.2 * len(samples(plain))
    await other.engine.close()


@pytest.mark.parametrize(
    "options", [{"rate": 20}, {"pitch": 100}, {"volume": -1}, {"word_gap_ms": 5000}, {"speed": 3}, {"rate": "fast"}]
)
def test_options_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(BadRequest, match=next(iter(options))):
        parse_options(tts_type(), options, "espeak")


@pytest.mark.parametrize(
    ("name", "native"),
    [
        ("en-us", "gmw/en-US"),
        ("EN_US", "gmw/en-US"),
        ("en", "gmw/en"),
        ("en-us+f3", "gmw/en-US+f3"),
        ("de+annie", "gmw/de+Annie"),
        ("English (Great Britain)", "gmw/en"),
        ("roa/fr", "roa/fr"),
    ],
)
async def test_voices_are_found_by_many_names(name: str, native: str) -> None:
    operation = await opened(voice=name)
    voices = operation.engine.voices
    found = voices.native(voices.find(name))
    assert found.replace("\\", "/") == native
    assert loudness((await spoken(operation, "One two three."))[0]) > 300
    await operation.engine.close()


@pytest.mark.parametrize(("name", "near"), [("en-uss", "en-us"), ("en-us+f9", "en-us+f"), ("", "en-us"), ("../x", "")])
async def test_an_unknown_voice_is_refused_with_the_nearest(name: str, near: str) -> None:
    with pytest.raises(BadRequest, match="no voice") as failed:
        await opened(voice=name)
    assert near in failed.value.message


async def test_voices_are_listed_and_all_of_them_speak(
    espeak: TextToSpeech[Any], capfd: pytest.CaptureFixture[str]
) -> None:
    voices = await espeak.voices()
    ids = [voice.id for voice in voices]
    assert len(set(ids)) == len(ids) > 200
    assert {"en-us", "de", "fr-fr", "ja", "cmn", "en-us+f3", "en-us+Annie"} <= set(ids)
    assert all(voice.name and voice.language for voice in voices)
    assert next(voice for voice in voices if voice.id == "en-us+f3").gender == "female"
    silent = {id for id in ids if not loudness((await spoken(espeak, SpeechText("1 2 3", voice=id)))[0])}
    assert silent <= {"chr-us-qaaa-x-west", "cv", "sjn"}, "but these, which know no digits"
    assert capfd.readouterr() == ("", "")


async def test_a_texts_own_language_and_voice_win(caplog: pytest.LogCaptureFixture) -> None:
    operation = await opened(voice="en-us+f3")
    engine = operation.engine
    for language, id in [("fr", "fr-fr+f3"), ("german", "de+f3"), ("de-AT", "de+f3"), ("zh", "cmn+f3")]:
        assert engine.voices.for_language(language, "en-us+f3") == id
    for language in ("en", "english", "en-US", "en_us"):
        assert engine.voices.for_language(language, "en-us+f3") == "en-us+f3"
    assert engine.voices.for_language("xx", "en-us+f3") is None
    plain, _ = await spoken(operation, "Paris est une ville.")
    french, _ = await spoken(operation, SpeechText("Paris est une ville.", language="fr", voice="unknown-elsewhere"))
    assert abs(len(samples(plain)) - len(samples(french))) > 1000
    assert not caplog.messages
    for _ in range(3):
        assert loudness((await spoken(operation, SpeechText("Hello.", voice="alloy")))[0]) > 0
    assert len(caplog.messages) == 1 and "alloy" in caplog.messages[0]
    await engine.close()


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "\n\t\r\n",
        "...",
        "?!",
        "\0",
        "\ud800",
        "<speak><break time='9s'/>hi",
        "[[h@loU]]",
        "\x01+50p\x012r loud",
        "😀👩‍👩‍👧",
        "🏳️‍🌈" * 50,
        "مرحبا بالعالم",
        "สวัสดีชาวโลก",
        "你好世界。",
        "a" * 5000,
        "9" * 400,
        "-" * 5000,
        "á" * 300,
    ],
)
async def test_odd_text_does_no_harm(espeak: TextToSpeech[Any], text: str) -> None:
    audio, words = await spoken(espeak, text)
    assert all(len(chunk.pcm) % 2 == 0 and chunk.pcm for chunk in audio)
    assert all(text[word.offset : word.offset + len(word.text)] == word.text for word in words)
    assert loudness((await spoken(espeak, "Still here."))[0]) > 300


async def test_commands_hidden_in_text_change_nothing(espeak: TextToSpeech[Any]) -> None:
    plain, _ = await spoken(espeak, "Hello   there my friend.")
    hidden, _ = await spoken(espeak, "Hello\x0180s there my friend.")
    assert abs(len(samples(hidden)) - len(samples(plain))) < 2 * len(samples(plain))
    assert loudness((await spoken(espeak, "Hello."))[0]) > 300


async def test_a_long_text_starts_at_once_and_lets_others_in(espeak: TextToSpeech[Any]) -> None:
    novel = "This sentence is one of very many. " * 3000
    assert len(novel) > 100_000
    async with aclosing(espeak.speak(texts(novel))) as reading:  # type: ignore[type-var]
        assert isinstance(await anext(reading), Audio)
        audio, _ = await spoken(espeak, SENTENCE)
        assert loudness(audio) > 300
        seen = 0
        async for item in reading:
            seen = max(seen, item.offset if isinstance(item, WordTime) else 0)
            if seen > 1000:
                break
    assert loudness((await spoken(espeak, "Still here."))[0]) > 300


async def test_closing_stops_the_synthesis(espeak: TextToSpeech[Any]) -> None:
    library = espeak.engine.library
    emitted: list[bytes] = []

    def three(item: Any) -> bool:
        if isinstance(item, bytes):
            emitted.append(item)
        return len(emitted) < 3

    manner = module("library").Manner("gmw/en-US")
    await asyncio.to_thread(library.synthesize, SENTENCE * 3, manner, three)
    assert len(emitted) == 3
    async with aclosing(espeak.speak(texts(SENTENCE))) as speaking:  # type: ignore[type-var]
        await anext(speaking)
    assert loudness((await spoken(espeak, SENTENCE))[0]) > 300


async def test_many_sessions_and_two_servers_speak_at_once(espeak: TextToSpeech[Any]) -> None:
    other = await opened(voice="de+f2", rate=250)
    numbered = [f"Number {number} is speaking now." for number in range(40)]
    answers = await asyncio.gather(
        *(spoken(operation, text) for text in numbered for operation in (espeak, other)),
    )
    for text, (audio, words) in zip([text for text in numbered for _ in range(2)], answers, strict=True):
        assert loudness(audio) > 300
        assert [word.text for word in words] == text.rstrip(".").split()
        assert 800 < sum(chunk.duration_ms for chunk in audio) < 4000
    await other.engine.close()
    assert loudness((await spoken(espeak, SENTENCE))[0]) > 300, "closing one server's engine leaves the other's alone"


async def test_the_thread_ends_with_its_engine() -> None:
    before = set(threading.enumerate())
    operation = await opened()
    await spoken(operation, "Hello.")
    threads = [thread for thread in set(threading.enumerate()) - before if thread.name == "greenroom-espeak"]
    assert len(threads) == 1
    assert operation.engine.worker.alive
    await operation.engine.close()
    for thread in threads:
        await asyncio.to_thread(thread.join, 20)
    assert not operation.engine.worker.alive


@settings(deadline=None, max_examples=200)
@given(st.text(max_size=600), st.integers(4, 60))
def test_utterances_lose_nothing(text: str, limit: int) -> None:
    cut = module("text")
    assert len(cut.speakable(text)) == len(text)
    at = 0
    for start, piece in cut.utterances(text, limit):
        assert not text[at:start].strip()
        assert text[start : start + len(piece)] == piece and 0 < len(piece) <= limit
        at = start + len(piece)
    assert not text[at:].strip()


def test_utterances_end_where_a_speaker_would_pause() -> None:
    cut = module("text")
    text = "One sentence here. Another, with a clause, that goes on and on and on. 你好世界。你好世界。嗯"
    assert [piece for _, piece in cut.utterances(text, 36)] == [
        "One sentence here. ",
        "Another, with a clause, ",
        "that goes on and on and on. 你好世界。",
        "你好世界。嗯",
    ]
    assert cut.ends_a_clause('He said: "yes." ') and cut.ends_a_clause("well,") and not cut.ends_a_clause("and then ")
