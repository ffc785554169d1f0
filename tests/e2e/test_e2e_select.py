"""Choosing backends, models and characters while the server runs: the answer, lollms' reply event, and who feels it."""

from typing import Any

import aiohttp
import pytest

from e2e.visitor import Visitor, end_of, text_of, visitor
from fakes.server_process import ServerProcess

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROBIN, CAPTAIN = "english/companions/robin", "english/adventure/captain_brine"
ROLES = {"stt", "mcp", "t2t", "tts", "filter_text", "filter_audio", "embedding"}


async def both(client: Visitor, name: str, reply: str, **data: Any) -> dict[str, Any]:
    """Acknowledgement and reply event say the same."""
    answer: dict[str, Any] = await client.ask(name, data)
    assert await client.next(reply) == answer
    assert answer["request_id"] and answer["n"] == 1
    return answer


async def state(client: Visitor) -> dict[str, Any]:
    found: dict[str, Any] = (await client.done("session_state"))["state"]
    return found


async def results(client: Visitor, name: str, **data: Any) -> list[dict[str, Any]]:
    told = await client.run(name, **data)
    assert end_of(told)["success"], end_of(told)
    return [each.data["result"] for each in told if each.name == "job_progress"]


async def failure(client: Visitor, name: str, **data: Any) -> dict[str, Any]:
    """The error of a job that must fail."""
    end = end_of(await client.run(name, **data))
    assert not end["success"]
    error: dict[str, Any] = end["error"]
    assert error["code"] and error["type"] and error["reason"]
    return error


# Looking


async def test_bindings_are_listed(shared: ServerProcess, den: str) -> None:
    async with visitor(shared.url, session=den) as ana:
        answer = await both(ana, "list_available_bindings", "bindings_list")
        found = {binding["name"]: binding for binding in answer["bindings"]}
        assert {"eliza", "espeak", "pocketsphinx", "openai", "llamacpp", "scripted"} <= set(found)
        eliza = found["eliza"]
        assert (eliza["status"], eliza["roles"]) == ("ready", ["t2t"])
        assert eliza["card"]["name"] and "script" in eliza["card"]["description"].lower()
        assert "base_url" in found["openai"]["options_schema"]["t2t"]["properties"]
        assert not any("error" in binding for binding in answer["bindings"] if binding["status"] == "ready")


async def test_personalities_are_listed_with_pictures_that_are_served(shared: ServerProcess, den: str) -> None:
    async with visitor(shared.url, session=den) as ana, aiohttp.ClientSession() as http:
        answer = await both(ana, "list_available_personalities", "personalities_list")
        robin = next(info for info in answer["personalities"]["english"]["companions"] if info["folder"] == "robin")
        assert (robin["name"], robin["has_logo"], robin["has_scripts"]) == ("Robin", True, False)
        for categories in answer["personalities"].values():
            for info in (info for folder in categories.values() for info in folder):
                async with http.get(f"{shared.url}/{info['avatar'].lstrip('/')}") as response:
                    assert response.status == 200 and response.content_type.startswith("image/")
        async with http.get(f"{shared.url}/personalities/english/companions/robin/assets/..%2Fconfig.yaml") as response:
            assert response.status in (400, 404)
        languages = await both(ana, "list_available_personalities_languages", "available_personalities_languages_list")
        assert set(languages["available_personalities_languages"]) == set(answer["personalities"])
        categories = await both(
            ana,
            "list_available_personalities_categories",
            "available_personalities_categories_list",
            language="english",
        )
        assert set(categories["available_personalities_categories"]) == set(answer["personalities"]["english"])
        names = await both(
            ana,
            "list_available_personalities_names",
            "list_available_personalities_names_list",
            language="english",
            category="companions",
        )
        assert names["list_available_personalities_names"] == ["robin"]
        lost = await both(
            ana, "list_available_personalities_names", "list_available_personalities_names_list", category="../.."
        )
        assert (lost["success"], lost["list_available_personalities_names"]) == (True, [])


async def test_models_of_a_binding_are_listed_and_chosen(shared: ServerProcess, den: str) -> None:
    async with visitor(shared.url, session=den) as ana:
        await ana.done("select_binding", binding_name="scripted")
        answer = await both(ana, "list_available_models", "available_models_list")
        assert [model["title"] for model in answer["available_models"]] == ["plain", "fancy"]
        assert set(answer["available_models"][0]) >= {
            *("title", "icon", "license", "owner", "owner_link", "description"),
            *("isInstalled", "path", "filesize", "model_type"),
        }
        answer = await both(ana, "select_model", "select_model", model_name="fancy")
        assert (answer["success"], answer["model_name"]) == (True, "fancy")
        assert (await state(ana))["model"] == "fancy"
        answer = await both(ana, "select_model", "select_model", model_name="fanci")
        assert (answer["success"], answer["code"], answer["model_name"]) == (False, "not_found", "fanci")
        assert "fancy" in answer["error"]
        assert (await state(ana))["model"] == "fancy"


