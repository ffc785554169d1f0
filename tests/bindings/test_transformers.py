"""The transformers binding as a whole: what its roles have in common, and one turn through a real server."""

import asyncio
import json
import logging
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.visitor import end_of, pcm_of, text_of, visitor
from fakes.binding_rig import BINDINGS, Places, open_engines, open_operation
from fakes.flite import flite
from fakes.server_process import running_server
from fakes.tiny_torch import REPLIES, tiny_encoder, tiny_llama, tiny_vits
from fakes.tiny_whisper import SAID, tiny_whisper
from greenroom.bindings.discovery import read_binding
from greenroom.bindings.downloads.entries import read_entries
from greenroom.bindings.engines import parse_options
from greenroom.errors import BadRequest, BindingFailed, Unavailable
from greenroom.values import Message, Prompt, Role, Sampling, TextDelta

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # transformers and torch warn on import

MODELS = {
    Role.T2T: ("Qwen/Qwen2.5-0.5B-Instruct", tiny_llama),
    Role.STT: ("openai/whisper-base", tiny_whisper),
    Role.TTS: ("facebook/mms-tts-eng", tiny_vits),
    Role.EMBEDDING: ("sentence-transformers/all-MiniLM-L6-v2", tiny_encoder),
}
HELLO = Prompt(messages=(Message("user", "hello"),), sampling=Sampling(temperature=0))


@pytest.fixture
def places(tmp_path: Path) -> Places:
    """Tiny models where ``greenroom install model`` puts the usual ones."""
    for name, make in MODELS.values():
        shutil.copytree(make(), tmp_path / "transformers" / name)
    return Places(models=tmp_path)


def operation_type(role: Role) -> Any:
    return read_binding(BINDINGS / "transformers").operation(role)


@pytest.mark.parametrize("role", list(MODELS))
async def test_loading_is_told_and_closing_frees_the_model(
    places: Places, caplog: pytest.LogCaptureFixture, role: Role
) -> None:
    caplog.set_level(logging.INFO, "greenroom.bindings.transformers")
    async with open_operation("transformers", role, {"device": "cpu", "dtype": "bfloat16"}, places) as operation:
        engine = operation.engine
        assert (engine.device, engine.dtype, str(engine.model.dtype)) == ("cpu", "bfloat16", "torch.bfloat16")
    name = MODELS[role][0]
    told = [record.message for record in caplog.records]
    assert any(one.startswith("loading the ") and f"{name} on cpu as bfloat16" in one for one in told)
    assert any(one == f"{name}: loading weights 100 %" for one in told)
    assert any(one.startswith("loaded the ") and "million parameters" in one for one in told)
    with pytest.raises(BindingFailed, match="has been unloaded"):
        _ = engine.model


async def test_models_are_listed_by_role(places: Places) -> None:
    place = places.place(read_binding(BINDINGS / "transformers"))
    for role, (name, _) in MODELS.items():
        (model,) = await operation_type(role).models(None, place)
        assert model.name == name and model.size_bytes > 10_000 and model.description


@pytest.mark.parametrize("role", list(MODELS))
async def test_a_missing_model_names_the_command(tmp_path: Path, role: Role, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("greenroom.bindings.hub_models._in_cache", lambda name, config: None)
    for options, name in (({}, MODELS[role][0]), ({"model": "some/other-model"}, "some/other-model")):
        with pytest.raises(Unavailable, match=f"get it with: greenroom install model transformers {name}$"):
            async with open_operation("transformers", role, options, Places(models=tmp_path)):
                raise AssertionError


@pytest.mark.parametrize("role", list(MODELS))
async def test_what_is_no_model_of_the_role(tmp_path: Path, role: Role) -> None:
    with pytest.raises(Unavailable, match=r"it has no config\.json"):
        async with open_operation("transformers", role, {"model_path": str(tmp_path)}):
            raise AssertionError
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(Unavailable, match="does not load"):
        async with open_operation("transformers", role, {"model_path": str(tmp_path)}):
            raise AssertionError
    other = tiny_llama() if role in (Role.STT, Role.TTS) else tiny_vits()
    with pytest.raises(Unavailable, match="does not load"):
        async with open_operation("transformers", role, {"model_path": str(other)}):
            raise AssertionError
    with pytest.raises(BadRequest, match="is no model's name"):
        async with open_operation("transformers", role, {"model": "../secret"}):
            raise AssertionError


async def test_code_of_a_model_is_not_run(tmp_path: Path) -> None:
    """Neither Python that a folder brings along nor a pickle."""
    shutil.copytree(tiny_llama(), tmp_path / "bad")
    config = json.loads((tmp_path / "bad" / "config.json").read_text())
    config |= {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}}
    (tmp_path / "bad" / "config.json").write_text(json.dumps(config))
    (tmp_path / "bad" / "evil.py").write_text(f"open({str(tmp_path / 'was-run')!r}, 'w').close()")
    with pytest.raises(Unavailable, match="does not load"):
        async with open_operation("transformers", Role.T2T, {"model_path": str(tmp_path / "bad")}):
            raise AssertionError
    shutil.copytree(tiny_llama(), tmp_path / "pickled", ignore=shutil.ignore_patterns("*.safetensors"))
    (tmp_path / "pickled" / "pytorch_model.bin").write_bytes(
        b"cbuiltins\nopen\n(V" + str(tmp_path / "was-run").encode() + b"\nVw\ntR."
    )
    with pytest.raises(Unavailable, match=r"does not load: its weights are a pickle .* safetensors"):
        async with open_operation("transformers", Role.T2T, {"model_path": str(tmp_path / "pickled")}):
            raise AssertionError
    assert not (tmp_path / "was-run").exists()


