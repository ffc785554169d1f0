"""Models that are listed, installed, selected and removed, beside a binding that finds its own."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from greenroom.bindings.card import BindingCard
from greenroom.bindings.discovery import FoundBinding
from greenroom.bindings.downloads.catalogue import Catalogue
from greenroom.errors import NotFound
from greenroom.session import models
from greenroom.session.model_use import may_be_open
from greenroom.session.models import check_model, model_info
from session.scene import Scene

ENTRIES: list[dict[str, Any]] = [
    {"name": "o/Big-GGUF", "type": "gguf", "variants": [{"name": "big-q4.gguf", "size": 9}]},
    {"name": "amy", "files": [{"path": "amy.onnx", "url": "https://example.org/amy.onnx", "size": 3}]},
    {"name": "ben", "files": [{"path": "ben.onnx", "url": "https://example.org/ben.onnx", "size": 3}]},
    {"name": "whole", "hub": "o/whole"},
    {"name": "cloud", "type": "api"},
]


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    return Catalogue("toy", tmp_path, ENTRIES)


@pytest.mark.parametrize(
    ("key", "used"),
    [
        ((), True),
        (("cpu", 4), True),
        (("amy", "cpu"), True),
        (("ben", "cpu"), False),
        (("FOLDER/ben.onnx",), False),
        ((Path("FOLDER/amy.onnx"),), True),
        ((False, ("amy.onnx", 4096)), True),
        (("tts", b'{"voice":"amy"}'), True),
        (("tts", '{"voice": {"name": "ben"}}'), False),
        (("tts", "{no json"), True),
        (frozenset({"ben"}), False),
        (("dan",), True),
    ],
)
def test_who_uses_a_model(catalogue: Catalogue, key: Any, used: bool) -> None:
    for name in ("amy", "ben"):
        (catalogue.folder / f"{name}.onnx").write_bytes(b"abc")
    if isinstance(key, tuple):
        folder = catalogue.folder.as_posix()
        key = tuple(
            type(one)(str(one).replace("FOLDER", folder)) if isinstance(one, str | Path) else one for one in key
        )
    assert may_be_open(key, catalogue.find("amy"), catalogue) is used


def test_a_file_or_a_repository_by_its_other_names(catalogue: Catalogue) -> None:
    (catalogue.folder / "amy.onnx").write_bytes(b"abc")
    big, whole = catalogue.find("big-q4.gguf"), catalogue.find("whole")
    for name in ("big-q4", "big-q4.gguf", "o/Big-GGUF/big-q4", str(catalogue.folder / "big-q4.gguf")):
        assert may_be_open((name,), big, catalogue)
    for name in ("o/whole", str(catalogue.folder / "o" / "whole")):
        assert may_be_open((name, "amy"), whole, catalogue)
    assert not may_be_open(("amy",), whole, catalogue)


def test_what_the_list_says(catalogue: Catalogue) -> None:
    big, amy, _, whole, cloud = (model_info(catalogue, entry) for entry in catalogue.entries)
    assert [one["isInstalled"] for one in (big, amy, whole, cloud)] == [False, False, False, True]
    assert (big["filesize"], amy["filesize"], whole["filesize"]) == (9, 3, 0)
    (catalogue.folder / "big-q4.gguf").write_bytes(b"GGUF and more")
    (catalogue.folder / "amy.onnx").write_bytes(b"ab")
    big, amy, *_ = (model_info(catalogue, entry) for entry in catalogue.entries)
    assert (big["isInstalled"], amy["isInstalled"]) == (True, False)


async def check(catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch, known: Sequence[str], name: str) -> str:
    async def models_of(*_: object) -> list[Any]:
        return [type("Known", (), {"name": one})() for one in known]

    monkeypatch.setattr(models, "models_of", models_of)
    monkeypatch.setattr(models, "catalogue_of", lambda *_: catalogue)
    house: Any = None
    return await check_model(house, FoundBinding("toy", catalogue.folder, BindingCard(name="toy")), {}, name)


async def test_a_model_is_selected_by_the_name_under_which_it_was_installed(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = ["o/Big-GGUF/big-q4", "mine"]
    for name in ("o/Big-GGUF", "big-q4.gguf", "o/Big-GGUF/big-q4.gguf"):
        assert await check(catalogue, monkeypatch, known, name) == "o/Big-GGUF/big-q4"
    assert await check(catalogue, monkeypatch, known, "mine") == "mine"
    assert await check(catalogue, monkeypatch, [], "anything") == "anything"
    with pytest.raises(NotFound, match="install it with: greenroom install model toy amy"):
        await check(catalogue, monkeypatch, known, "amy")
    with pytest.raises(NotFound, match="cloud of toy is listed but not installed; it has: "):
        await check(catalogue, monkeypatch, known, "cloud")
    with pytest.raises(NotFound, match="toy has no model 'min'; did you mean mine"):
        await check(catalogue, monkeypatch, known, "min")


async def test_the_voice_that_is_loaded_and_another(scene: Scene) -> None:
    mine = await scene.ask("list_voices")
    assert mine["binding"] == "scripted"
    other = await scene.ask("list_voices", binding="espeak")
    assert other["binding"] == "espeak" and other["voices"][0]["id"]
    assert scene.session.operations.ids()["tts"] == "scripted"
