"""The whisper binding: the real packages on a tiny Whisper that was taught two sentences, and flite's speech."""

import asyncio
import shutil
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import aclosing
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from e2e.visitor import end_of, visitor
from fakes.binding_rig import BINDINGS, Places, open_engines, open_operation
from fakes.flite import flite
from fakes.server_process import running_server
from fakes.tiny_whisper import RATE, SAID, tiny_whisper_ct2
from greenroom.bindings.discovery import BindingShelf, read_binding
from greenroom.bindings.downloads.entries import read_entries
from greenroom.bindings.engines import parse_options
from greenroom.bindings.pcm import MonoConverter
from greenroom.errors import BadRequest, BindingFailed, Unavailable
from greenroom.values import Audio, Role, Transcript

BASE = "Systran/faster-whisper-base"
QUICK: dict[str, Any] = {"device": "cpu", "threads": 1, "beam_size": 1, "use_hint": False, "partial_every_s": 0}
LIVE = {**QUICK, "partial_every_s": 0.01}
HELLO, FOX = SAID


@pytest.fixture
def places(tmp_path: Path) -> Places:
    """The tiny model where ``greenroom install model whisper base`` puts the real one."""
    shutil.copytree(tiny_whisper_ct2(), tmp_path / "whisper" / BASE)
    return Places(models=tmp_path)


def silence(seconds: float) -> Audio:
    return Audio(bytes(2 * round(seconds * RATE)), RATE)


def joined(*parts: Audio) -> Audio:
    return Audio(b"".join(part.pcm for part in parts), RATE)


async def pieces(audio: Audio, step: int = 6400) -> AsyncIterator[Audio]:
    for start in range(0, len(audio.pcm), step):
        yield Audio(audio.pcm[start : start + step], audio.sample_rate, audio.sample_width, audio.channels)


async def transcripts(operation: Any, *audio: Audio, hint: str = "") -> list[Transcript]:
    found = [item async for item in operation.transcribe(pieces(joined(*audio)), hint)]
    assert [item.final for item in found] == [False] * (len(found) - 1) + [True]
    return found


async def heard(operation: Any, *audio: Audio, hint: str = "") -> str:
    return (await transcripts(operation, *audio, hint=hint))[-1].text


def recorded(operation: Any) -> list[tuple[float, dict[str, Any]]]:
    """What the model is asked from now on: seconds of sound, and how."""
    asked: list[tuple[float, dict[str, Any]]] = []
    inner = operation.engine._model.transcribe

    def transcribe(samples: Any, **how: Any) -> Any:
        asked.append((len(samples) / RATE, how))
        return inner(samples, **how)

    operation.engine._model.transcribe = transcribe
    return asked


@pytest.mark.parametrize("vad_filter", [True, False])
async def test_it_hears_what_was_said(places: Places, vad_filter: bool) -> None:
    async with open_operation("whisper", Role.STT, {**QUICK, "vad_filter": vad_filter}, places) as whisper:
        for text in SAID:
            assert await transcripts(whisper, flite(text)) == [Transcript(text)]


async def test_speech_amid_silence_at_another_rate(places: Places) -> None:
    async with open_operation("whisper", Role.STT, QUICK, places) as whisper:
        assert await heard(whisper, silence(3), flite(HELLO), silence(2)) == HELLO
        mono = MonoConverter(48_000).feed(flite(HELLO))
        stereo = b"".join(mono[at : at + 2] * 2 for at in range(0, len(mono), 2))
        sound = Audio(stereo, 48_000, 2, 2)
        found = [item async for item in whisper.transcribe(pieces(sound, 48_001), "")]
        assert found[-1].final and set(found[-1].text.split()) <= set(f"{HELLO} {FOX}".split())


@pytest.mark.parametrize("vad_filter", [True, False])
async def test_where_nobody_speaks(places: Places, vad_filter: bool) -> None:
    async with open_operation("whisper", Role.STT, {**QUICK, "vad_filter": vad_filter}, places) as whisper:
        for sound in (silence(0), silence(0.02), silence(3), silence(70)):
            assert await transcripts(whisper, sound) == [Transcript("")]


