"""What goes wrong between two awaits: awkward backends, impatient clients, and several turns at a time."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from fakes.running_door import Client, running_door
from greenroom.app import ServeOptions, open_greenroom, prepare
from greenroom.bindings.discovery import BindingShelf
from greenroom.errors import Busy, Conflict, Forbidden, NotFound, Unavailable
from greenroom.protocol import events
from greenroom.protocol.commands import parse_command
from greenroom.session.operations import OperationSpec
from greenroom.session.replay import Entry, ReplayLog
from greenroom.values import Access, Role
from session.scene import Scene, Somebody


def awkward(scene: Scene, role: Role) -> Any:
    """The class of the awkward backend (``fakes/bindings/awkward``) for a role."""
    return scene.greenroom.house.bindings.get("awkward").operation(role)


async def choose(scene: Scene, role: str, **config: Any) -> None:
    end, _ = await scene.run("operation_load", ops=[{"role": role, "id": "awkward", "config": config}])
    assert end.success


async def rounds(times: int = 50) -> None:
    """Let everything go on that can."""
    for _ in range(times):
        await asyncio.sleep(0)


# One end


async def test_a_generation_cancelled_before_its_first_step_ends_too(scene: Scene) -> None:
    await scene.ask("generate_text", prompt="hang")
    await scene.ask("cancel_generation")
    event = await scene.caller.until_told(events.TextGenerated)
    assert isinstance(event, events.TextGenerated)
    assert event.text == ""


async def test_cancelling_a_generation_twice_lets_go_of_its_backend(scene: Scene) -> None:
    await choose(scene, "t2t")
    stage = await scene.stage(Role.T2T)
    await scene.ask("generate_text", prompt="linger here")
    await stage.reached["said"].wait()
    await scene.ask("cancel_generation")
    await stage.reached["ending"].wait()
    await scene.ask("cancel_text_generation")
    stage.gates["closed"].set()
    await scene.caller.until_told(events.TextGenerated)
    await scene.run("operation_unload", ops=[{"role": "t2t"}])
    assert stage.closed.is_set()


async def test_cancelling_a_turn_twice_tells_and_stores_once(scene: Scene) -> None:
    await choose(scene, "t2t")
    stage = await scene.stage(Role.T2T)
    job_id = await scene.job("response", text="linger One two.", include_audio=False)
    await stage.reached["said"].wait()
    await scene.until(lambda _: scene.text(job_id) == "One two. ")
    await scene.ask("interrupt", heard_text="One")
    await stage.reached["ending"].wait()
    await scene.ask("cancel_job", job_id=job_id)
    await rounds()
    await scene.ask("cancel_job", job_id=job_id)
    stage.gates["closed"].set()
    await scene.ended(job_id)
    cut = [event.heard for event in scene.of(job_id) if isinstance(event, events.Interrupted)]
    assert cut == ["One"]
    assert scene.script()[-1] == "[Robin]: One"
    await scene.run("operation_unload", ops=[{"role": "t2t"}])
    assert stage.closed.is_set()


async def test_what_a_backend_raises_when_it_is_cancelled_does_not_hide_the_cancellation(scene: Scene) -> None:
    await choose(scene, "t2t")
    stage = await scene.stage(Role.T2T)
    job_id = await scene.job("operation_use", role="t2t", payload={"messages": [{"type": "raw", "message": "blame"}]})
    await stage.reached["said"].wait()
    await scene.ask("cancel_job", job_id=job_id)
    end = await scene.ended(job_id)
    assert end.error is not None
    assert end.error["code"] == "cancelled"


async def test_a_backend_that_cancels_itself_has_failed(scene: Scene) -> None:
    await choose(scene, "t2t")
    end, _ = await scene.run("response", text="vanish")
    assert end.error is not None
    assert end.error["code"] == "binding_failed"
    await scene.ask("generate_text", prompt="vanish")
    await scene.caller.until_told(events.GenerationError)


async def test_a_backend_that_breaks_before_its_stream_begins_has_failed(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    await choose(scene, "t2t")

    def generate(*_: object) -> None:
        raise RuntimeError("no stream at all")

    monkeypatch.setattr(awkward(scene, Role.T2T), "generate", generate)
    end, _ = await scene.run("response", text="say One.")
    assert end.error is not None
    assert end.error["code"] == "binding_failed"


async def test_a_filter_that_has_had_enough_ends_the_answer(scene: Scene) -> None:
    await choose(scene, "filter_text")
    end, _ = await scene.run("response", text="say " + "word " * 2000, include_audio=False)
    assert end.success
    assert scene.text(end.job_id or "") == "word "


async def test_a_recogniser_that_falls_silent_is_given_up(scene: Scene) -> None:
    await choose(scene, "stt")
    await scene.run("config_update", config={"turn": {"timeout_s": 0.05}})
    end, _ = await scene.run("context_add", kind="audio", user="Ana", audio=b"hello ", sr=8000, sw=1)
    assert end.error is not None
    assert end.error["code"] == "binding_failed"
    payload = {"audio_bytes": "AAAA", "sr": 8000, "sw": 1, "ch": 1}
    end, _ = await scene.run("operation_use", role="stt", payload=payload)
    assert end.error is not None
    assert end.error["code"] == "binding_failed"


# What is held is let go


async def test_an_operation_that_does_not_close_keeps_nothing_else_open(scene: Scene) -> None:
    await choose(scene, "t2t", break_on_close=True)
    stage = await scene.stage(Role.T2T)
    end, _ = await scene.run("operation_unload", ops=[{"role": "t2t"}])
    assert end.success
    assert stage.closed.is_set()


async def test_cancelling_a_change_of_operations_closes_the_old_engine_and_tells_of_the_new(scene: Scene) -> None:
    await choose(scene, "t2t")
    stage = await scene.stage(Role.T2T)
    stage.gates["hold"].clear()
    job_id = await scene.job("operation_load", ops=[{"role": "t2t", "id": "scripted"}])
    await stage.reached["closing"].wait()
    told = len(scene.told)
    await scene.ask("cancel_job", job_id=job_id)
    stage.gates["hold"].set()
    await scene.ended(job_id)
    await asyncio.wait_for(stage.closed.wait(), 60)
    await scene.until(lambda events_: any(isinstance(event, events.StateChanged) for event in events_[told:]))
    assert (await scene.session.state())["binding"] == "scripted"


async def test_cancelling_while_an_engine_opens_leaves_none_behind(scene: Scene) -> None:
    before = scene.greenroom.engines.open_count
    job_id = await scene.job(
        "operation_load", ops=[{"role": "tts", "id": "awkward", "config": {"delay_opening": True}}]
    )
    await rounds()
    await scene.ask("cancel_job", job_id=job_id)
    await scene.ended(job_id)
    assert scene.greenroom.engines.open_count == before
    assert (await scene.session.state())["operations"]["tts"] == "scripted"


async def test_a_line_whose_job_was_cancelled_is_told_or_it_is_not_there(scene: Scene) -> None:
    for number in range(10):
        job_id = await scene.job("context_add", kind="chat", user="Ana", content=f"line {number}")
        for _ in range(number):
            await asyncio.sleep(0)
        if scene.session.jobs.find(job_id) is not None:
            await scene.ask("cancel_job", job_id=job_id)
        await scene.ended(job_id)
    stored = [line["content"] for line in (await scene.ask("history_get"))["lines"]]
    assert stored == [line.content for line in scene.session.context.lines]
    assert stored == [event.content for event in scene.told if isinstance(event, events.ContextAdded)]


# Interrupting


async def test_a_turn_that_has_not_begun_to_speak_is_interrupted(scene: Scene) -> None:
    scene.session.operations.plan([OperationSpec(Role.TTS, "awkward", {"delay_opening": True})])
    job_id = await scene.job("response", text="say Not any more.")
    await scene.until(lambda told: any(isinstance(event, events.ContextAdded) for event in told))
    await rounds()
    reply = await scene.ask("interrupt")
    assert reply["interrupted"]
    assert reply["job_id"] == job_id
    end = await scene.ended(job_id)
    assert end.error is not None
    assert end.error["code"] == "cancelled"
    assert scene.text(job_id) == ""


async def test_the_turn_before_is_cut_too_while_it_is_still_heard(scene: Scene) -> None:
    first, _ = await scene.run("response", text="say One two three four five six seven eight nine ten eleven.")
    second, _ = await scene.run("response", text="say Twelve thirteen.")
    reply = await scene.ask("interrupt")
    assert reply["job_id"] == first.job_id
    cut = {event.job_id: event.heard for event in scene.told if isinstance(event, events.Interrupted)}
    assert set(cut) == {first.job_id, second.job_id}
    assert cut[second.job_id or ""] == "", "it would have been heard after the first"
    said = [line for line in scene.script() if line.startswith("[Robin]")]
    assert "Twelve" not in "".join(said)
    assert not any("eleven" in line for line in said)


async def test_a_line_that_was_cleared_is_not_told_of_again(scene: Scene) -> None:
    await scene.run("response", text="say One two three four five six seven eight.")
    await scene.run("context_clear")
    told = len(scene.told)
    await scene.ask("interrupt", heard_ms=180)
    assert not any(isinstance(event, events.ContextChanged) for event in scene.told[told:])


async def test_only_words_whose_sound_was_made_count_as_heard(scene: Scene) -> None:
    await choose(scene, "tts")
    stage = await scene.stage(Role.TTS)
    job_id = await scene.job("response", text="say one two THREE four five six seven eight nine ten.")
    await stage.reached["THREE"].wait()
    await scene.until(lambda told: sum(one.duration_ms for one in told if isinstance(one, events.AudioChunk)) >= 200)
    assert (await scene.ask("interrupt", heard_ms=200))["heard"] == "one two"
    await scene.ended(job_id)


async def test_a_job_of_a_turn_and_the_loops_clock_agree(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """uvloop's clock stands still within an iteration, and on some systems counts from elsewhere."""
    loop = asyncio.get_running_loop()
    true_time = loop.time
    monkeypatch.setattr(loop, "time", lambda: true_time() + 1000)
    end, _ = await scene.run("response", text="say One two.")
    assert end.timing is not None
    assert 0 <= end.timing["first_delta_ms"] <= end.timing["first_text_ms"] <= end.timing["total_ms"]
    assert 0 <= end.timing["first_audio_ms"] <= end.timing["total_ms"]
    assert 0 <= end.timing["voice_first_ms"] <= end.timing["total_ms"]


