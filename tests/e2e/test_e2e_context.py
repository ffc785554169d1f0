"""The jobs that shape what the character knows and how the server is set up: context and configuration."""

from pathlib import Path
from typing import Any

import pytest

from e2e.conftest import make_home
from e2e.visitor import Told, Visitor, end_of, text_of, visitor
from fakes.server_process import ServerProcess, running_server
from greenroom.config.load import load_config

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def lines(client: Visitor) -> list[str]:
    return [line["line"] for line in (await client.done("history_get"))["lines"]]


def error_of(told: list[Told]) -> dict[str, Any]:
    end = end_of(told)
    assert not end["success"]
    error: dict[str, Any] = end["error"]
    return error


# Context


async def test_lines_of_every_kind(shared: ServerProcess, den: str) -> None:
    async with visitor(shared.url, session=den) as ana:
        told = await ana.run("context_add", kind="chat", user="Ana", content="Hello.", timestamp=1_700_000_000)
        added = next(each.data for each in told if each.name == "context_added")
        assert (added["kind"], added["user"], added["timestamp"]) == ("chat", "Ana", 1_700_000_000)
        await ana.run("context_add", kind="request", content="Be brief.")
        await ana.run("context_custom_register", context_id="chat", context_name="Stream chat", context_description="x")
        await ana.run("context_add", kind="custom", context_id="chat", content="bob: hi")
        assert await lines(ana) == ["[Ana]: Hello.", "[REQUEST]: Be brief.", "[CONTEXT#Stream chat]: bob: hi"]
        assert (
            error_of(await ana.run("context_add", kind="custom", context_id="other", content="x"))["code"]
            == "not_found"
        )
        await ana.run("context_custom_remove", context_id="chat")
        assert error_of(await ana.run("context_custom_remove", context_id="chat"))["code"] == "not_found"
        assert (await lines(ana))[2] == "[CONTEXT#Stream chat]: bob: hi"


async def test_clearing_tells_every_line(shared: ServerProcess, den: str) -> None:
    async with visitor(shared.url, session=den) as ana, visitor(shared.url, session=den) as ben:
        ids = []
        for content in ("one", "two"):
            told = await ana.run("context_add", kind="chat", user="Ana", content=content)
            ids += [each.data["line_id"] for each in told if each.name == "context_added"]
        told = await ana.run("context_clear")
        await ben.finished(told[0].data["job_id"])
        gone = [(each["line_id"], each["removed"]) for each in ben.named("context_changed")]
        assert gone == [(line_id, True) for line_id in ids]
        assert await lines(ana) == []


async def test_settings_of_the_context(shared: ServerProcess, den: str) -> None:
    async with visitor(shared.url, session=den, debug=True) as ana, visitor(shared.url, session=den) as ben:
        await ana.run(
            "context_configure", character_name="Rob", name_translations={"xX_bob_Xx": "Bob"}, history_length=3
        )
        changed = (await ben.next("state_changed"))["changed"]["context"]
        assert (changed["character_name"], changed["history_length"]) == ("Rob", 3)
        await ana.run("context_add", kind="chat", user="xX_bob_Xx", content="I am new.")
        told = await ana.run("response", user="xX_bob_Xx", text="Hello.", include_audio=False)
        assert await lines(ana) == ["[Bob]: I am new.", "[Bob]: Hello.", f"[Rob]: {text_of(told).strip()}"]
        for number in range(3):
            await ana.run("context_add", kind="chat", user="Ana", content=f"line {number}")
        await ana.run("response", include_audio=False)
        shown = (await ana.next("prompt_built")) and (await ana.next("prompt_built"))
        assert [line["message"].rpartition("]: ")[2] for line in shown["history"]] == ["line 0", "line 1", "line 2"]
        assert len(await lines(ana)) == 7
        assert error_of(await ana.run("context_configure", scene_prompt_filename="nowhere"))["code"] == "not_found"


async def test_a_prompt_file_is_part_of_the_next_prompt(shared: ServerProcess, den: str) -> None:
    scenes = shared.home / "prompts" / "scenes"
    scenes.mkdir(parents=True, exist_ok=True)
    (scenes / "storm.txt").write_text("It storms outside, {{date}}.", encoding="utf-8")
    async with visitor(shared.url, session=den, debug=True) as ana:
        for name in ("../scenes/storm", "/etc/passwd", "storm/../storm"):
            assert error_of(await ana.run("context_configure", scene_prompt_filename=name))["code"] == "not_found"
        await ana.run("context_configure", scene_prompt_filename="storm")
        await ana.run("response", text="Hello.", include_audio=False)
        assert "It storms outside" in (await ana.next("prompt_built"))["instruction_prompt"]


