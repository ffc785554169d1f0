"""Loading, configuring and using operations; selecting binding, model and characters."""

import base64

import pytest

from greenroom.errors import BadRequest, Conflict, Forbidden, NotFound
from greenroom.protocol import events
from greenroom.values import Access, Role
from session.scene import Scene, Somebody


def results(told: list[events.Event]) -> list[dict[str, object]]:
    return [dict(event.result) for event in told if isinstance(event, events.JobProgress)]


async def test_load_and_unload_answer_with_each_operation(scene: Scene) -> None:
    end, told = await scene.run("operation_load", ops=[{"role": "filter_text", "id": "scripted", "loose_key": 7}])
    assert end.success
    assert results(told) == [{"role": "filter_text", "id": "scripted", "loose_key": 7}]
    assert (await scene.ask("list_operations"))["operations"]["filter_text"] == ["scripted"]
    end, _ = await scene.run("operation_load", ops=[{"role": "filter_text", "id": "scripted"}])
    assert end.error is not None
    assert end.error == {
        "code": Conflict.code,
        "type": "operation_duplicate",
        "reason": "Can not add already active FILTER_TEXT scripted",
    }
    end, told = await scene.run("operation_unload", ops=[{"role": "filter_text", "id": "scripted"}])
    assert results(told) == [{"role": "filter_text", "id": "scripted"}]
    end, _ = await scene.run("operation_unload", ops=[{"role": "filter_text", "id": "scripted"}])
    assert end.error is not None
    assert end.error["type"] == "operation_unloaded"


async def test_a_bad_one_stops_the_job_and_the_earlier_ones_stay(scene: Scene) -> None:
    ops = [{"role": "filter_text", "id": "scripted"}, {"role": "tts", "id": "nobody"}]
    end, told = await scene.run("operation_load", ops=ops)
    assert end.error is not None
    assert end.error["type"] == "operation_unknown_id"
    assert len(results(told)) == 1
    assert (await scene.session.state())["operations"]["tts"] == "scripted"


async def test_a_refused_setting_changes_nothing(scene: Scene) -> None:
    end, _ = await scene.run("operation_configure", ops=[{"role": "tts", "ms_per_character": "loud"}])
    assert end.error is not None
    assert "ms_per_character" in end.error["reason"]
    end, _ = await scene.run("operation_configure", ops=[{"role": "tts", "ms_per_charakter": 3}])
    assert end.error is not None
    assert (await scene.run("say", text="Still here."))[0].success


async def test_urls_and_paths_are_the_owners(scene: Scene) -> None:
    performer = Somebody(access=Access.PERFORMER)
    with pytest.raises(Forbidden, match="secret_url"):
        await scene.ask(
            "select_binding", caller=performer, binding_name="scripted", options={"secret_url": "http://evil"}
        )
    await scene.ask("select_binding", caller=performer, binding_name="scripted", options={"model": "fancy"})
    reply = await scene.ask(
        "operation_load", caller=performer, ops=[{"role": "t2t", "id": "scripted", "config": {"secret_url": "x"}}]
    )
    end = await scene.ended(reply["job_id"])
    assert end.error is not None
    assert end.error["code"] == "forbidden"


async def test_a_session_is_closed_to_whom_no_door_should_have_let_in(scene: Scene) -> None:
    stranger = Somebody(access=Access.OWNER, sessions=frozenset({"elsewhere"}))
    with pytest.raises(Forbidden, match="does not open the session"):
        await scene.ask("list_operations", caller=stranger)
    guest = Somebody(access=Access.PERFORMER, sessions=frozenset({scene.session.name}))
    with pytest.raises(Forbidden, match="not bound to sessions"):
        await scene.ask("config_update", caller=guest, config={"user_name": "Guest"})
    assert (await scene.ask("config_get", caller=guest))["config"]["user_name"] != "Guest"


async def test_using_an_operation(scene: Scene) -> None:
    payload = {"instruction_prompt": "", "messages": [{"type": "raw", "message": "say one two"}]}
    end, told = await scene.run("operation_use", role="t2t", payload=payload)
    assert end.success
    assert results(told) == [{"content": "one "}, {"content": "two "}]
    assert "payload" not in next(event for event in told if isinstance(event, events.JobStarted)).args
    sound = base64.b64encode(b"hello ").decode()
    _, told = await scene.run("operation_use", role="stt", payload={"audio_bytes": sound, "sr": 8000, "sw": 1, "ch": 1})
    assert results(told) == [{"transcription": "hello"}]
    _, told = await scene.run("operation_use", role="tts", payload={"content": "Hey"})
    assert sum(len(result["audio_bytes"]) for result in results(told)) == 480  # type: ignore[arg-type, misc]
    _, told = await scene.run("operation_use", role="filter_text", id="scripted", payload={"content": "Wow!"})
    assert results(told) == [{"loud": True, "content": "Wow!"}], "loaded for this one use"
    assert (await scene.session.state())["operations"]["filter_text"] == []