# State


async def test_a_session_that_has_closed_takes_and_stores_no_more_changes(scene: Scene) -> None:
    stored = await scene.greenroom.store.load_session("main")
    assert stored is not None
    await scene.session.close("it is time", 1)
    with pytest.raises(Unavailable):
        await scene.ask("add_personality", path="english/adventure/captain_brine")
    with pytest.raises(Unavailable):
        await scene.ask("select_binding", binding_name="scripted")
    after = await scene.greenroom.store.load_session("main")
    assert after is not None
    assert after.state == stored.state


async def room_for(scene: Scene, sessions: int) -> None:
    """``main`` is always in use here: the scene hears it."""
    assert (await scene.run("config_update", config={"session": {"max_sessions": sessions}}))[0].success


async def test_a_session_in_which_somebody_acts_unheard_stays(scene: Scene) -> None:
    await room_for(scene, 3)
    sessions = scene.greenroom.sessions
    second = await sessions.get("second")
    await second.execute(parse_command("generate_text", {"prompt": "say one"}), scene.caller)
    await scene.caller.until_told(events.TextGenerated)
    await sessions.get("third")
    await sessions.get("fourth")
    assert await sessions.get("second") is second
    second.forget(scene.caller.client_id)
    await sessions.get("fifth")
    await sessions.get("sixth")
    with pytest.raises(Unavailable):
        await second.execute(parse_command("add_personality", {"path": "robin"}), scene.caller)


