"""Roles stt, tts and embedding of the transformers binding, with a tiny Whisper, a tiny VITS and a tiny BERT."""

import asyncio
import json
import shutil
import threading
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fakes.binding_rig import open_operation
from fakes.flite import flite
from fakes.tiny_torch import REPLIES, VITS_RATE, tiny_encoder, tiny_vits
from fakes.tiny_whisper import RATE, SAID, tiny_whisper
from greenroom.bindings.roles import Voice
from greenroom.errors import BadRequest, BindingFailed
from greenroom.values import Audio, Role, SpeechText, Transcript

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # transformers and torch warn on import

HELLO, FOX = SAID


def ears_options() -> dict[str, Any]:
    return {"model_path": str(tiny_whisper()), "use_hint": False, "partial_every_s": 0}


def voice_options() -> dict[str, Any]:
    return {"model_path": str(tiny_vits())}


def silence(seconds: float) -> Audio:
    return Audio(bytes(2 * round(seconds * RATE)), RATE)


def joined(*parts: Audio) -> Audio:
    return Audio(b"".join(part.pcm for part in parts), RATE)


async def pieces(audio: Audio, step: int = 64_000) -> AsyncIterator[Audio]:
    for start in range(0, len(audio.pcm), step):
        yield Audio(audio.pcm[start : start + step], audio.sample_rate)


async def transcripts(operation: Any, *audio: Audio, hint: str = "") -> list[Transcript]:
    found = [item async for item in operation.transcribe(pieces(joined(*audio)), hint)]
    assert [item.final for item in found] == [False] * (len(found) - 1) + [True]
    return found


async def test_it_hears_what_was_said() -> None:
    async with open_operation("transformers", Role.STT, ears_options()) as ears:
        for text in SAID:
            assert await transcripts(ears, flite(text)) == [Transcript(text)]
        assert await transcripts(ears, flite(HELLO), silence(2)) == [Transcript(HELLO)]


async def test_where_nobody_speaks() -> None:
    async with open_operation("transformers", Role.STT, ears_options()) as ears:
        for sound in (silence(0), silence(0.02), silence(3), silence(70)):
            assert await transcripts(ears, sound) == [Transcript("")]


async def test_a_long_recording_is_cut_where_it_is_quiet() -> None:
    """Noise all along but for one pause; what comes after the pause is heard as if it came alone."""
    noise = Audio((np.random.default_rng(0).normal(0, 2000, 24 * RATE)).astype("<i2").tobytes(), RATE)
    async with open_operation("transformers", Role.STT, ears_options()) as ears:
        asked: list[int] = []
        inner = ears.engine.text

        def noted(samples: Any, *more: Any) -> str:
            asked.append(len(samples))
            return str(inner(samples, *more))

        ears.engine.text = noted
        found = await transcripts(ears, noise, silence(0.3), noise)
    assert len(found) == 2
    assert 24 * RATE < asked[0] < 24.3 * RATE and sum(asked) == round(48.3 * RATE)


async def test_words_come_while_the_sound_comes() -> None:
    told = asyncio.Event()
    found: list[Transcript] = []

    async def live() -> AsyncIterator[Audio]:
        yield flite(HELLO)
        await told.wait()
        yield silence(1)

    async with open_operation("transformers", Role.STT, {**ears_options(), "partial_every_s": 0.01}) as ears:
        async for item in ears.transcribe(live(), ""):
            found.append(item)
            told.set()
    assert found[0] == Transcript(HELLO, final=False) and found[-1] == Transcript(HELLO)


async def test_the_hint_reaches_the_model() -> None:
    async with open_operation("transformers", Role.STT, {**ears_options(), "use_hint": True}) as ears:
        asked: list[Any] = []
        inner = ears.engine.model.generate

        def noted(**how: Any) -> Any:
            asked.append(how)
            return inner(**how)

        ears.engine.model.generate = noted
        await transcripts(ears, flite(HELLO), hint=" hello there ")
        await transcripts(ears, flite(HELLO), hint="the quick brown fox " * 500)
    prompts = [ears.engine.tokenizer.decode(how["prompt_ids"]) for how in asked]
    assert prompts[0] == "<|startofprev|> hello there"
    assert len(asked[1]["prompt_ids"]) == 201 and prompts[1].startswith("<|startofprev|>")
    assert asked[0]["task"] == "transcribe" and asked[0]["language"] is None


