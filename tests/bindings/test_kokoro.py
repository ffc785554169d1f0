"""The kokoro binding: the real package, phonemizer and onnxruntime, with a tiny model and tiny voices."""

import asyncio
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from e2e.promises import check_turn
from e2e.visitor import pcm_of, text_of, visitor
from fakes.binding_rig import BINDINGS, Places, open_engines, open_operation
from fakes.server_process import running_server
from fakes.tiny_voices import KOKORO_RATE, KOKORO_TONES, tiny_kokoro, tiny_piper
from greenroom.bindings.discovery import BindingShelf
from greenroom.bindings.engines import parse_options
from greenroom.errors import BadRequest, BindingFailed, NotFound, Unavailable
from greenroom.values import Audio, Role, SpeechText

SENTENCE = "Hello there, my friend."


@pytest.fixture
def places(tmp_path: Path) -> Places:
    tiny_kokoro(tmp_path / "kokoro")
    return Places(tmp_path)


def operation_type() -> Any:
    return BindingShelf((BINDINGS,)).get("kokoro").operation(Role.TTS)


async def texts(*parts: str | SpeechText) -> AsyncIterator[SpeechText]:
    for part in parts:
        yield part if isinstance(part, SpeechText) else SpeechText(part)


async def spoken(operation: Any, *parts: str | SpeechText) -> list[Audio]:
    return [item async for item in operation.speak(texts(*parts))]


def samples(audio: list[Audio]) -> Any:
    return np.frombuffer(b"".join(piece.pcm for piece in audio), "<i2").astype(float)


def hertz(audio: list[Audio]) -> float:
    wave = samples(audio)
    return float(np.argmax(np.abs(np.fft.rfft(wave * np.hanning(len(wave))))) * KOKORO_RATE / len(wave))


def duration_ms(audio: list[Audio]) -> float:
    return sum(piece.duration_ms for piece in audio)


def silence_ms(audio: list[Audio]) -> float:
    pcm = b"".join(piece.pcm for piece in audio)
    return (len(pcm) - len(pcm.rstrip(b"\0"))) / 2 / KOKORO_RATE * 1000


def test_the_card_says_what_it_is() -> None:
    found = BindingShelf((BINDINGS,)).get("kokoro")
    assert (found.status, found.card.roles, found.card.offline) == ("ready", (Role.TTS,), True)
    for entry in found.model_entries:
        paths = [file["path"] for file in entry["files"]]
        assert paths == [f"{entry['name']}.onnx", "voices-v1.0.bin"]
        assert entry["size"] == sum(file["size"] for file in entry["files"])
        assert all(file["url"].endswith(f"/model-files-v1.0/{file['path']}") for file in entry["files"])


def test_nothing_heavy_is_imported_before_an_engine_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "kokoro_onnx", raising=False)
    operation_type()
    assert "kokoro_onnx" not in sys.modules


@pytest.mark.parametrize("voice", list(KOKORO_TONES))
async def test_each_voice_sounds_its_own_way(places: Places, voice: str) -> None:
    async with open_operation("kokoro", Role.TTS, {"voice": voice}, places) as kokoro:
        audio = await spoken(kokoro, SENTENCE)
    assert {(piece.sample_rate, piece.sample_width, piece.channels) for piece in audio} == {(KOKORO_RATE, 2, 1)}
    assert hertz(audio) == pytest.approx(KOKORO_TONES[voice], rel=0.02)
    assert duration_ms(audio) > 400


@pytest.mark.parametrize(
    ("mixture", "wanted"),
    [("af_heart+bf_emma", 275), ("af_heart:3 + bf_emma:1", 247.5), ("AF_HEART", 220), ("am_adam:0.5", 150)],
)
async def test_voices_are_mixed(places: Places, mixture: str, wanted: float) -> None:
    async with open_operation("kokoro", Role.TTS, {"voice": mixture}, places) as kokoro:
        assert hertz(await spoken(kokoro, SENTENCE)) == pytest.approx(wanted, rel=0.02)


@pytest.mark.parametrize("voice", ["af_hart", "nobody", "af_heart+nobody", "af_heart:x", "af_heart:0", "af_heart:nan"])
async def test_unknown_voices_are_refused(places: Places, voice: str) -> None:
    with pytest.raises(BadRequest, match=r"nearest: |a share is a number"):
        await load(places, voice=voice)


