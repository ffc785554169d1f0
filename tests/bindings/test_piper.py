"""The piper binding: the real package with a tiny voice, its own espeak-ng, and other copies of that beside it."""

import asyncio
import json
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
from fakes.tiny_voices import PIPER_RATE, tiny_kokoro, tiny_piper
from greenroom.bindings.discovery import BindingShelf
from greenroom.bindings.engines import parse_options
from greenroom.errors import BadRequest, BindingFailed, NotFound, Unavailable
from greenroom.values import Audio, Role, SpeechText, WordTime

ONE = "en_XX-tiny-low"
SEVERAL = "de_XX-choir-low"
SPEAKERS = {"ann": 0, "bob": 1, "eve": 4}
SENTENCE = "Hello there, my friend."


@pytest.fixture
def places(tmp_path: Path) -> Places:
    tiny_piper(tmp_path / "piper", ONE)
    return Places(tmp_path)


@pytest.fixture
def choir(tmp_path: Path) -> Places:
    tiny_piper(tmp_path / "piper", SEVERAL, speakers=SPEAKERS, language="de_DE", espeak_voice="de")
    return Places(tmp_path)


def operation_type() -> Any:
    return BindingShelf((BINDINGS,)).get("piper").operation(Role.TTS)


async def texts(*parts: str | SpeechText) -> AsyncIterator[SpeechText]:
    for part in parts:
        yield part if isinstance(part, SpeechText) else SpeechText(part)


async def spoken(operation: Any, *parts: str | SpeechText) -> list[Audio]:
    return [item async for item in operation.speak(texts(*parts))]


def samples(audio: list[Audio]) -> Any:
    return np.frombuffer(b"".join(piece.pcm for piece in audio), "<i2").astype(float)


def hertz(audio: list[Audio]) -> float:
    wave = samples(audio)
    return float(np.argmax(np.abs(np.fft.rfft(wave * np.hanning(len(wave))))) * audio[0].sample_rate / len(wave))


def duration_ms(audio: list[Audio]) -> float:
    return sum(piece.duration_ms for piece in audio)


def test_the_card_says_what_it_is() -> None:
    found = BindingShelf((BINDINGS,)).get("piper")
    assert (found.status, found.card.roles, found.card.offline) == ("ready", (Role.TTS,), True)


def test_every_voice_of_the_list_has_both_its_files() -> None:
    entries = BindingShelf((BINDINGS,)).get("piper").model_entries
    names = [entry["name"] for entry in entries]
    assert len(set(names)) == len(names) > 15 and "en_US-lessac-medium" in names
    for entry in entries:
        locale, name, quality = entry["name"].split("-")
        folder = f"rhasspy/piper-voices/resolve/main/{locale[:2]}/{locale}/{name}/{quality}/"
        assert [file["path"] for file in entry["files"]] == [f"{entry['name']}.onnx", f"{entry['name']}.onnx.json"]
        assert all(file["url"] == f"https://huggingface.co/{folder}{file['path']}" for file in entry["files"])
        assert entry["languages"] == [locale.replace("_", "-")]