async def test_languages() -> None:
    async with open_operation("transformers", Role.STT, {**ears_options(), "language": "en"}) as ears:
        assert await transcripts(ears, flite(FOX)) == [Transcript(FOX)]
    async with open_operation("transformers", Role.STT, {**ears_options(), "language": "fr"}) as ears:
        with pytest.raises(BadRequest, match="does not know the language 'fr'; it knows de, en"):
            await transcripts(ears, flite(FOX))


async def test_an_english_whisper_knows_english() -> None:
    """Such a model has no signs for languages at all."""
    async with open_operation("transformers", Role.STT, {**ears_options(), "language": "en"}) as ears:
        settings = ears.engine.model.generation_config
        settings.is_multilingual = False
        del settings.lang_to_id
        ears.engine.check_language("en")
        with pytest.raises(BadRequest, match="does not know the language 'de'; it knows one language alone"):
            ears.engine.check_language("de")


async def test_a_transcription_that_is_left_stops_the_model() -> None:
    """With one place, the next is heard only once the first has been left, at its next token."""
    async with open_operation("transformers", Role.STT, {**ears_options(), "parallel": 1}) as ears:
        begun = threading.Event()
        inner = ears.engine.text

        def told(samples: Any, how: Any, hint: str, left: threading.Event) -> str:
            begun.set()
            left.wait(30)
            return str(inner(samples, how, hint, left))

        ears.engine.text = told
        items = ears.transcribe(pieces(flite(HELLO)), "")
        listening = asyncio.create_task(anext(items))
        await asyncio.to_thread(begun.wait, 30)
        listening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await listening
        ears.engine.text = inner
        assert await transcripts(ears, flite(FOX)) == [Transcript(FOX)]


async def test_sound_that_fails() -> None:
    async def strange() -> AsyncIterator[Audio]:
        yield Audio(bytes(100), 10)

    async with open_operation("transformers", Role.STT, ears_options()) as ears:
        with pytest.raises(BadRequest, match="sample rate is 10"):
            [item async for item in ears.transcribe(strange(), "")]


# tts


async def given(*texts: str, voice: str = "") -> AsyncIterator[SpeechText]:
    for text in texts:
        yield SpeechText(text, voice=voice)


async def test_it_speaks_sentence_by_sentence() -> None:
    async with open_operation("transformers", Role.TTS, voice_options()) as voice:
        sounds = [item async for item in voice.speak(given("hello there", "...", "", "general \U0001f600", "123 !"))]
    assert len(sounds) >= 2
    for sound in sounds:
        assert (sound.sample_rate, sound.sample_width, sound.channels) == (VITS_RATE, 2, 1)
        assert sound.duration_ms > 50 and np.frombuffer(sound.pcm, "<i2").any()


async def test_the_first_sentence_does_not_wait_for_the_second() -> None:
    spoken = asyncio.Event()

    async def text() -> AsyncIterator[SpeechText]:
        yield SpeechText("hello there")
        await spoken.wait()
        yield SpeechText("general")

    async with open_operation("transformers", Role.TTS, voice_options()) as voice:
        sounds = []
        async for item in voice.speak(text()):
            sounds.append(item)
            spoken.set()
    assert len(sounds) == 2


async def test_long_texts_and_strange_ones() -> None:
    async with open_operation("transformers", Role.TTS, voice_options()) as voice:
        sounds = [item async for item in voice.speak(given("hello there " * 80, "\ud83d\0 hello", "你好"))]
    assert len(sounds) >= 4


async def test_volume_rate_and_speakers() -> None:
    async def spoken(voice: str = "", **options: Any) -> list[Any]:
        async with open_operation("transformers", Role.TTS, {**voice_options(), **options}) as operation:
            import torch

            torch.manual_seed(0)
            items = [item async for item in operation.speak(given("hello there general", voice=voice))]
            return [np.frombuffer(item.pcm, "<i2").astype(float) for item in items]

    (plain,) = await spoken()
    (again,) = await spoken()
    (quiet,) = await spoken(volume=0.5)
    (slow,) = await spoken(speaking_rate=0.5)
    (other,) = await spoken(speaker=2)
    (by_name,) = await spoken(voice="2")
    assert np.array_equal(plain, again)
    assert np.abs(quiet).max() == pytest.approx(np.abs(plain).max() / 2, rel=0.01)
    assert len(slow) > 1.5 * len(plain)
    assert np.array_equal(other, by_name) and not np.array_equal(other, plain)


