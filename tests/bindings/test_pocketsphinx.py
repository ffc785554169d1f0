"""The pocketsphinx binding with its real model and flite's speech: words, formats, concurrency, cancelling, crashes."""

import asyncio
import io
import random
import sys
from array import array
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import psutil
import pytest

from fakes.flite import flite, word_errors
from greenroom.bindings.discovery import BindingShelf
from greenroom.bindings.engines import parse_options
from greenroom.bindings.pcm import MonoConverter
from greenroom.bindings.roles import Place, SpeechToText
from greenroom.errors import BadRequest, BindingFailed, NotFound
from greenroom.values import Audio, Role, Transcript

ROOT = Path(__file__).parents[2] / "bindings"
SENTENCES = (
    "the birch canoe slid on the smooth planks",
    "hello there how are you doing today",
    "please open the window and let in some fresh air",
    "what time does the next train leave for the city",
    "she is going to write a letter to her brother tomorrow morning",
)


def stt_type() -> Any:
    return BindingShelf((ROOT,)).get("pocketsphinx").operation(Role.STT)


async def opened(models: Path = ROOT / "none", **options: Any) -> SpeechToText[Any]:
    operation = stt_type()
    parsed = parse_options(operation, options, "pocketsphinx")
    place = Place("pocketsphinx", ROOT / "pocketsphinx", models)
    return operation(await operation.open_engine(parsed, place), parsed)  # type: ignore[no-any-return]


@pytest.fixture
async def sphinx() -> AsyncIterator[SpeechToText[Any]]:
    operation = await opened()
    yield operation
    await operation.engine.close()


async def pieces(*parts: Audio, step: int = 7001) -> AsyncIterator[Audio]:
    """Cut where no frame ends, as nobody should and somebody will."""
    for audio in parts:
        for start in range(0, len(audio.pcm), step):
            yield Audio(audio.pcm[start : start + step], audio.sample_rate, audio.sample_width, audio.channels)


async def transcripts(operation: SpeechToText[Any], *audio: Audio) -> list[Transcript]:
    return [item async for item in operation.transcribe(pieces(*audio), "")]


async def heard(operation: SpeechToText[Any], *audio: Audio) -> str:
    items = await transcripts(operation, *audio)
    assert [item.final for item in items] == [False] * (len(items) - 1) + [True]
    return items[-1].text


def resampled(audio: Audio, rate: int, channels: int = 1) -> Audio:
    mono = array("h", MonoConverter(rate).feed(audio))
    return Audio(array("h", [value for value in mono for _ in range(channels)]).tobytes(), rate, 2, channels)


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children()}


async def transcripts_left(items: AsyncIterator[Transcript]) -> list[Transcript]:
    return [item async for item in items]


async def error_rate(operation: SpeechToText[Any], *form: int, voice: str = "slt") -> float:
    wrong = words = 0
    for sentence in SENTENCES:
        audio = await asyncio.to_thread(flite, sentence, voice)
        if form:
            audio = resampled(audio, *form)
        wrong += word_errors(sentence, await heard(operation, audio))
        words += len(sentence.split())
    return wrong / words


def test_card_is_ready() -> None:
    found = BindingShelf((ROOT,)).get("pocketsphinx")
    assert (found.status, found.card.roles, found.card.offline) == ("ready", (Role.STT,), True)
    assert "basic" in found.card.description.lower()
    assert found.model_entries[0]["name"] == "en-us"