# Choosing


async def test_a_binding_is_felt_by_everyone_in_the_session(shared: ServerProcess, den: str) -> None:
    async with (
        visitor(shared.url, session=den, client="console/1") as ana,
        visitor(shared.url, session=den) as ben,
        visitor(shared.url, session=f"{den}-other") as carl,
    ):
        answer = await both(ana, "select_binding", "select_binding", binding_name="scripted")
        assert (answer["success"], answer["binding_name"]) == (True, "scripted")
        changed = await ben.next("state_changed")
        assert (changed["by"], changed["changed"]["binding"]) == ("console/1", "scripted")
        assert text_of(await ben.run("response", text="say It works.", include_audio=False)).strip() == "It works."
        assert (await state(ben))["binding"] == "scripted"
        assert (await state(carl))["binding"] == "eliza"
        assert "state_changed" not in carl.names


async def test_a_binding_that_is_none_changes_nothing(shared: ServerProcess, den: str) -> None:
    async with visitor(shared.url, session=den) as ana:
        for name in ("elisa", "../eliza", "espeak", ""):
            answer = await both(ana, "select_binding", "select_binding", binding_name=name)
            assert not answer["success"] and answer["binding_name"] == name
        assert "eliza" in (await ana.refused("select_binding", binding_name="elisa"))["error"]
        assert (await ana.refused("select_binding", binding_name="eliza", options={"colour": 1}))[
            "code"
        ] == "bad_request"
        assert (await state(ana))["binding"] == "eliza"
        assert "state_changed" not in ana.names


async def test_personalities_come_and_go(shared: ServerProcess, den: str) -> None:
    async with visitor(shared.url, session=den) as ana, visitor(shared.url, session=den) as ben:
        added = await both(ana, "add_personality", "personality_added", path=CAPTAIN)
        assert (added["success"], added["id"]) == (True, 1)
        listed = await both(ben, "list_active_personalities", "active_personalities_list")
        assert listed["personalities"] == ["Robin", added["name"]]
        active = await both(ana, "activate_personality", "activate_personality", id=1)
        assert (active["success"], active["name"], active["id"]) == (True, added["name"], 1)
        assert (await state(ben))["personality"]["id"] == CAPTAIN
        told = await ben.run("response", text="Who are you?", include_audio=False)
        assert next(each.data for each in told[2:] if each.name == "context_added")["user"] == added["name"]
        by_name = await both(ben, "activate_personality", "activate_personality", id="Robin")
        assert by_name["success"] and (await state(ana))["personality"]["id"] == ROBIN
        await both(ana, "remove_personality", "personality_removed", id=0)
        assert (await state(ana))["personality"]["id"] == CAPTAIN
        changes = [each["changed"].get("personalities") for each in ben.named("state_changed")]
        assert changes == [[ROBIN, CAPTAIN], [ROBIN, CAPTAIN], [ROBIN, CAPTAIN], [CAPTAIN]]


async def test_a_running_turn_keeps_what_it_began_with(shared: ServerProcess, den: str) -> None:
    async with visitor(shared.url, session=den) as ana:
        await ana.done("select_binding", binding_name="scripted")
        job_id = await ana.job("response", text="hang", include_audio=False)
        await ana.next("text_chunk", job_id=job_id)
        await ana.done("select_binding", binding_name="eliza")
        await ana.done("cancel_job", job_id=job_id)
        assert text_of(await ana.finished(job_id)) == "hanging "
        assert text_of(await ana.run("response", text="say It works.", include_audio=False)) != "It works. "


async def test_personalities_that_are_none(shared: ServerProcess, den: str) -> None:
    async with visitor(shared.url, session=den) as ana:
        for path in ("english/companions/nobody", "/etc/passwd", "../../../etc", "english/../../..", "~", "a\0b"):
            answer = await both(ana, "add_personality", "personality_add_failed", path=path)
            assert answer["success"] is False and answer["error"]
        for wrong in (7, -1, "nobody"):
            answer = await ana.ask("activate_personality", {"id": wrong})
            assert not answer["success"]
            assert await ana.next("personality_add_failed") == answer
            assert await ana.next("activate_personality") == answer
        assert (await ana.refused("remove_personality", id=9))["code"] == "not_found"
        assert (await state(ana))["personalities"] == [ROBIN]