def test_nothing_heavy_is_imported_before_an_engine_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("piper", "piper.voice"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    operation_type()
    assert "piper" not in sys.modules


async def test_a_sentence_a_chunk(places: Places) -> None:
    async with open_operation("piper", Role.TTS, {}, places) as piper:
        audio = await spoken(piper, "One two three. Four five? Six!")
    assert len(audio) == 3
    assert {(piece.sample_rate, piece.sample_width, piece.channels) for piece in audio} == {(PIPER_RATE, 2, 1)}
    assert audio[0].duration_ms > audio[2].duration_ms > 100
    assert hertz(audio[:1]) == pytest.approx(200, abs=5)
    assert np.abs(samples(audio)).max() > 32_000, "normalised"


async def test_the_first_sentence_is_heard_before_the_last_is_made(places: Places) -> None:
    """The voice waits in its third sentence until the first has been heard."""
    async with open_operation("piper", Role.TTS, {"voice": ONE}, places) as piper:
        voice = piper.engine.synthesizer._voice
        real, heard, count = voice.phoneme_ids_to_audio, threading.Event(), 0

        def waiting(*arguments: Any, **named: Any) -> Any:
            nonlocal count
            count += 1
            assert count < 3 or heard.wait(30)
            return real(*arguments, **named)

        voice.phoneme_ids_to_audio = waiting
        made = 0
        async with aclosing(piper.speak(texts("One. Two. Three. Four. Five."))) as out:
            async for _ in out:
                heard.set()
                made += 1
        assert made == 5


async def test_closing_stops_after_the_sentence_that_is_made(places: Places) -> None:
    async with open_operation("piper", Role.TTS, {}, places) as piper:
        voice = piper.engine.synthesizer._voice
        real, count = voice.phoneme_ids_to_audio, 0

        def counted(*arguments: Any, **named: Any) -> Any:
            nonlocal count
            count += 1
            return real(*arguments, **named)

        voice.phoneme_ids_to_audio = counted
        async with aclosing(piper.speak(texts("This is one of many sentences. " * 200))) as out:
            await anext(out)
        for thread in [thread for thread in threading.enumerate() if thread.name == "greenroom-piper"]:
            await asyncio.to_thread(thread.join, 30)
        assert 1 <= count <= 5
        assert await spoken(piper, SENTENCE)


@pytest.mark.parametrize(
    ("options", "ratio"), [({"length_scale": 2}, 2), ({"length_scale": 0.5}, 0.5), ({"volume": 0.1}, 1)]
)
async def test_options_are_heard(places: Places, options: dict[str, Any], ratio: float) -> None:
    async with open_engines(places) as engines:
        plain = await engines.load("piper", Role.TTS, {})
        other = await engines.load("piper", Role.TTS, options)
        assert engines.open_count == 1
        first, second = await spoken(plain.operation, SENTENCE), await spoken(other.operation, SENTENCE)
        assert duration_ms(second) == pytest.approx(ratio * duration_ms(first), rel=0.02)
        if "volume" in options:
            assert np.abs(samples(second)).max() == pytest.approx(0.1 * np.abs(samples(first)).max(), rel=0.02)
        await plain.release()
        await other.release()


async def test_silence_after_each_sentence(places: Places) -> None:
    async with open_operation("piper", Role.TTS, {"sentence_silence_ms": 300, "normalize": False}, places) as piper:
        audio = await spoken(piper, "One. Two.")
    silence = 2 * (PIPER_RATE * 300 // 1000)
    assert len(audio) == 2
    assert all(not any(piece.pcm[-silence:]) and any(piece.pcm[:-silence]) for piece in audio)
    assert np.abs(samples(audio)).max() == pytest.approx(16_384, rel=0.01), "not normalised"


async def test_speakers_by_name_and_number(choir: Places, caplog: pytest.LogCaptureFixture) -> None:
    for options, wanted in (
        ({}, 200),
        ({"speaker": "bob"}, 300),
        ({"speaker": "EVE"}, 600),
        ({"speaker": 1}, 300),
        ({"voice": f"{SEVERAL}#eve"}, 600),
    ):
        async with open_operation("piper", Role.TTS, options, choir) as piper:
            assert hertz(await spoken(piper, "Guten Tag.")) == pytest.approx(wanted, abs=8)
            assert hertz(await spoken(piper, SpeechText("Guten Tag.", voice=f"{SEVERAL}#bob"))) == pytest.approx(
                300, abs=8
            )
    caplog.clear()
    async with open_operation("piper", Role.TTS, {}, choir) as piper:
        for _ in range(3):
            assert hertz(await spoken(piper, SpeechText("Guten Tag.", voice="alloy"))) == pytest.approx(200, abs=8)
    assert len(caplog.messages) == 1 and "alloy" in caplog.messages[0]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"speaker": "zoe"}, "ann, bob, eve"),
        ({"speaker": "7"}, "no speaker '7'"),
        ({"voice": f"{SEVERAL}#bob", "speaker": "ann"}, "named twice"),
    ],
)
async def test_wrong_speakers_are_refused(choir: Places, options: dict[str, Any], said: str) -> None:
    with pytest.raises(BadRequest, match=said):
        await load(choir, **options)


async def test_one_speaker_takes_no_name(places: Places) -> None:
    with pytest.raises(BadRequest, match="one speaker"):
        await load(places, speaker="bob")