@pytest.mark.parametrize(
    ("role", "payload"),
    [
        ("tts", {}),
        ("tts", {"content": 3}),
        ("stt", {"audio_bytes": "%%%", "sr": 8000, "sw": 2, "ch": 1}),
        ("stt", {"audio_bytes": "AAAA", "sr": "x", "sw": 2, "ch": 1}),
        ("t2t", {"messages": [{"type": "custom"}]}),
        ("t2t", {"messages": {}}),
    ],
)
async def test_a_bad_payload_says_which_member(scene: Scene, role: str, payload: dict[str, object]) -> None:
    end, _ = await scene.run("operation_use", role=role, payload=payload)
    assert end.error is not None
    assert end.error["code"] == "bad_request"
    assert "payload" in end.error["reason"]


async def test_selecting_is_felt_by_the_next_turn(scene: Scene) -> None:
    await scene.ask("select_binding", binding_name="eliza")
    assert (await scene.session.state())["binding"] == "eliza"
    changed = [event for event in scene.told if isinstance(event, events.StateChanged)][-1]
    assert (changed.by, changed.changed["binding"]) == ("test/1", "eliza")
    end, _ = await scene.run("response", text="Hello!")
    assert end.success
    assert scene.text(end.job_id or "")
    assert (await scene.ask("select_binding", binding_name="scripted"))["binding_name"] == "scripted"
    with pytest.raises(NotFound, match="fancy"):
        await scene.ask("select_model", model_name="fanzy")
    await scene.ask("select_model", model_name="fancy")
    assert (await scene.session.state())["model"] == "fancy"
    for name in ("nobody", "../eliza", "eliza/../eliza", ""):
        with pytest.raises((NotFound, BadRequest)):
            await scene.ask("select_binding", binding_name=name)


async def test_characters_on_call(scene: Scene) -> None:
    added = await scene.ask("add_personality", path="english/adventure/captain_brine")
    assert added["id"] == 1
    assert (await scene.ask("list_active_personalities"))["personalities"] == ["Robin", added["name"]]
    for wanted in (1, "1", added["name"], "english/adventure/captain_brine"):
        assert (await scene.ask("activate_personality", id=wanted))["name"] == added["name"]
    for wanted in (-1, 2, 10**30, "Nobody"):
        with pytest.raises(NotFound):
            await scene.ask("activate_personality", id=wanted)
    with pytest.raises((NotFound, BadRequest)):
        await scene.ask("add_personality", path="/etc/passwd")
    with pytest.raises((NotFound, BadRequest)):
        await scene.ask("add_personality", path="../../etc")
    await scene.ask("remove_personality", id=0)
    assert (await scene.session.state())["personality"]["name"] == added["name"]
    await scene.ask("remove_personality", id=0)
    end, _ = await scene.run("response", text="say Hello.")
    assert end.error is not None
    assert end.error["code"] == "not_found"


async def test_the_characters_voice_is_used_unless_the_session_says_otherwise(scene: Scene) -> None:
    await scene.run("operation_load", ops=[{"role": "tts", "id": "scripted", "config": {"voice": "mine"}}])
    await scene.run("say", text="Hello.")
    assert (await scene.stage(Role.TTS)).voices == ["mine"]


async def test_configuration_changes_all_or_nothing(scene: Scene) -> None:
    end, _ = await scene.run("config_update", config={"turn": {"chunk_ms": 200}, "user_name": "Ana"})
    assert end.success
    config = (await scene.ask("config_get"))["config"]
    assert (config["turn"]["chunk_ms"], config["user_name"]) == (200, "Ana")
    end, _ = await scene.run("config_update", config={"user_name": "Bo", "turn": {"chunk_mss": 1}})
    assert end.error is not None
    assert end.error["type"] == "config_unknown_field"
    assert (await scene.ask("config_get"))["config"]["user_name"] == "Ana"
    assert (await scene.run("config_save", config_name="mine"))[0].success
    await scene.run("config_update", config={"user_name": "Bo"})
    assert (await scene.run("config_load", config_name="mine"))[0].success
    assert (await scene.ask("config_get"))["config"]["user_name"] == "Ana"
    end, _ = await scene.run("config_load", config_name="../config")
    assert end.error is not None
    assert end.error["type"] == "config_unknown_file"


async def test_reloading_from_the_configuration(scene: Scene) -> None:
    await scene.run("operation_load", ops=[{"role": "filter_text", "id": "scripted"}])
    await scene.run("operation_unload", ops=[{"role": "stt"}])
    assert (await scene.run("operation_reload_from_config"))[0].success
    operations = (await scene.session.state())["operations"]
    assert operations["stt"] == "scripted"
    assert operations["filter_text"] == []