async def test_one_name_opens_one_session_also_when_room_must_be_made(scene: Scene) -> None:
    await room_for(scene, 3)
    sessions = scene.greenroom.sessions
    stages = []
    for name in ("second", "third"):
        session = await sessions.get(name)
        await session.operations.load(OperationSpec(Role.T2T, "awkward", {"extra_body": name}))
        stages.append(awkward(scene, Role.T2T).opened[-1])
    stages[0].gates["hold"].clear()
    opening = [asyncio.create_task(sessions.get("fourth")) for _ in range(2)]
    await stages[0].reached["closing"].wait()
    await rounds()
    stages[0].gates["hold"].set()
    one, two = await asyncio.gather(*opening)
    assert one is two


async def test_a_client_that_hears_nothing_follows_its_session_into_memory_and_back() -> None:
    async with running_door() as server, Client(server) as client:
        await client.connect()
        before = server.sessions.main
        await client.call("tokenize", {"prompt": "a"})
        del server.sessions.known["main"]
        await client.call("tokenize", {"prompt": "b"})
        after = server.sessions.main
        assert [len(before.executed), len(after.executed)] == [1, 1]


async def test_choices_survive_a_restart_after_the_configuration_was_changed_over_the_wire(home: Path) -> None:
    async with open_greenroom(prepare(ServeOptions(home=home), {})) as greenroom:
        scene = Scene(greenroom, await greenroom.sessions.get("main"))
        assert (await scene.run("config_update", config={"context": {"character_name": "Rob"}}))[0].success
        await scene.ask("add_personality", path="english/adventure/captain_brine")
        await greenroom.close()
    async with open_greenroom(prepare(ServeOptions(home=home), {})) as greenroom:
        state = await (await greenroom.sessions.get("main")).state()
        assert len(state["personalities"]) == 2
        await greenroom.close()