async def test_clear_speech_is_understood(sphinx: SpeechToText[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "pocketsphinx", raising=False)
    assert await error_rate(sphinx) < 0.35
    assert "pocketsphinx" not in sys.modules, "the recogniser runs in a process of its own"


@pytest.mark.parametrize("form", [(44_100, 2), (48_000, 1)])
async def test_other_rates_and_channels_are_understood(sphinx: SpeechToText[Any], form: tuple[int, int]) -> None:
    assert await error_rate(sphinx, *form) < 0.35


async def test_telephone_speech_is_understood(sphinx: SpeechToText[Any]) -> None:
    assert (await asyncio.to_thread(flite, "hello", "kal")).sample_rate == 8000
    assert await error_rate(sphinx, voice="kal") < 0.5


async def test_partials_come_while_the_sound_comes(sphinx: SpeechToText[Any]) -> None:
    audio = await asyncio.to_thread(flite, SENTENCES[4])
    asked: list[int] = []

    async def counted() -> AsyncIterator[Audio]:
        async for piece in pieces(audio):
            asked.append(len(piece.pcm))
            yield piece

    async with aclosing(sphinx.transcribe(counted(), "Zoë")) as items:  # type: ignore[type-var]
        first = await anext(items)
        assert not first.final and first.text
        assert sum(asked) < len(audio.pcm) * 0.8
        texts = [item.text async for item in items]
    assert all(texts)


@pytest.mark.parametrize("width", [1, 3, 4])
async def test_every_width_is_understood(sphinx: SpeechToText[Any], width: int) -> None:
    audio = await asyncio.to_thread(flite, SENTENCES[1])
    values = array("h", audio.pcm)
    if width == 1:
        pcm = bytes((value >> 8) + 128 for value in values)
    else:
        pcm = b"".join((value << 8 * (width - 2)).to_bytes(width, "little", signed=True) for value in values)
    text = await heard(sphinx, Audio(pcm, audio.sample_rate, width))
    assert word_errors(SENTENCES[1], text) <= 4


async def test_silence_noise_and_next_to_nothing_are_no_words(sphinx: SpeechToText[Any]) -> None:
    draw = random.Random(7)
    noise = array("h", [round(draw.gauss(0, 2000)) for _ in range(32_000)]).tobytes()
    for pcm in (b"", b"\0", b"\0\0", bytes(20), bytes(64_000), noise, b"\xff\x7f" * 16_000):
        assert await heard(sphinx, Audio(pcm, 16_000)) == ""
    assert await heard(sphinx) == ""


async def test_what_is_no_sound_is_refused_and_the_next_works(sphinx: SpeechToText[Any]) -> None:
    for audio in (Audio(b"\0" * 100, 10), Audio(b"\0" * 100, 16_000, 9), Audio(b"\0" * 100, 16_000, 2, 200)):
        with pytest.raises(BadRequest, match="wanted"):
            await transcripts(sphinx, audio)
    audio = await asyncio.to_thread(flite, SENTENCES[1])
    assert word_errors(SENTENCES[1], await heard(sphinx, audio)) <= 3


async def test_sessions_are_heard_at_once_and_in_their_turn() -> None:
    sphinx = await opened(decoders=2)
    before = children()
    sounds = [await asyncio.to_thread(flite, sentence, "rms") for sentence in SENTENCES]
    answers = await asyncio.gather(*(heard(sphinx, sound) for sound in sounds))
    wrong = sum(word_errors(said, text) for said, text in zip(SENTENCES, answers, strict=True))
    assert wrong / sum(len(sentence.split()) for sentence in SENTENCES) < 0.35
    assert len(children() - before) <= 1, "one more beside the one that was there from the start"
    await sphinx.engine.close()


async def test_a_cancelled_transcription_frees_its_decoder() -> None:
    sphinx = await opened(decoders=1)
    alive = children()
    audio = await asyncio.to_thread(flite, " ".join(SENTENCES))
    begun = asyncio.Event()

    async def listen() -> None:
        async with aclosing(sphinx.transcribe(pieces(audio), "")) as items:  # type: ignore[type-var]
            async for _ in items:
                begun.set()

    for _ in range(3):
        begun.clear()
        task = asyncio.create_task(listen())
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    clear = await asyncio.to_thread(flite, SENTENCES[1])
    assert word_errors(SENTENCES[1], await heard(sphinx, clear)) <= 3
    assert children() == alive, "the same process served them all"
    await sphinx.engine.close()


async def test_an_abandoned_listener_waits_for_nobody() -> None:
    sphinx = await opened(decoders=1)
    never = asyncio.Event()

    async def mute() -> AsyncIterator[Audio]:
        await never.wait()
        yield Audio(b"", 16_000)

    waiting = asyncio.ensure_future(anext(sphinx.transcribe(mute(), "")))
    queued = asyncio.create_task(heard(sphinx, Audio(bytes(6400), 16_000)))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert await queued == ""
    await sphinx.engine.close()


async def test_a_crash_costs_one_utterance(sphinx: SpeechToText[Any]) -> None:
    audio = await asyncio.to_thread(flite, SENTENCES[1])
    mine = {process for process in psutil.Process().children() if "recognizer.py" in " ".join(process.cmdline())}

    async def listen_and_kill() -> None:
        async for _ in sphinx.transcribe(pieces(audio), ""):
            for process in mine:
                process.kill()

    with pytest.raises(BindingFailed, match="starts again") as failed:
        await listen_and_kill()
    assert failed.value.retryable
    assert word_errors(SENTENCES[1], await heard(sphinx, audio)) <= 3
    for process in psutil.Process().children():
        process.kill()
        process.wait()
    assert word_errors(SENTENCES[1], await heard(sphinx, audio)) <= 3, "an idle process that ended is replaced unseen"


async def test_closing_ends_the_processes_even_in_the_middle() -> None:
    before = children()
    sphinx = await opened()
    audio = await asyncio.to_thread(flite, SENTENCES[4])
    items = sphinx.transcribe(pieces(audio), "")
    await anext(items)
    assert children() > before
    await sphinx.engine.close()
    assert children() == before
    with pytest.raises(BindingFailed):
        await transcripts_left(items)
    with pytest.raises(BindingFailed, match="closed"):
        await heard(sphinx, audio)
    assert children() == before


async def test_cancelling_the_load_leaves_no_process() -> None:
    before = children()
    task = asyncio.create_task(opened())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert children() == before


async def test_an_unknown_model_is_named_with_the_known(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"'klingon'; known: en-us\."):
        await opened(tmp_path, model="klingon")
    with pytest.raises(NotFound):
        await opened(tmp_path, model="../x")


async def test_a_model_of_ones_own(tmp_path: Path) -> None:
    import pocketsphinx

    shipped = Path(pocketsphinx.get_model_path("en-us"))
    own = tmp_path / "mine" / "unpacked"
    own.mkdir(parents=True)
    acoustic = own / "hmm"
    acoustic.mkdir()
    for file in (shipped / "en-us").iterdir():
        (acoustic / file.name).symlink_to(file)
    (own / "my.lm.bin").symlink_to(shipped / "en-us.lm.bin")
    (own / "my.dict").symlink_to(shipped / "cmudict-en-us.dict")
    (tmp_path / "incomplete").mkdir()
    place = Place("pocketsphinx", ROOT / "pocketsphinx", tmp_path)
    listed = await stt_type().models(stt_type().Options(), place)
    assert [(model.name, model.installed) for model in listed] == [("en-us", True), ("mine", True)]
    assert listed[1].size_bytes > 1_000_000
    sphinx = await opened(tmp_path, model="mine", decoders=1)
    audio = await asyncio.to_thread(flite, SENTENCES[1])
    assert word_errors(SENTENCES[1], await heard(sphinx, audio)) <= 3
    await sphinx.engine.close()


async def test_a_broken_model_is_said_when_it_is_chosen(tmp_path: Path) -> None:
    before = children()
    (tmp_path / "broken" / "hmm").mkdir(parents=True)
    for name in ("hmm/mdef", "x.lm", "x.dict"):
        (tmp_path / "broken" / name).write_text("nonsense")
    with pytest.raises(BindingFailed, match="could not load its model"):
        await opened(tmp_path, model="broken")
    assert children() == before


def test_long_speech_is_cut_at_pauses() -> None:
    stt_type()
    recognizer = sys.modules[f"{stt_type().__module__}.recognizer"]
    audio = flite(" ".join(SENTENCES))
    pause = bytes(audio.sample_rate)
    listener = recognizer.Listener({})
    for _ in range(2):
        listener.feed(Audio(audio.pcm + pause, audio.sample_rate))
    assert len(listener._heard) == 1
    text = listener.finish()
    said = " ".join(SENTENCES * 2)
    assert word_errors(said, text) / len(said.split()) < 0.35


def test_the_program_survives_wrong_requests_and_ends_with_its_input() -> None:
    recognizer = sys.modules[f"{stt_type().__module__}.recognizer"]
    requests, answers = io.BytesIO(), io.BytesIO()
    recognizer.write_frame(requests, recognizer.SOUND, recognizer.AUDIO.pack(1, 2, 1) + b"\0\0")
    recognizer.write_frame(requests, recognizer.END)
    requests.write(b"A\xff\xff\xff\x00cut")
    requests.seek(0)
    recognizer.serve({}, requests, answers)
    answers.seek(0)
    kinds = []
    while (answer := recognizer.read_frame(answers)) is not None:
        kinds.append(answer[0])
    assert kinds == [recognizer.TEXT, recognizer.FAILED, recognizer.TEXT]