async def test_speakers_are_listed_and_others_refused() -> None:
    async with open_operation("transformers", Role.TTS, voice_options()) as voice:
        assert [one.id for one in await voice.voices()] == ["0", "1", "2"]
        assert isinstance((await voice.voices())[0], Voice)
        for name in ("3", "Ana"):
            with pytest.raises(BadRequest, match="speakers"):
                [item async for item in voice.speak(given("hello", voice=name))]


async def test_leaving_stops_before_the_next_sentence() -> None:
    async with open_operation("transformers", Role.TTS, voice_options()) as voice:
        said: list[str] = []
        inner = voice.engine.sound

        def noted(text: str, *more: Any) -> Any:
            said.append(text)
            return inner(text, *more)

        voice.engine.sound = noted
        async with aclosing(voice.speak(given("hello there", "general", "again"))) as items:
            await anext(items)
        assert [item async for item in voice.speak(given("hello"))]
    assert said == ["hello there", "hello"]


async def test_a_voice_that_fails() -> None:
    async with open_operation("transformers", Role.TTS, voice_options()) as voice:

        def broken(*_: Any, **__: Any) -> None:
            raise RuntimeError("out of memory")

        voice.engine.model.forward = broken
        with pytest.raises(BindingFailed, match="failed: out of memory"):
            [item async for item in voice.speak(given("hello"))]


# embedding

TEXTS = [*REPLIES.values(), "hello", " ".join(["hello you"] * 100), "", "\ud83d"]


async def embedded(texts: list[str], **options: Any) -> Any:
    async with open_operation("transformers", Role.EMBEDDING, {"model_path": str(tiny_encoder()), **options}) as one:
        return await one.embed(texts)


async def test_vectors_have_length_one_and_do_not_depend_on_their_neighbours() -> None:
    together = await embedded(TEXTS)
    assert together.shape == (len(TEXTS), 32) and together.dtype == np.float32
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    assert np.allclose(await embedded(TEXTS, batch_size=1), together, atol=1e-5)
    assert np.allclose(await embedded(TEXTS[2:3]), together[2:3], atol=1e-5)
    assert (await embedded([])).shape == (0, 32)


async def test_the_mean_is_that_of_the_tokens() -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(tiny_encoder()), AutoModel.from_pretrained(tiny_encoder())
    with torch.inference_mode():
        hidden = model(**tokenizer("hello you", return_tensors="pt")).last_hidden_state[0].numpy()
    for pooling, expected in (("mean", hidden.mean(0)), ("cls", hidden[0]), ("last", hidden[-1])):
        (vector,) = await embedded(["hello you"], pooling=pooling)
        assert np.allclose(vector, expected / np.linalg.norm(expected), atol=1e-5)
    assert np.allclose(await embedded(["you"], prefix="hello "), await embedded(["hello you"]), atol=1e-6)


async def test_pooling_as_the_folder_says(tmp_path: Path) -> None:
    shutil.copytree(tiny_encoder(), tmp_path / "bert")
    (tmp_path / "bert" / "1_Pooling").mkdir()
    (tmp_path / "bert" / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_cls_token": True}))
    found = await embedded(["hello you"], model_path=str(tmp_path / "bert"))
    assert np.allclose(found, await embedded(["hello you"], pooling="cls"), atol=1e-6)


async def test_giving_up_stops_after_the_batch() -> None:
    options = {"model_path": str(tiny_encoder()), "batch_size": 1, "parallel": 1}
    async with open_operation("transformers", Role.EMBEDDING, options) as one:
        begun, go_on, batches = threading.Event(), threading.Event(), 0
        inner = one.engine.vectors

        def slow(*given: Any) -> Any:
            nonlocal batches
            batches += 1
            begun.set()
            go_on.wait(30)
            return inner(*given)

        one.engine.vectors = slow
        task = asyncio.create_task(one.embed(["hello"] * 1000))
        await asyncio.to_thread(begun.wait, 30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        go_on.set()
        assert (await one.embed(["hello"])).shape == (1, 32)
    assert batches < 10
