import json
from pathlib import Path
from typing import Any

import pytest

from fakes.mini_server import ThreadedServer
from greenroom.cli import main

Captured = pytest.CaptureFixture[str]


def rows(capsys: Captured, *arguments: str) -> list[dict[str, Any]]:
    assert main(["list", *arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, list)
    return found


def test_bindings_from_the_folders(capsys: Captured) -> None:
    found = {row["name"]: row for row in rows(capsys, "bindings")}
    assert {"eliza", "espeak", "pocketsphinx", "openai"} <= found.keys()
    assert found["eliza"]["roles"] == ["t2t"]
    assert found["eliza"]["status"] == "ready"


def test_a_broken_binding_is_listed_with_what_is_wrong(tmp_path: Path, capsys: Captured) -> None:
    folder = tmp_path / "home" / "bindings" / "mine"
    folder.mkdir(parents=True)
    (folder / "binding_card.yaml").write_text("name: [", encoding="utf-8")
    found = {row["name"]: row for row in rows(capsys, "bindings")}
    assert found["mine"]["status"] == "broken"
    assert "binding_card.yaml" in found["mine"]["description"]


def test_personalities_from_the_folders(capsys: Captured) -> None:
    found = {row["id"]: row for row in rows(capsys, "personalities")}
    assert found["english/companions/robin"]["name"] == "Robin"
    assert len({row["language"] for row in found.values()}) >= 2


def test_a_broken_personality_is_listed_too(tmp_path: Path, capsys: Captured) -> None:
    folder = tmp_path / "home" / "personalities" / "english" / "mine" / "broken"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("name: [", encoding="utf-8")
    found = {row["id"]: row for row in rows(capsys, "personalities")}
    assert found["english/mine/broken"]["description"].startswith("broken: ")


def test_models_from_the_folders(capsys: Captured) -> None:
    found = rows(capsys, "models", "--binding", "eliza")
    assert found
    assert {row["binding"] for row in found} == {"eliza"}


def test_voices_of_this_machine(capsys: Captured) -> None:
    found = rows(capsys, "voices", "--binding", "espeak")
    assert len(found) > 50
    assert any(row["language"].startswith("de") for row in found)


def test_a_binding_that_is_not_there(capsys: Captured) -> None:
    assert main(["list", "voices", "--binding", "nothing"]) == 1
    assert "there is no binding 'nothing'" in capsys.readouterr().err


def test_from_a_server(server: ThreadedServer, capsys: Captured) -> None:
    assert rows(capsys, "bindings", "--url", server.url)[0]["name"] == "fake"
    assert rows(capsys, "models", "--url", server.url)[0] == {
        "binding": "",
        "name": "words",
        "installed": True,
        "size": None,
        "languages": [],
        "license": "",
        "description": "a few words",
    }
    assert rows(capsys, "personalities", "--url", server.url)[0]["id"] == "english/tests/fake"
    assert rows(capsys, "voices", "--url", server.url)[0]["voice"] == "amy"


@pytest.mark.parametrize("what", ["bindings", "personalities", "models"])
def test_tables_for_people(what: str, server: ThreadedServer, capsys: Captured) -> None:
    assert main(["list", what, "--url", server.url]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(what)
    assert "fake" in shown.lower() or "words" in shown


def test_models_of_a_binding_that_offers_nothing_yet(tmp_path: Path, capsys: Captured) -> None:
    folder = tmp_path / "home" / "bindings" / "mine"
    folder.mkdir(parents=True)
    card = "{name: Mine, author: me, version: '1', description: d, roles: [tts], imports: [], offline: true}"
    (folder / "binding_card.yaml").write_text(card, encoding="utf-8")
    code = "from greenroom.bindings.roles import Binding\nBINDING = Binding({})\n"
    (folder / "binding.py").write_text(code, encoding="utf-8")
    (folder / "models.yaml").write_text("[{name: mine-1, type: api}]", encoding="utf-8")
    assert [row["name"] for row in rows(capsys, "models", "--binding", "mine")] == ["mine-1"]