# Configuration: these change the whole server, so each has its own


async def test_the_configuration_is_changed_saved_and_loaded(tmp_path: Path, den: str) -> None:
    home = make_home(tmp_path / "home", "# mine\nuser_name: Visitor  # who comes\nturn: {audio_lead_ms: 0}\n")
    async with running_server(home) as server, visitor(server.url, session=den) as ana:
        config = (await ana.done("config_get"))["config"]
        assert (config["user_name"], config["turn"]["audio_lead_ms"]) == ("Visitor", 0)
        told = await ana.run("config_update", config={"user_name": "Guest", "generation": {"n_predict": 7}})
        changed = next(each.data["result"]["changed"] for each in told if each.name == "job_progress")
        assert set(changed) == {"user_name", "generation.n_predict"}
        await ana.run("response", text="Hello.", include_audio=False)
        assert (await lines(ana))[0] == "[Guest]: Hello."
        assert end_of(await ana.run("config_save", config_name="stage"))["success"]
        saved = (home / "configs" / "stage.yaml").read_text(encoding="utf-8")
        assert "# who comes" in saved and "Guest" in saved
        assert load_config(home / "configs" / "stage.yaml", {}, {}).config.generation.n_predict == 7
        await ana.run("config_update", config={"user_name": "Nobody"})
        assert end_of(await ana.run("config_load", config_name="stage"))["success"]
        config = (await ana.done("config_get"))["config"]
        assert (config["user_name"], config["generation"]["n_predict"]) == ("Guest", 7)
        assert "Visitor" in (home / "config.yaml").read_text(encoding="utf-8")


async def test_a_bad_configuration_changes_nothing_at_all(tmp_path: Path, den: str) -> None:
    home = make_home(tmp_path / "home", "user_name: Visitor\n")
    (home / "configs").mkdir()
    (home / "configs" / "bad.yaml").write_text("user_nam: Guest\n", encoding="utf-8")
    async with running_server(home) as server, visitor(server.url, session=den) as ana:
        before = (await ana.done("config_get"))["config"]
        wrong = {"user_name": "Guest", "turn": {"audio_lead": 3}}
        assert "audio_lead" in error_of(await ana.run("config_update", config=wrong))["reason"]
        wrong = {"user_name": "Guest", "server": {"port": "many"}}
        assert "port" in error_of(await ana.run("config_update", config=wrong))["reason"]
        reason = error_of(await ana.run("config_load", config_name="bad"))["reason"]
        assert "user_nam" in reason and "user_name" in reason and "bad.yaml" in reason
        for name in ("../config", "nobody", "/etc/passwd", "bad/../bad"):
            assert error_of(await ana.run("config_load", config_name=name))["type"] == "config_unknown_file"
        for name in ("../stage", "/etc/stage", "con", "a/b"):
            assert not end_of(await ana.run("config_save", config_name=name))["success"]
        assert (await ana.done("config_get"))["config"] == before
        assert sorted(path.name for path in (home / "configs").iterdir()) == ["bad.yaml"]
        assert sorted(path.name for path in tmp_path.iterdir()) == ["home"]


async def test_secrets_are_never_shown(tmp_path: Path, den: str) -> None:
    home = make_home(tmp_path / "home")
    (home / ".env").write_text("OPENAI_API_KEY=sk-very-secret\nGREENROOM_TOKEN=token-very-secret\n", encoding="utf-8")
    async with (
        running_server(home) as server,
        visitor(server.url, session=den, token="token-very-secret") as ana,  # noqa: S106
    ):
        for name in ("config_get", "session_state", "list_available_bindings", "list_operations", "session_list"):
            assert "very-secret" not in str(await ana.done(name))
        await ana.run("say", text="Quiet.", include_audio=False)
        assert "very-secret" not in server.logged()


async def test_logs_do_not_hold_what_people_said(tmp_path: Path, den: str) -> None:
    async with running_server(tmp_path / "home", "--log-level", "DEBUG") as server:
        async with visitor(server.url, session=den) as ana:
            await ana.run("response", user="Anastasia", text="My pet xylograph is ill.", include_audio=False)
            await ana.run("say", text="Poor xylograph.")
            await ana.done("interrupt", heard_text="Poor xylo")
            assert (await ana.ask("generate_text", {"prompt": "xylograph"}))["success"]
            await ana.next("text_generated")
            await ana.ask("select_binding", {"binding_name": "xylograph"})
        assert await server.stop() == 0
        assert "xylo" not in server.logged() and "Anastasia" not in server.logged()
        assert den in server.logged()