async def test_voices_are_listed(places: Places, choir: Places) -> None:
    (places.models / "piper" / "broken.onnx").write_bytes(b"")
    async with open_operation("piper", Role.TTS, {"voice": SEVERAL}, places) as piper:
        voices = [(voice.id, voice.language) for voice in await piper.voices()]
    assert voices == [
        (SEVERAL, "de-DE"),
        (f"{SEVERAL}#ann", "de-DE"),
        (f"{SEVERAL}#bob", "de-DE"),
        (f"{SEVERAL}#eve", "de-DE"),
        (ONE, "en-US"),
    ]
    found = BindingShelf((BINDINGS,)).get("piper")
    models = await operation_type().models(operation_type().Options(), places.place(found))
    assert [(model.name, model.installed) for model in models] == [("broken", False), (SEVERAL, True), (ONE, True)]


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
    async with open_operation("piper", Role.TTS, {}, places) as piper:
        assert bool(await spoken(piper, text)) is sounds
        assert await spoken(piper, SENTENCE)


async def test_several_sessions_share_a_voice_and_speak_at_once(places: Places) -> None:
    numbered = [f"Number {'one ' * number}is speaking." for number in range(12)]
    async with open_engines(places) as engines:
        loaded = [await engines.load("piper", Role.TTS, {}) for _ in numbered]
        assert engines.open_count == 1
        alone = [duration_ms(await spoken(loaded[0].operation, text)) for text in numbered]
        together = await asyncio.gather(
            *(spoken(one.operation, text) for one, text in zip(loaded, numbered, strict=True))
        )
        assert [duration_ms(audio) for audio in together] == alone == sorted(alone)
        for one in loaded:
            await one.release()


async def test_other_copies_of_espeak_in_the_same_process(places: Places) -> None:
    """espeak, piper and kokoro each have a copy of espeak-ng, with a state for the whole process: all at once."""
    tiny_kokoro(places.models / "kokoro")
    numbers = "One two three four five six seven."
    async with (
        open_operation("espeak", Role.TTS, {"voice": "de"}, places) as espeak,
        open_operation("piper", Role.TTS, {}, places) as piper,
        open_operation("kokoro", Role.TTS, {"voice": "ff_siwis"}, places) as kokoro,
    ):

        async def measure(operation: Any) -> tuple[float, int]:
            items = await spoken(operation, numbers)
            audio = [item for item in items if isinstance(item, Audio)]
            return round(duration_ms(audio), -2), sum(isinstance(item, WordTime) for item in items)

        alone = [await measure(operation) for operation in (espeak, piper, kokoro)]
        assert alone[0][1] == 7 and all(length > 500 for length, _ in alone)
        for _ in range(5):
            together = await asyncio.gather(*(measure(operation) for operation in (espeak, piper, kokoro) * 3))
            for (length, words), (wanted, count) in zip(together, alone * 3, strict=True):
                assert words == count and abs(length - wanted) <= 100


# what can be wrong


async def load(places: Places, **options: Any) -> None:
    async with open_operation("piper", Role.TTS, options, places):
        pass


async def test_missing_voices_name_the_command(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="greenroom install model piper en_US-lessac-medium"):
        await load(Places(tmp_path))
    with pytest.raises(Unavailable, match="greenroom install model piper de_DE-thorsten-medium"):
        await load(Places(tmp_path), voice="de_DE-thorsten-medium")


async def test_names_are_looked_up(places: Places, choir: Places) -> None:
    for name in (ONE, f"{ONE}.onnx", ONE.upper()):
        await load(places, voice=name)
    with pytest.raises(BadRequest, match=f"which voice.*{SEVERAL}, {ONE}"):
        await load(places)
    with pytest.raises(NotFound, match="greenroom install model piper en_US-amy-medium"):
        await load(places, voice="en_US-amy-medium")
    with pytest.raises(NotFound):
        await load(places, voice=f"../piper/{ONE}")


def no_config(model: Path) -> None:
    Path(f"{model}.json").unlink()


def broken_config(model: Path) -> None:
    Path(f"{model}.json").write_text("{")


def thin_config(model: Path) -> None:
    Path(f"{model}.json").write_text('{"num_speakers": 1, "audio": {"sample_rate": 16000}}')


def odd_config(model: Path) -> None:
    Path(f"{model}.json").write_text("[1]")


