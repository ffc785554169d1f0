"""What goes wrong between two awaits: awkward backends, impatient clients, and several turns at a time."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from greenroom.app import ServeOptions, open_greenroom, prepare
from greenroom.bindings.roles import Operation
from greenroom.errors import Conflict, Forbidden, Unavailable
from greenroom.protocol import events
from greenroom.session.replay import ReplayLog
from greenroom.values import Access, Role
from session.scene import Scene, Somebody


def awkward(scene: Scene, role: Role) -> Any:
    """The class of the awkward backend (``fakes/bindings/awkward``) for a role."""
    return scene.greenroom.house.bindings.get("awkward").operation(role)


async def choose(scene: Scene, role: str, **config: Any) -> None:
    end, _ = await scene.run("operation_load", ops=[{"role": role, "id": "awkward", "config": config}])
    assert end.success


async def turns(times: int = 50) -> None:
    """Let everything go on that can."""
    for _ in range(times):
        await asyncio.sleep(0)


def spoken(kind: type[events.Event], least: int = 1) -> Callable[[list[events.Event]], bool]:
    return lambda told: sum(isinstance(event, kind) for event in told) >= least


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
    await turns()
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


async def test_a_filter_that_has_had_enough_ends_the_answer(scene: Scene) -> None:
    await choose(scene, "filter_text")
    end, _ = await scene.run("response", text="say " + "word " * 2000, include_audio=False)
    assert end.success
    assert scene.text(end.job_id or "") == "word "



async def test_a_recogniser_that_falls_silent_is_given_up(scene: Scene) -> None:
    await choose(scene, "stt")
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
    await asyncio.wait_for(stage.closed.wait(), 5)
    await scene.until(lambda events_: any(isinstance(event, events.StateChanged) for event in events_[told:]))
    assert (await scene.session.state())["binding"] == "scripted"


async def test_cancelling_while_an_engine_opens_leaves_none_behind(scene: Scene) -> None:
    before = scene.greenroom.engines.open_count
    job_id = await scene.job(
        "operation_load", ops=[{"role": "tts", "id": "awkward", "config": {"delay_opening": True}}]
    )
    await turns()
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
    await scene.run("operation_configure", ops=[{"role": "t2t", "model": "fancy"}])
    opening = awkward(scene, Role.TTS).opening
    await scene.ask("select_binding", binding_name="scripted")
    scene.session.operations.plan([_spec(Role.TTS, "awkward", delay_opening=True)])
    job_id = await scene.job("response", text="say Not any more.")
    await scene.until(lambda told: any(isinstance(event, events.ContextAdded) for event in told))
    await turns()
    reply = await scene.ask("interrupt")
    assert reply["interrupted"]
    assert reply["job_id"] == job_id
    opening.set()
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
    await scene.until(spoken(events.AudioChunk, 2))
    assert (await scene.ask("interrupt", heard_ms=200))["heard"] == "one two"
    await scene.ended(job_id)


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


async def test_a_session_in_which_somebody_acts_unheard_is_not_retired(scene: Scene) -> None:
    sessions = scene.greenroom.sessions
    await scene.ask("generate_text", prompt="say one")
    await scene.caller.until_told(events.TextGenerated)
    await scene.run("config_update", config={"session": {"max_sessions": 2}})
    await sessions.get("second")
    await sessions.get("third")
    assert await sessions.get("main") is scene.session
    scene.session.forget(scene.caller.client_id)


async def test_one_name_opens_one_session_also_when_room_must_be_made(scene: Scene) -> None:
    sessions = scene.greenroom.sessions
    scene.session.join(scene.caller, plays=False)
    await scene.run("config_update", config={"session": {"max_sessions": 3}})
    await sessions.get("second")
    await sessions.get("third")
    one, two = await asyncio.gather(sessions.get("fourth"), sessions.get("fourth"))
    assert one is two


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
        log.append(events.JobProgress(job_id="j", result={"audio_bytes": b"\0" * (1 << 18), "more": [{"x": "y" * 1000}]}))
    assert sum(1 for entry in log._entries if entry.event is not None) <= 4


async def test_a_name_that_looks_like_a_number_is_not_found(scene: Scene) -> None:
    from greenroom.errors import NotFound

    for wanted in ("--5", "²", "-"):
        with pytest.raises(NotFound):
            await scene.ask("generate_text", prompt="say x", personality=wanted)


async def test_waiting_recordings_are_bounded_in_bytes(scene: Scene) -> None:
    from greenroom.errors import Busy

    await scene.job("response", text="hang")
    audio = b"\0" * (14 << 20)
    with pytest.raises(Busy):
        for _ in range(20):
            await scene.ask("context_add", kind="audio", user="Ana", audio=audio, sr=48000, sw=2, ch=2)


def _spec(role: Role, binding_id: str, **options: Any) -> Any:
    from greenroom.session.operations import OperationSpec

    return OperationSpec(role, binding_id, options)