async def test_weights_that_are_cut_off(places: Places) -> None:
    weights = places.models / "transformers" / MODELS[Role.T2T][0] / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100_000])
    with pytest.raises(Unavailable, match="its weights are broken or cut off; install it again"):
        async with open_operation("transformers", Role.T2T, {}, places):
            raise AssertionError


async def test_a_device_that_is_not_there(places: Places) -> None:
    with pytest.raises(Unavailable, match=r"there is no device cuda:7 here; there are: .*cpu"):
        async with open_operation("transformers", Role.T2T, {"device": "cuda:7"}, places):
            raise AssertionError


@pytest.mark.parametrize("package", ["torch", "transformers"])
async def test_a_missing_package_names_the_command(
    places: Places, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(Unavailable, match=f"needs {package}.* greenroom install transformers"):
        async with open_operation("transformers", Role.T2T, {}, places):
            raise AssertionError


@pytest.mark.parametrize(
    ("role", "wrong"),
    [
        (Role.T2T, {"dtype": "int4"}),
        (Role.T2T, {"temperature": 3}),
        (Role.STT, {"language": "English"}),
        (Role.TTS, {"speaking_rate": 0}),
        (Role.EMBEDDING, {"pooling": "max"}),
        (Role.EMBEDDING, {"trust_remote_code": True}),
    ],
)
def test_wrong_options(role: Role, wrong: dict[str, Any]) -> None:
    with pytest.raises(BadRequest, match=f"transformers: option {next(iter(wrong))}"):
        parse_options(operation_type(role), wrong, "transformers")


def test_the_card_and_the_models_are_whole() -> None:
    found = read_binding(BINDINGS / "transformers")
    assert found.status == "ready" and found.card.isolation == "process"
    entries = read_entries(found.model_entries)
    assert not [entry.problem for entry in entries if entry.problem]
    assert {name for name, _ in MODELS.values()} <= {entry.name for entry in entries}
    found.card = found.card.model_copy(update={"imports": ("no_such_package",)})
    assert "greenroom install transformers" in found.problem


async def test_two_roles_and_two_sessions_at_once(places: Places) -> None:
    async with open_engines(places) as engines:
        chat, again = [await engines.load("transformers", Role.T2T, {}) for _ in range(2)]
        ears = await engines.load("transformers", Role.STT, {"use_hint": False, "partial_every_s": 0})
        assert chat.operation.engine is again.operation.engine and engines.open_count == 2

        async def answer(operation: Any) -> str:
            return "".join([item.text async for item in operation.generate(HELLO) if isinstance(item, TextDelta)])

        async def heard(operation: Any) -> str:
            async def sound() -> Any:
                yield flite(SAID[0])

            return "".join([item.text async for item in operation.transcribe(sound(), "") if item.final])

        found = list(await asyncio.gather(answer(chat.operation), heard(ears.operation), answer(again.operation)))
        assert found == [REPLIES["hello"], SAID[0], REPLIES["hello"]]
        for loaded in (chat, again, ears):
            await loaded.release()
        assert engines.open_count == 0


async def test_a_turn_through_a_server(places: Places, tmp_path: Path) -> None:
    """Heard, answered and spoken by the three models, in a process of the binding's own, as it is by default."""
    home = tmp_path / "home"
    shutil.copytree(places.models / "transformers", home / "models" / "transformers")
    operations = [
        {"role": "t2t", "id": "transformers", "temperature": 0, "max_new_tokens": 24},
        {"role": "stt", "id": "transformers", "use_hint": False},
        {"role": "tts", "id": "transformers"},
        {"role": "embedding", "id": "transformers"},
    ]
    config = {"operations": operations, "turn": {"audio_lead_ms": 0}}
    (home / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    sound = flite(SAID[0])
    environment = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    async with running_server(home, env=environment) as server, visitor(server.url, session="den") as client:
        told = await client.run("context_add", kind="audio", user="Ana", audio=sound.pcm, sr=sound.sample_rate)
        assert end_of(told)["success"], end_of(told)
        assert [each.data["content"] for each in told if each.name == "transcript"] == [SAID[0]]
        turn = await client.run("response", text="tell me a story")
        assert end_of(turn)["success"], end_of(turn)
        assert text_of(turn).strip() and len(pcm_of(turn)) > 1000