async def test_a_change_made_while_the_configuration_is_being_saved_stays(scene: Scene) -> None:
    config = scene.greenroom.house.config
    saving = asyncio.create_task(config.save("mine"))
    await asyncio.sleep(0)
    config.update({"user_name": "Bo"}, Access.OWNER)
    await saving
    assert config.value.user_name == "Bo"


async def test_an_id_that_stood_for_another_command_is_refused(scene: Scene) -> None:
    await scene.run("context_add", kind="chat", user="Ana", content="once", command_id="1")
    with pytest.raises(Conflict):
        await scene.ask("say", text="Hello.", command_id="1")
    viewer = Somebody(client_id="v", access=Access.VIEWER)
    secret = await scene.ask("config_get", command_id="2")
    assert await scene.ask("session_state", caller=viewer, command_id="2") != secret


async def test_only_the_owner_sets_what_a_binding_reserves_by_whatever_way(scene: Scene) -> None:
    performer = Somebody(access=Access.PERFORMER)
    for config in (
        {"bindings": {"awkward": {"extra_body": "x"}}},
        {"operations": [{"role": "t2t", "id": "awkward", "extra_body": "x"}]},
    ):
        reply = await scene.ask("config_update", caller=performer, config=config)
        end = await scene.ended(reply["job_id"])
        assert end.error is not None
        assert end.error["code"] == Forbidden.code
    assert (await scene.run("config_update", config={"bindings": {"awkward": {"extra_body": "x"}}}))[0].success
    reply = await scene.ask("config_update", caller=performer, config={"user_name": "Bo"})
    assert (await scene.ended(reply["job_id"])).success


async def test_a_character_cannot_set_what_only_the_owner_may(scene: Scene) -> None:
    await choose(scene, "t2t")
    loaded = await scene.session.operations.hold(Role.T2T, {"awkward": {"extra_body": "x", "break_on_close": False}})
    assert loaded.operation.options.extra_body == ""
    await loaded.release()


# Bounds


def test_the_log_weighs_what_its_events_carry() -> None:
    log = ReplayLog(1 << 20)
    for _ in range(100):
        log.append(
            events.JobProgress(job_id="j", result={"sound": b"\0" * (1 << 17), "more": [{"x": "y" * (1 << 17)}]})
        )
    kept = [cursor for cursor in range(log.seq) if log.reaches(cursor) and isinstance(log.after(cursor), Entry)]
    assert len(kept) <= 4