async def test_voices_are_listed(places: Places) -> None:
    async with open_operation("kokoro", Role.TTS, {}, places) as kokoro:
        voices = [(voice.id, voice.name, voice.language, voice.gender) for voice in await kokoro.voices()]
    assert voices == [
        ("af_heart", "Heart", "en-US", "female"),
        ("am_adam", "Adam", "en-US", "male"),
        ("bf_emma", "Emma", "en-GB", "female"),
        ("ff_siwis", "Siwis", "fr-FR", "female"),
    ]


async def test_speed_and_pauses_are_heard(places: Places) -> None:
    async with open_engines(places) as engines:
        plain = await engines.load("kokoro", Role.TTS, {"sentence_pause_ms": 0})
        quick = await engines.load("kokoro", Role.TTS, {"sentence_pause_ms": 0, "speed": 2})
        paused = await engines.load("kokoro", Role.TTS, {})
        assert engines.open_count == 1
        length = duration_ms(await spoken(plain.operation, SENTENCE))
        assert duration_ms(await spoken(quick.operation, SENTENCE)) == pytest.approx(length / 2, rel=0.05)
        pauses = [silence_ms(await spoken(paused.operation, f"Hello there{mark}")) for mark in (".", '!"', ",", "")]
        assert pauses == pytest.approx([250, 250, 100, 0], abs=1)
        for one in (plain, quick, paused):
            await one.release()


async def test_the_language_is_the_voices_unless_it_is_said(places: Places) -> None:
    async def phonemes(options: dict[str, Any], *parts: str | SpeechText) -> list[str]:
        said: list[str] = []
        async with open_operation("kokoro", Role.TTS, options, places) as kokoro:
            real = kokoro.engine.synthesizer.phonemes

            def noted(*asked: Any) -> str:
                said.append(real(*asked))
                return said[-1]

            kokoro.engine.synthesizer.phonemes = noted
            await spoken(kokoro, *parts)
        return said

    text = "Paris est une ville."
    french = await phonemes({"voice": "ff_siwis"}, text)
    assert await phonemes({"voice": "af_heart"}, text) != french
    assert await phonemes({"voice": "af_heart", "language": "fr-fr"}, text) == french
    assert await phonemes({"voice": "af_heart", "language": "french"}, text) == french
    assert await phonemes({"voice": "af_heart"}, SpeechText(text, language="fr")) == french
    assert await phonemes({"voice": "af_heart"}, SpeechText(text, voice="ff_siwis")) == french
    assert await phonemes({"voice": "af_heart", "language": "fr"}, SpeechText(text, voice="bf_emma")) == french
    british = await phonemes({"voice": "bf_emma"}, text)
    assert await phonemes({"voice": "bf_emma"}, SpeechText(text, language="english")) == british
    assert await phonemes({"voice": "bf_emma"}, SpeechText(text, language="en-US")) != british
    assert "(" not in "".join(await phonemes({"voice": "ff_siwis"}, "Le weekend, un football game."))