async def test_a_long_recording_is_settled_piece_by_piece(places: Places) -> None:
    """No stretch is longer than the window, and each is heard once."""
    async with open_operation("whisper", Role.STT, {**QUICK, "window_s": 5}, places) as whisper:
        asked = recorded(whisper)
        said = [HELLO, FOX, FOX, HELLO, FOX]
        parts = [part for text in said for part in (flite(text), silence(2.5))]
        found = await transcripts(whisper, *parts)
    assert found[-1].text == " ".join(said)
    assert len(asked) == len(said) and max(seconds for seconds, _ in asked) < 5
    assert [item.text for item in found[:-1]] == [" ".join(said[:count]) for count in range(1, len(said) + 1)]


async def test_a_long_recording_without_looking_for_speech(places: Places) -> None:
    """It is cut where the window ends; so small a model makes anything of that, but each word stands there once."""
    options = {**QUICK, "window_s": 5, "vad_filter": False}
    async with open_operation("whisper", Role.STT, options, places) as whisper:
        found = await transcripts(whisper, flite(HELLO), silence(3.5), flite(HELLO), silence(9))
    assert found[-1].text.startswith(HELLO)


async def test_words_come_while_the_sound_comes(places: Places) -> None:
    """The sound goes on only when the words so far have been told."""
    told = asyncio.Event()
    found: list[Transcript] = []

    async def live() -> AsyncIterator[Audio]:
        yield joined(flite(HELLO), silence(1))
        await told.wait()
        yield joined(silence(2), flite(FOX))

    async with open_operation("whisper", Role.STT, {**LIVE, "window_s": 5}, places) as whisper:
        async for item in whisper.transcribe(live(), ""):
            found.append(item)
            told.set()
    assert found[0] == Transcript(HELLO, final=False)
    assert found[-1] == Transcript(f"{HELLO} {FOX}")
    assert [item.final for item in found].count(True) == 1


async def test_what_was_heard_last_is_not_heard_again(places: Places) -> None:
    """The final words are there as soon as the sound ends, if nothing but silence came after the last partial ones."""
    told = asyncio.Event()

    async def live() -> AsyncIterator[Audio]:
        yield joined(flite(HELLO), silence(1))
        await told.wait()
        yield silence(0.5)

    async with open_operation("whisper", Role.STT, LIVE, places) as whisper:
        asked = recorded(whisper)
        found = []
        async for item in whisper.transcribe(live(), ""):
            found.append(item)
            told.set()
    assert found == [Transcript(HELLO, final=False), Transcript(HELLO)]
    assert len(asked) == 1


async def test_the_hint_reaches_the_model(places: Places) -> None:
    async with open_operation("whisper", Role.STT, {**QUICK, "use_hint": True, "prompt": "Zoe."}, places) as whisper:
        asked = recorded(whisper)
        await heard(whisper, flite(HELLO), hint=" Ana and Bob ")
    assert [(how["initial_prompt"], how["task"]) for _, how in asked] == [("Zoe. Ana and Bob", "transcribe")]


async def test_two_sessions_at_once(places: Places) -> None:
    async with open_engines(places) as engines:
        loaded = [await engines.load("whisper", Role.STT, {**QUICK, **more}) for more in ({}, {"language": "en"})]
        assert engines.open_count == 1
        found = await asyncio.gather(
            *(heard(one.operation, flite(text)) for one, text in zip(loaded, SAID, strict=True))
        )
        assert found == list(SAID)
        await loaded[0].release()
        assert await heard(loaded[1].operation, flite(HELLO)) == HELLO
        await loaded[1].release()


async def test_a_transcription_that_is_left_stops_the_model(places: Places) -> None:
    """With one place, the next is heard only once the model has left the one before, at its next phrase."""
    async with open_operation("whisper", Role.STT, {**LIVE, "parallel": 1}, places) as whisper:
        begun, go_on, phrases = threading.Event(), threading.Event(), []
        inner = whisper.engine._model.transcribe

        def endless(samples: Any, **how: Any) -> Any:
            segments, info = inner(samples, **how)
            (segment,) = segments

            def repeated() -> Any:
                for _ in range(1000):
                    begun.set()
                    go_on.wait(30)
                    phrases.append(segment)
                    yield segment

            return repeated(), info

        whisper.engine._model.transcribe = endless
        items = whisper.transcribe(pieces(flite(HELLO)), "")
        listening = asyncio.create_task(anext(items))
        await asyncio.to_thread(begun.wait, 30)
        listening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await listening
        await items.aclose()
        go_on.set()
        whisper.engine._model.transcribe = inner
        assert await heard(whisper, flite(FOX)) == FOX
        assert len(phrases) < 10