async def test_a_name_that_looks_like_a_number_is_not_found(scene: Scene) -> None:
    for wanted in ("--5", "²", "-"):
        with pytest.raises(NotFound):
            await scene.ask("generate_text", prompt="say x", personality=wanted)


async def test_waiting_recordings_are_bounded_in_bytes(scene: Scene) -> None:
    await scene.job("response", text="hang")
    recording: dict[str, Any] = {"kind": "audio", "user": "Ana", "audio": b"\0" * (14 << 20), "sr": 48000, "ch": 2}
    for _ in range(4):
        await scene.ask("context_add", **recording)
    with pytest.raises(Busy):
        await scene.ask("context_add", **recording)
    await scene.ask("context_add", kind="chat", user="Ana", content="There is room for this.")


async def test_a_backend_that_nothing_stops_does_not_keep_the_session_open(scene: Scene) -> None:
    await choose(scene, "t2t")
    stage = await scene.stage(Role.T2T)
    await scene.job("response", text="stubborn One.", include_audio=False)
    await stage.reached["said"].wait()
    await scene.session.close("it is time", 0.01)
    assert not stage.gates["closed"].is_set()
    stage.gates["closed"].set()
    await rounds()


@pytest.mark.parametrize("ending", ["raise SystemExit(3)", "raise RuntimeError('no')"])
async def test_a_binding_that_ends_its_program_is_only_broken(tmp_path: Path, ending: str) -> None:
    folder = tmp_path / "bindings" / "quitter"
    folder.mkdir(parents=True)
    (folder / "binding_card.yaml").write_text("name: Quitter\nroles: [t2t]\n", encoding="utf-8")
    (folder / "binding.py").write_text(ending + "\n", encoding="utf-8")
    async with open_greenroom(prepare(ServeOptions(home=tmp_path), {})) as greenroom:
        scene = Scene(greenroom, await greenroom.sessions.get("main"))
        listed = {one["name"]: one for one in (await scene.ask("list_available_bindings"))["bindings"]}
        assert listed["quitter"]["status"] == "broken"
        with pytest.raises(Unavailable, match="quitter"):
            await scene.ask("select_binding", binding_name="quitter")
        await greenroom.close()


async def test_a_change_that_a_closing_session_cancels_is_not_stored_half(scene: Scene) -> None:
    stored = await scene.greenroom.store.load_session("main")
    assert stored is not None
    scene.greenroom.house.config.update(
        {"operations": [{"role": "t2t", "id": "scripted"}, {"role": "tts", "id": "awkward", "delay_opening": True}]},
        Access.OWNER,
    )
    await scene.job("operation_reload_from_config")
    await scene.until(lambda told: any(isinstance(event, events.JobStarted) for event in told))
    await rounds()
    await scene.session.close("it is time", 1)
    after = await scene.greenroom.store.load_session("main")
    assert after is not None
    assert after.state["operations"] == stored.state["operations"]


async def test_custom_contexts_are_bounded(scene: Scene) -> None:
    ends = [await scene.job("context_custom_register", context_id=str(n), context_name="x") for n in range(250)]
    await scene.ended(ends[-1])
    more = [await scene.job("context_custom_register", context_id=f"m{n}", context_name="x") for n in range(20)]
    end = await scene.ended(more[-1])
    assert end.error is not None
    assert end.error["code"] == "conflict"


async def test_a_binding_folder_that_may_not_be_read_is_listed_as_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "more"
    (root / "locked").mkdir(parents=True)
    (root / "locked" / "binding_card.yaml").write_text("name: Locked\n", encoding="utf-8")
    stat, read = Path.stat, Path.read_text

    def refused(path: Path) -> bool:
        if path.parent.name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return False

    monkeypatch.setattr(Path, "stat", lambda path, **given: refused(path) or stat(path, **given))
    monkeypatch.setattr(Path, "read_text", lambda path, *given, **more: refused(path) or read(path, *given, **more))
    found = BindingShelf((tmp_path / "missing", root)).all()
    assert found["locked"].status == "broken"
    assert "Permission denied" in found["locked"].problem
