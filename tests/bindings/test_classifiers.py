"""Emotions and moderation: the real code over real models of the same kinds, taught a few sentences."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from e2e.conftest import make_home
from e2e.visitor import end_of, text_of, visitor
from fakes.binding_rig import BINDINGS, Places, open_engines, open_operation
from fakes.server_process import running_server
from fakes.tiny_classifiers import EMOTIONS, FELT, JUDGED, tiny_emotions, tiny_moderation
from greenroom.bindings.classifier import Classifier
from greenroom.bindings.discovery import read_binding
from greenroom.bindings.hub_models import find_hub_model, installed_models
from greenroom.errors import BadRequest, BindingFailed, Unavailable
from greenroom.values import Role, TextChunk

HUB = {"emotion_roberta": "SamLowe/roberta-base-go_emotions", "mod_koala": "KoalaAI/Text-Moderation"}
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # transformers and torch warn on import


@pytest.fixture
def places(tmp_path: Path) -> Places:
    """Both models where ``greenroom install model`` puts them."""
    for binding_id, model in (("emotion_roberta", tiny_emotions()), ("mod_koala", tiny_moderation())):
        shutil.copytree(model, tmp_path / binding_id / HUB[binding_id])
    return Places(models=tmp_path)


async def given(*texts: str, **extras: Any) -> AsyncIterator[TextChunk]:
    for text in texts:
        yield TextChunk(text, extras)


async def judged(operation: Any, *texts: str, **extras: Any) -> list[TextChunk]:
    return [chunk async for chunk in operation.apply(given(*texts, **extras))]


async def test_each_sentence_gets_its_emotion(places: Places) -> None:
    async with open_operation("emotion_roberta", Role.FILTER_TEXT, {}, places) as operation:
        chunks = await judged(operation, *FELT, " ", seen=True)
    assert [chunk.text for chunk in chunks] == [*FELT, " "]
    assert [chunk.extras["emotion"] for chunk in chunks[:-1]] == list(FELT.values())
    assert all(0.5 < chunk.extras["emotion_score"] <= 1 and chunk.extras["seen"] for chunk in chunks[:-1])
    assert chunks[-1].extras == {"seen": True}


async def test_what_shows_no_emotion_clearly(places: Places) -> None:
    options = {"min_score": 1.0, "otherwise": "calm"}
    async with open_operation("emotion_roberta", Role.FILTER_TEXT, options, places) as operation:
        (chunk,) = await judged(operation, "I am so happy to see you!")
    assert chunk.extras["emotion"] == "calm"


async def test_what_is_harmful_does_not_pass(places: Places) -> None:
    async with open_operation("mod_koala", Role.FILTER_TEXT, {}, places) as operation:
        chunks = await judged(operation, *(f"{text} " for text in JUDGED))
    for chunk, (text, label) in zip(chunks, JUDGED.items(), strict=True):
        if label == "OK":
            assert chunk == TextChunk(f"{text} ", {"filtered": False})
        else:
            extras = {"filtered": True, "original_content": f"{text} ", "moderation": label}
            assert chunk == TextChunk("Filtered. ", extras)


async def test_nothing_is_said_in_its_place(places: Places) -> None:
    async with open_operation("mod_koala", Role.FILTER_TEXT, {"replacement": ""}, places) as operation:
        assert await judged(operation, "I will hit you with a club.") == []


async def test_a_broken_moderation_stays_shut(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_operation("mod_koala", Role.FILTER_TEXT, {}, places) as operation:

        def broken(*_: object, **__: object) -> None:
            raise RuntimeError("out of memory")

        monkeypatch.setattr(operation.engine, "_model", broken)
        with pytest.raises(BindingFailed, match=r"nothing passes, since the moderation failed: .*out of memory"):
            await judged(operation, "Hello there, how are you today?")


async def test_a_model_without_the_label_that_lets_pass(places: Places) -> None:
    with pytest.raises(Unavailable, match=r"has no label FINE, so nothing would pass; .*HR"):
        async with open_operation("mod_koala", Role.FILTER_TEXT, {"allowed": ["FINE"]}, places):
            raise AssertionError


async def test_who_shares_a_model_is_told_the_same(places: Places) -> None:
    async with open_engines(places) as engines:
        loaded = await engines.load("mod_koala", Role.FILTER_TEXT, {})
        with pytest.raises(Unavailable, match=r"has no label FINE.*set allowed to one of its labels: S, H"):
            await engines.load("mod_koala", Role.FILTER_TEXT, {"allowed": ["FINE"]})
        await loaded.release()


async def test_all_of_a_long_sentence_is_judged(places: Places) -> None:
    """The models take 128 tokens, and what is harmful may come late."""
    harmless = "The lamp stands on the table. " * 40
    async with open_operation("mod_koala", Role.FILTER_TEXT, {}, places) as operation:
        [passed] = await judged(operation, harmless)
        [held] = await judged(operation, harmless + "You are a filthy swine. " * 40)
    assert passed.extras == {"filtered": False}
    assert held.extras["filtered"]
    assert held.text == "Filtered. "


async def test_two_sessions_share_one_model(places: Places) -> None:
    async with open_engines(places) as engines:
        one = await engines.load("emotion_roberta", Role.FILTER_TEXT, {})
        two = await engines.load("emotion_roberta", Role.FILTER_TEXT, {"min_score": 0.1})
        assert one.operation.engine is two.operation.engine
        first, second = await asyncio.gather(*(judged(loaded.operation, *FELT) for loaded in (one, two)))
        assert first == second
        await one.release()
        assert await judged(two.operation, "This makes me angry.") == [first[1]]
        await two.release()


async def test_long_and_strange_sentences(places: Places) -> None:
    async with open_operation("emotion_roberta", Role.FILTER_TEXT, {}, places) as operation:
        texts = ["word " * 5000, "\0", "\ud83d\ude00 \U0001f600", "ÄÖÜ 你好 مرحبا", "." * 3000]
        chunks = await judged(operation, *texts)
    assert [chunk.text for chunk in chunks] == texts
    assert all(chunk.extras["emotion"] in EMOTIONS for chunk in chunks)


async def test_a_missing_model_names_the_command(tmp_path: Path) -> None:
    for binding_id, model in HUB.items():
        with pytest.raises(Unavailable, match=f"greenroom install model {binding_id} {model}"):
            async with open_operation(binding_id, Role.FILTER_TEXT, {}, Places(models=tmp_path)):
                raise AssertionError


async def test_a_folder_without_a_model_and_one_with_another(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"it has no config\.json"):
        async with open_operation("mod_koala", Role.FILTER_TEXT, {"model_path": str(tmp_path)}):
            raise AssertionError
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(Unavailable, match="does not load"):
        async with open_operation("mod_koala", Role.FILTER_TEXT, {"model_path": str(tmp_path)}):
            raise AssertionError


async def test_a_model_that_needs_a_further_package(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import AutoTokenizer

    def lacking(*_: object, **__: object) -> None:
        raise ImportError("DebertaV2Converter requires\nthe sentencepiece library")

    monkeypatch.setattr(AutoTokenizer, "from_pretrained", lacking)
    with pytest.raises(Unavailable, match="needs a further package: DebertaV2Converter requires the sentencepiece"):
        async with open_operation("mod_koala", Role.FILTER_TEXT, {}, places):
            raise AssertionError


def test_what_koalas_tokenizer_is_made_of_is_fetched() -> None:
    """It is a DeBERTa of the first kind, whose words are vocab.json and merges.txt."""
    (entry,) = read_binding(BINDINGS / "mod_koala").model_entries
    assert {"config.json", "model.safetensors", "vocab.json", "merges.txt", "tokenizer.json"} <= set(entry["include"])


@pytest.mark.parametrize("name", ["../secret", "/etc", "a/b/c", "", ".hidden", "a\\b"])
def test_a_path_is_no_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadRequest, match="is no model's name"):
        find_hub_model(name, tmp_path, "mod_koala")


async def test_a_device_that_is_not_there() -> None:
    with pytest.raises(Unavailable, match=r"there is no device cuda:7 here; there are: .*cpu"):
        await Classifier.open(tiny_emotions(), "cuda:7")


def test_installed_models_are_listed(places: Places) -> None:
    (model,) = installed_models(places.models / "mod_koala")
    assert model.name == HUB["mod_koala"] and model.size_bytes > 10_000


def test_missing_packages_name_the_command() -> None:
    for binding_id in HUB:
        found = read_binding(BINDINGS / binding_id)
        assert found.status == "ready"
        found.card = found.card.model_copy(update={"imports": ("no_such_package",)})
        assert f"greenroom install {binding_id}" in found.problem


CONFIG = """
operations:
  - {role: t2t, id: scripted}
  - {role: filter_text, id: mod_koala}
  - {role: filter_text, id: emotion_roberta, device: cpu}