async def test_without_any_personality_a_turn_says_so(shared: ServerProcess, den: str) -> None:
    async with visitor(shared.url, session=den) as ana:
        await ana.done("remove_personality", id=0)
        assert "add_personality" in (await failure(ana, "response", text="Anyone?"))["reason"]
        await ana.done("add_personality", path=ROBIN)
        assert end_of(await ana.run("response", text="Anyone?", include_audio=False))["success"]


# Operations, as jobs


async def test_operations_are_loaded_configured_and_unloaded(shared: ServerProcess, den: str) -> None:
    async with visitor(shared.url, session=den) as ana, visitor(shared.url, session=den) as ben:
        loaded = await results(ana, "operation_load", ops=[{"role": "tts", "id": "scripted", "config": {"voice": "x"}}])
        assert loaded == [{"role": "tts", "id": "scripted", "loose_key": None}]
        answer = await ana.done("list_operations")
        assert answer["operations"]["tts"] == "scripted" and set(answer["operations"]) == ROLES
        assert {"role": "tts", "id": "scripted", "config": {"voice": "x"}} in answer["options"]
        assert await results(ana, "operation_configure", ops=[{"role": "tts", "ms_per_character": 20}]) == [
            {"role": "tts", "id": "scripted", "ms_per_character": 20}
        ]
        wrong = await failure(ana, "operation_configure", ops=[{"role": "tts", "ms_per_character": "loud"}])
        assert "ms_per_character" in wrong["reason"]
        told = await ana.run("say", text="0123456789")
        assert end_of(told)["timing"]["audio_ms"] == pytest.approx(200, abs=1)
        assert await results(ana, "operation_unload", ops=[{"role": "tts"}]) == [{"role": "tts", "id": "scripted"}]
        assert (await failure(ana, "operation_unload", ops=[{"role": "tts"}]))["type"] == "operation_unloaded"
        told = await ana.run("say", text="Now I am mute.")
        assert text_of(told) == "Now I am mute." and "audio_chunk" not in [each.name for each in told]
        await results(ana, "operation_reload_from_config")
        assert (await ben.done("list_operations"))["operations"]["tts"] == "espeak"
        changes = [each["changed"]["operations"]["tts"] for each in ben.named("state_changed")]
        assert changes[:3] == ["scripted", "scripted", None] and changes[-1] == "espeak"


async def test_operations_that_are_none(shared: ServerProcess, den: str) -> None:
    async with visitor(shared.url, session=den) as ana:
        before = (await ana.done("list_operations"))["operations"]
        assert (await failure(ana, "operation_load", ops=[{"role": "tts", "id": "nobody"}]))["code"] == "not_found"
        assert (await failure(ana, "operation_load", ops=[{"role": "tts", "id": "eliza"}]))["reason"]
        assert "singer" in (await failure(ana, "operation_load", ops=[{"role": "singer", "id": "eliza"}]))["reason"]
        assert (await ana.refused("operation_load", ops="all"))["details"]["field"] == "ops"
        assert (await ana.done("list_operations"))["operations"] == before


async def test_operations_are_used_one_by_one(shared: ServerProcess, den: str) -> None:
    async with visitor(shared.url, session=den) as ana:
        spoken = await results(ana, "operation_use", role="tts", payload={"content": "Good evening."})
        assert {"sr", "sw", "ch"} <= set(spoken[0]) and isinstance(spoken[0]["audio_bytes"], bytes)
        pcm = b"".join(piece["audio_bytes"] for piece in spoken)
        assert len(pcm) > spoken[0]["sr"]
        heard = await results(
            ana,
            "operation_use",
            role="stt",
            id="scripted",
            payload={"audio_bytes": b"good evening  ", "sr": 8000, "sw": 2, "ch": 1},
        )
        assert heard == [{"transcription": "good evening"}]
        asked = {"instruction_prompt": "", "messages": [{"type": "raw", "message": "say Fine then."}]}
        answered = await results(ana, "operation_use", role="t2t", id="scripted", payload=asked)
        assert "".join(piece["content"] for piece in answered) == "Fine then. "
        assert (await failure(ana, "operation_use", role="tts", payload={}))["code"] == "bad_request"
        assert (await failure(ana, "operation_use", role="embedding", payload={"content": "x"}))["reason"]
        assert (await state(ana))["operations"]["t2t"] == "eliza"
        assert (await ana.done("history_get"))["lines"] == []