async def test_a_listener_that_is_left_waits_for_no_sound(places: Places) -> None:
    never = asyncio.Event()
    closed = asyncio.Event()

    async def mute() -> AsyncIterator[Audio]:
        try:
            yield joined(flite(HELLO), silence(1))
            await never.wait()
        finally:
            closed.set()

    async with open_operation("whisper", Role.STT, LIVE, places) as whisper:
        async with aclosing(whisper.transcribe(mute(), "")) as items:
            assert (await anext(items)).text == HELLO
        assert closed.is_set()


async def test_sound_that_fails_midway(places: Places) -> None:
    async def broken() -> AsyncIterator[Audio]:
        yield flite(HELLO)
        raise ConnectionResetError("the microphone is gone")

    async def strange() -> AsyncIterator[Audio]:
        yield Audio(bytes(100), 10)

    async with open_operation("whisper", Role.STT, QUICK, places) as whisper:
        with pytest.raises(ConnectionResetError):
            [item async for item in whisper.transcribe(broken(), "")]
        with pytest.raises(BadRequest, match="sample rate is 10"):
            [item async for item in whisper.transcribe(strange(), "")]
        assert await heard(whisper, flite(HELLO)) == HELLO


async def test_a_model_that_fails(places: Places) -> None:
    async with open_operation("whisper", Role.STT, QUICK, places) as whisper:

        def full(samples: Any, **_: Any) -> Any:
            raise RuntimeError("CUDA failed with error out of memory")

        whisper.engine._model.transcribe = full
        with pytest.raises(BindingFailed, match=r"faster-whisper-base failed: CUDA .* out of memory"):
            await heard(whisper, flite(HELLO))


async def test_a_language_that_the_model_does_not_know(places: Places) -> None:
    async with open_operation("whisper", Role.STT, {**QUICK, "language": "de"}, places) as whisper:
        with pytest.raises(BadRequest, match="does not know the language 'de'; it knows English alone"):
            await heard(whisper, flite(HELLO))


@pytest.mark.parametrize(
    "wrong",
    [
        {"compute_type": "int3"},
        {"language": "English"},
        {"window_s": 60},
        {"device": "tpu"},
        {"beam_size": 0},
        {"x": 1},
    ],
)
def test_wrong_options(wrong: dict[str, Any]) -> None:
    operation = BindingShelf((BINDINGS,)).get("whisper").operation(Role.STT)
    with pytest.raises(BadRequest, match=f"whisper: option {next(iter(wrong))}"):
        parse_options(operation, wrong, "whisper")


@pytest.mark.parametrize(
    ("model", "command"),
    [("base", "whisper base"), ("turbo", "whisper turbo"), ("some/other-whisper", "whisper some/other-whisper")],
)
async def test_a_missing_model_names_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, command: str
) -> None:
    monkeypatch.setattr("greenroom.bindings.hub_models._in_cache", lambda name, config: None)
    with pytest.raises(Unavailable, match=f"get it with: greenroom install model {command}$"):
        async with open_operation("whisper", Role.STT, {"model": model}, Places(models=tmp_path)):
            raise AssertionError


async def test_models_are_found_by_short_name_folder_and_path(places: Places, tmp_path: Path) -> None:
    shutil.copytree(tiny_whisper_ct2(), tmp_path / "whisper" / "mine")
    for chosen in ({"model": BASE}, {"model": "mine"}, {"model_path": str(tiny_whisper_ct2())}):
        async with open_operation("whisper", Role.STT, {**QUICK, **chosen}, places) as whisper:
            assert await heard(whisper, flite(HELLO)) == HELLO
            assert whisper.engine.device.startswith("cpu, ")
    operation = BindingShelf((BINDINGS,)).get("whisper").operation(Role.STT)
    found = await operation.models(None, places.place(read_binding(BINDINGS / "whisper")))
    assert [model.name for model in found] == ["base", "mine"] and found[0].size_bytes > 100_000