def unknown_kind(model: Path) -> None:
    path = Path(f"{model}.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "phoneme_type": "runes"}))


def cut_model(model: Path) -> None:
    model.write_bytes(model.read_bytes()[:200])


def page_model(model: Path) -> None:
    model.write_text("<html>moved</html>")


def empty_model(model: Path) -> None:
    model.write_bytes(b"")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (no_config, "lacks its file"),
        (broken_config, "cannot be read"),
        (thin_config, "lacks 'phoneme_id_map'"),
        (odd_config, "cannot be read"),
        (unknown_kind, "does not know the voice"),
        (cut_model, "no whole voice"),
        (page_model, "no whole voice"),
        (empty_model, "no whole voice"),
    ],
)
async def test_damaged_voices_say_what_is_wrong(places: Places, damage: Any, said: str) -> None:
    damage(places.models / "piper" / f"{ONE}.onnx")
    with pytest.raises(Unavailable, match=said) as caught:
        await load(places)
    assert ONE in caught.value.message


async def test_a_failing_model_is_a_failure_of_the_binding(places: Places) -> None:
    from onnxruntime.capi.onnxruntime_pybind11_state import RuntimeException

    def failing(*arguments: Any, **named: Any) -> Any:
        raise RuntimeException("out of memory")

    async with open_operation("piper", Role.TTS, {}, places) as piper:
        piper.engine.synthesizer._voice.phoneme_ids_to_audio = failing
        with pytest.raises(BindingFailed, match=f"{ONE} failed: out of memory"):
            await spoken(piper, SENTENCE)


async def test_a_language_that_needs_more_packages(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    """No package for pronouncing Chinese is among the requirements."""
    monkeypatch.setitem(sys.modules, "piper.phonemize_chinese", None)
    path = places.models / "piper" / f"{ONE}.onnx.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "phoneme_type": "pinyin"}))
    folder = path.parent / "g2pW"
    with pytest.raises(Unavailable, match=r"needs the model g2pW .*piper-tts\[zh\].*python -c .*" + folder.as_posix()):
        await load(places)  # or the package would fetch it without a word
    folder.mkdir()
    (folder / "g2pw.onnx").write_bytes(b"")
    with pytest.raises(Unavailable, match=r"for its language: .*piper-tts\[zh\]"):
        await load(places)


async def test_a_voice_of_a_language_that_espeak_does_not_know(places: Places) -> None:
    path = places.models / "piper" / f"{ONE}.onnx.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "espeak": {"voice": "xx-nowhere"}}))
    with pytest.raises(BindingFailed, match=f"the voice {ONE} failed: .*xx-nowhere"):
        await load(places)


@pytest.mark.parametrize("package", ["piper", "onnxruntime", "numpy"])
async def test_a_missing_package_is_said_plainly(places: Places, monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    operation = operation_type()
    place = places.place(BindingShelf((BINDINGS,)).get("piper"))
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(Unavailable, match=r'pip install "greenroom\[piper\]"'):
        await operation.open_engine(operation.Options(), place)


async def test_a_device_that_is_not_there(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(Unavailable, match="onnxruntime-gpu"):
        await load(places, device="cuda")


@pytest.mark.parametrize(
    "options",
    [{"length_scale": 0}, {"volume": -1}, {"noise_scale": 9}, {"threads": -1}, {"device": "tpu"}, {"rate": 3}],
)
def test_wrong_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(BadRequest, match=next(iter(options))):
        parse_options(operation_type(), options, "piper")


async def test_a_turn_through_a_real_server(tmp_path: Path) -> None:
    home = tmp_path / "home"
    tiny_piper(home / "models" / "piper", ONE)
    (home / "config.yaml").write_text(
        f"turn: {{audio_lead_ms: 0}}\noperations: [{{role: t2t, id: eliza}}, {{role: tts, id: piper, voice: {ONE}}}]\n",
        encoding="utf-8",
    )
    text = "The lamp is lit. The door is open."
    async with running_server(home) as server, visitor(server.url) as ana:
        told = await ana.run("say", text=text)
        check_turn(told)
        assert text_of(told) == text
        assert len(pcm_of(told)) > PIPER_RATE
        told = await ana.run("response", text="Hello, who are you?")
        check_turn(told)
        assert pcm_of(told)