async def test_a_language_that_is_not_spoken(places: Places, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(BadRequest, match=r"kokoro pronounces no 'klingon'; known: .*en-us"):
        await load(places, language="klingon")
    async with open_operation("kokoro", Role.TTS, {}, places) as kokoro:
        for _ in range(3):
            assert await spoken(kokoro, SpeechText("Hello.", voice="alloy", language="klingon"))
    said = [record.getMessage() for record in caplog.records if "bindings.loaded.kokoro" in record.name]
    assert len(said) == 2 and "alloy" in said[0] and "klingon" in said[1]


async def test_the_first_piece_is_heard_before_the_last_is_made(places: Places) -> None:
    async with open_operation("kokoro", Role.TTS, {}, places) as kokoro:
        synthesizer = kokoro.engine.synthesizer
        real, heard, count = synthesizer.speak, threading.Event(), 0

        def waiting(*arguments: Any) -> Any:
            nonlocal count
            count += 1
            assert count < 3 or heard.wait(30)
            return real(*arguments)

        synthesizer.speak = waiting
        made = 0
        async with aclosing(kokoro.speak(texts("Here is a rather long sentence with many words in it. " * 25))) as out:
            async for _ in out:
                heard.set()
                made += 1
        assert made == count > 4


async def test_closing_stops_after_the_piece_that_is_made(places: Places) -> None:
    async with open_operation("kokoro", Role.TTS, {}, places) as kokoro:
        synthesizer = kokoro.engine.synthesizer
        real, count = synthesizer.speak, 0

        def counted(*arguments: Any) -> Any:
            nonlocal count
            count += 1
            return real(*arguments)

        synthesizer.speak = counted
        async with aclosing(kokoro.speak(texts("This is one of many sentences. " * 500))) as out:
            await anext(out)
        for thread in [thread for thread in threading.enumerate() if thread.name == "greenroom-kokoro"]:
            await asyncio.to_thread(thread.join, 30)
        assert 1 <= count <= 5
        assert await spoken(kokoro, SENTENCE)


async def test_several_sessions_share_the_model_and_speak_at_once(places: Places) -> None:
    jobs = [(voice, f"Number {'one ' * number}is speaking.") for number in range(4) for voice in KOKORO_TONES]
    async with open_engines(places) as engines:
        loaded = {voice: await engines.load("kokoro", Role.TTS, {"voice": voice}) for voice in KOKORO_TONES}
        assert engines.open_count == 1
        alone = [duration_ms(await spoken(loaded[voice].operation, text)) for voice, text in jobs]
        together = await asyncio.gather(*(spoken(loaded[voice].operation, text) for voice, text in jobs))
        for (voice, _), audio, wanted in zip(jobs, together, alone, strict=True):
            assert duration_ms(audio) == wanted
            assert hertz(audio) == pytest.approx(KOKORO_TONES[voice], rel=0.03)
        for one in loaded.values():
            await one.release()


@pytest.mark.parametrize(
    ("text", "sounds"),
    [
        ("", False),
        (" \n", False),
        ("...", False),
        ("😀", False),
        ("\0x", True),
        ("\ud800 hello", True),
        ("[[h@loU]]", True),
        ("日本語です。", True),
        ("a" * 3000, True),
        ("<speak>hi</speak>", True),
        ("1,234.5 apples & pears @ 50%", True),
    ],
)
async def test_odd_text_does_no_harm(places: Places, text: str, sounds: bool) -> None:
    async with open_operation("kokoro", Role.TTS, {}, places) as kokoro:
        assert bool(await spoken(kokoro, text)) is sounds
        assert await spoken(kokoro, SENTENCE)


# what can be wrong


async def load(places: Places, **options: Any) -> None:
    async with open_operation("kokoro", Role.TTS, options, places):
        pass


async def test_missing_files_name_the_command(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"no model in .*greenroom install model kokoro kokoro-v1\.0"):
        await load(Places(tmp_path))
    tiny_kokoro(tmp_path / "kokoro")
    (tmp_path / "kokoro" / "voices-v1.0.bin").unlink()
    with pytest.raises(Unavailable, match=r"no file of voices in .*greenroom install model kokoro kokoro-v1\.0"):
        await load(Places(tmp_path))


async def test_files_are_looked_up_by_name(places: Places) -> None:
    folder = places.models / "kokoro"
    tiny_kokoro(folder, "kokoro-v1.0.int8", "voices-v1.1.bin")
    for model in ("", "kokoro-v1.0", "kokoro-v1.0.onnx", "kokoro-v1.0.int8"):
        await load(places, model=model)
    await load(places, voices_file="voices-v1.1")
    with pytest.raises(NotFound, match=r"there are: kokoro-v1\.0, kokoro-v1\.0\.int8; install it with: .*kokoro-v2"):
        await load(places, model="kokoro-v2")
    with pytest.raises(NotFound):
        await load(places, model="../kokoro/kokoro-v1.0")
    (folder / "kokoro-v1.0.onnx").rename(folder / "kokoro-zh.onnx")
    with pytest.raises(BadRequest, match="which model"):
        await load(places)
    found = BindingShelf((BINDINGS,)).get("kokoro")
    models = await operation_type().models(operation_type().Options(), places.place(found))
    assert [(model.name, model.installed) for model in models] == [("kokoro-v1.0.int8", True), ("kokoro-zh", True)]


def cut_model(folder: Path) -> None:
    path = folder / "kokoro-v1.0.onnx"
    path.write_bytes(path.read_bytes()[:200])


def page_model(folder: Path) -> None:
    (folder / "kokoro-v1.0.onnx").write_text("<html>moved</html>")


def other_model(folder: Path) -> None:
    tiny_piper(folder, "kokoro-v1.0")


def cut_voices(folder: Path) -> None:
    path = folder / "voices-v1.0.bin"
    path.write_bytes(path.read_bytes()[:5000])


def page_voices(folder: Path) -> None:
    (folder / "voices-v1.0.bin").write_text("<html>moved</html>")


def empty_voices(folder: Path) -> None:
    (folder / "voices-v1.0.bin").write_bytes(b"")


def other_voices(folder: Path) -> None:
    with (folder / "voices-v1.0.bin").open("wb") as file:
        np.savez(file, af_heart=np.zeros(3))


def array_voices(folder: Path) -> None:
    with (folder / "voices-v1.0.bin").open("wb") as file:
        np.save(file, np.zeros(3))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (cut_model, "no whole model"),
        (page_model, "no whole model"),
        (other_model, "is no Kokoro model: it takes input, input_lengths, scales"),
        (cut_voices, "no whole file of voices"),
        (page_voices, "no whole file of voices"),
        (empty_voices, "no whole file of voices"),
        (other_voices, "holds no voices"),
        (array_voices, "no whole file of voices"),
    ],
)
async def test_damaged_files_say_what_is_wrong(places: Places, damage: Any, said: str) -> None:
    damage(places.models / "kokoro")
    with pytest.raises(Unavailable, match=said) as caught:
        await load(places)
    assert "greenroom install model kokoro kokoro-v1.0" in caught.value.message