async def test_what_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"it has no model\.bin"):
        async with open_operation("whisper", Role.STT, {"model_path": str(tmp_path)}):
            raise AssertionError
    (tmp_path / "model.bin").write_bytes(b"nothing")
    with pytest.raises(Unavailable, match=r"lacks its tokenizer\.json"):
        async with open_operation("whisper", Role.STT, {"model_path": str(tmp_path)}):
            raise AssertionError
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(Unavailable, match="does not load"):
        async with open_operation("whisper", Role.STT, {**QUICK, "model_path": str(tmp_path)}):
            raise AssertionError
    with pytest.raises(BadRequest, match="is no model's name"):
        async with open_operation("whisper", Role.STT, {"model": "../secret"}):
            raise AssertionError


async def test_a_device_that_is_not_there(places: Places) -> None:
    with pytest.raises(Unavailable, match="does not load"):
        async with open_operation("whisper", Role.STT, {**QUICK, "device": "cuda:63"}, places):
            raise AssertionError


class _CardWithoutLibraries:
    """A model that loads on a graphics card and fails as soon as it hears something."""

    supported_languages = ("en",)

    def __init__(self, real: Any, folder: str, **options: Any) -> None:
        self.asked = options["device"]
        self._real = real(folder, **{**options, "device": "cpu"})
        self.model = self._real.model if self.asked == "cpu" else SimpleNamespace(device="cuda", compute_type="float16")

    def transcribe(self, *arguments: Any, **options: Any) -> Any:
        if self.asked != "cpu":
            raise RuntimeError("Library libcublas.so.12 is not found or cannot be loaded")
        return self._real.transcribe(*arguments, **options)


async def test_a_graphics_card_without_its_libraries(
    places: Places, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where it was chosen by itself, the processor does the work; where it was asked for, it is said what to do."""
    import faster_whisper

    monkeypatch.setattr(faster_whisper, "WhisperModel", partial(_CardWithoutLibraries, faster_whisper.WhisperModel))
    async with open_operation("whisper", Role.STT, {**QUICK, "device": "auto"}, places) as whisper:
        assert await heard(whisper, flite(HELLO)) == HELLO
    assert "libcublas" in caplog.text and "using the processor" in caplog.text
    with pytest.raises(Unavailable, match=r"libcublas.*cuDNN.*device: cpu"):
        async with open_operation("whisper", Role.STT, {**QUICK, "device": "cuda"}, places):
            raise AssertionError


@pytest.mark.parametrize(("name", "command"), [("large", "large-v3"), ("large-v3-turbo", "turbo")])
async def test_names_of_whispers_own_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, command: str
) -> None:
    monkeypatch.setattr("greenroom.bindings.hub_models._in_cache", lambda name, config: None)
    with pytest.raises(Unavailable, match=f"greenroom install model whisper {command}$"):
        async with open_operation("whisper", Role.STT, {"model": name}, Places(models=tmp_path)):
            raise AssertionError


async def test_a_missing_package_names_the_command(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    with pytest.raises(Unavailable, match=r'pip install "greenroom\[whisper\]"'):
        async with open_operation("whisper", Role.STT, QUICK, places):
            raise AssertionError


def test_every_listed_model_can_be_chosen() -> None:
    found = read_binding(BINDINGS / "whisper")
    assert found.status == "ready"
    module = found.operation(Role.STT).__module__
    short = sys.modules[f"{module}.model_names"].SHORT
    entries = read_entries(found.model_entries)
    assert not [entry.problem for entry in entries if entry.problem]
    assert {entry.name: entry.downloads[0].source for entry in entries} == short


async def test_a_turn_through_a_server(places: Places, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(places.models / "whisper", home / "models" / "whisper")
    operations = [{"role": "t2t", "id": "eliza"}, {"role": "stt", "id": "whisper", "model": "base", **QUICK}]
    (home / "config.yaml").write_text(yaml.safe_dump({"operations": operations}), encoding="utf-8")
    sound = flite(HELLO)
    async with running_server(home) as server, visitor(server.url, session="ears") as client:
        told = await client.run("context_add", kind="audio", user="Ana", audio=sound.pcm, sr=sound.sample_rate)
        assert end_of(told)["success"], end_of(told)
        assert [each.data["content"] for each in told if each.name == "transcript"] == [HELLO]
        turn = await client.run("response")
        assert end_of(turn)["success"] and any(each.name == "text_chunk" for each in turn)