isolation: {emotion_roberta: none}
server: {tokens: [{name: guest, env: GUEST_TOKEN, role: viewer}]}
"""


async def test_a_turn_through_a_server(places: Places, tmp_path: Path) -> None:
    """One of the two in a process of its own, as it is by default; a viewer does not see what was held back."""
    home = make_home(tmp_path / "home", CONFIG)
    for binding_id in HUB:
        shutil.copytree(places.models / binding_id, home / "models" / binding_id)
    tokens = {"GUEST_TOKEN": "guest-token", "GREENROOM_TOKEN": "owner-token"}
    async with (
        running_server(home, env=tokens) as server,
        visitor(server.url, auth={"token": "owner-token"}) as owner,
        visitor(server.url, auth={"token": "guest-token"}) as guest,
    ):
        await guest.done("session_join", session="main")
        told = await owner.run("response", text="say I am so happy to see you! I will hit you with a club.")
        assert end_of(told)["success"]
        assert text_of(told).split() == ["I", "am", "so", "happy", "to", "see", "you!", "Filtered."]
        happy, hit = (item.data for item in told if item.name == "sentence")
        assert (happy["emotion"], happy["filtered"]) == ("joy", False)
        assert (hit["filtered"], hit["original_content"].strip()) == (True, "I will hit you with a club.")
        seen = await guest.finished(told[0].data["job_id"])
        shown = [item.data for item in seen if item.name == "sentence"]
        assert shown[1]["filtered"] and "original_content" not in shown[1]
        answers = [item for item in seen if item.name in ("text_chunk", "sentence", "text_generated")]
        assert answers and not any("club" in str(item.data) for item in answers)