async def test_a_failing_model_is_a_failure_of_the_binding(places: Places) -> None:
    from onnxruntime.capi.onnxruntime_pybind11_state import RuntimeException

    def failing(*arguments: Any, **named: Any) -> Any:
        raise RuntimeException("out of memory")

    async with open_operation("kokoro", Role.TTS, {}, places) as kokoro:
        kokoro.engine.synthesizer._kokoro.create = failing
        with pytest.raises(BindingFailed, match="the Kokoro model failed: out of memory"):
            await spoken(kokoro, SENTENCE)


@pytest.mark.parametrize("package", ["kokoro_onnx", "onnxruntime", "phonemizer", "espeakng_loader", "numpy"])
async def test_a_missing_package_is_said_plainly(places: Places, monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    operation = operation_type()
    place = places.place(BindingShelf((BINDINGS,)).get("kokoro"))
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(Unavailable, match=r'pip install "greenroom\[kokoro\]"'):
        await operation.open_engine(operation.Options(), place)


async def test_a_device_that_is_not_there(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(Unavailable, match="onnxruntime-gpu"):
        await load(places, device="cuda")


@pytest.mark.parametrize(
    "options",
    [{"speed": 0.4}, {"speed": 2.1}, {"voice": ""}, {"sentence_pause_ms": -1}, {"device": "tpu"}, {"rate": 3}],
)
def test_wrong_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(BadRequest, match=next(iter(options))):
        parse_options(operation_type(), options, "kokoro")


async def test_a_turn_through_a_real_server(tmp_path: Path) -> None:
    home = tmp_path / "home"
    tiny_kokoro(home / "models" / "kokoro")
    (home / "config.yaml").write_text(
        "turn: {audio_lead_ms: 0}\noperations: [{role: t2t, id: eliza}, {role: tts, id: kokoro, voice: bf_emma}]\n",
        encoding="utf-8",
    )
    text = "The lamp is lit. The door is open."
    async with running_server(home) as server, visitor(server.url) as ana:
        told = await ana.run("say", text=text)
        check_turn(told)
        assert text_of(told) == text
        assert len(pcm_of(told)) > KOKORO_RATE
        told = await ana.run("response", text="Hello, who are you?")
        check_turn(told)
        assert pcm_of(told)
