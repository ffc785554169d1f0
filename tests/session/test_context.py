"""What goes into the context, and what is kept of it."""

from pathlib import Path

import pytest

from greenroom.app import ServeOptions, open_greenroom, prepare
from greenroom.errors import BadRequest, Forbidden, TooLarge
from greenroom.protocol import events
from greenroom.values import Access, Role
from session.scene import Scene, Somebody


async def test_lines_of_every_kind_stand_in_the_script(scene: Scene) -> None:
    await scene.run("context_configure", name_translations={"xX_bob": "Bob"})
    await scene.run("context_custom_register", context_id="chat", context_name="Twitch", context_description="the chat")
    await scene.run("context_add", kind="chat", user="xX_bob", content="hi", timestamp="12.5")
    await scene.run("context_add", kind="request", content="Be kind.")
    end, told = await scene.run("context_add", kind="custom", context_id="chat", content="All cheer.")
    assert end.success
    assert scene.script() == ["[Bob]: hi", "[REQUEST]: Be kind.", "[CONTEXT#Twitch]: All cheer."]
    added = next(event for event in told if isinstance(event, events.ContextAdded))
    assert added.line == "[CONTEXT#Twitch]: All cheer."
    await scene.run("response", text="say Yes.")
    assert "Twitch: the chat" in (await scene.stage(Role.T2T)).prompts[-1].system


async def test_an_unregistered_context_is_refused(scene: Scene) -> None:
    end, _ = await scene.run("context_add", kind="custom", context_id="nobody", content="x")
    assert end.error is not None
    assert end.error["code"] == "not_found"
    end, _ = await scene.run("context_custom_remove", context_id="nobody")
    assert not end.success


async def test_history_is_paged_and_survives_clearing(scene: Scene) -> None:
    for number in range(5):
        await scene.run("context_add", kind="chat", user="Ana", content=str(number))
    page = (await scene.ask("history_get", limit=2))["lines"]
    assert [line["content"] for line in page] == ["3", "4"]
    before = (await scene.ask("history_get", limit=2, before=page[0]["line_id"]))["lines"]
    assert [line["content"] for line in before] == ["1", "2"]
    end, told = await scene.run("context_clear")
    assert end.success
    assert sum(isinstance(event, events.ContextChanged) and event.removed is True for event in told) == 5
    assert (await scene.ask("history_get"))["lines"] == []


async def test_the_prompt_holds_the_newest_lines_only(scene: Scene) -> None:
    await scene.run("context_configure", history_length=2)
    for word in ("one", "two", "three"):
        await scene.run("context_add", kind="chat", user="User", content=word)
    await scene.run("response", include_audio=False)
    assert [m.content for m in (await scene.stage(Role.T2T)).prompts[-1].messages] == ["two", "three"]


async def test_prompt_files_are_looked_up_and_read_every_time(scene: Scene, home: Path) -> None:
    folder = home / "prompts" / "instructions"
    folder.mkdir(parents=True)
    (folder / "brief.txt").write_text("Answer in one word.", encoding="utf-8")
    for name in ("../../config.yaml", "nothing"):
        end, _ = await scene.run("context_configure", instruction_prompt_filename=name)
        assert end.error is not None
        assert end.error["code"] == "not_found"
    assert (await scene.run("context_configure", instruction_prompt_filename="brief"))[0].success
    await scene.run("response", text="say Yes.", include_audio=False)
    assert (await scene.stage(Role.T2T)).prompts[-1].system.startswith("Answer in one word.")


async def test_audio_without_a_whole_frame_is_refused(scene: Scene) -> None:
    with pytest.raises(BadRequest, match="one frame"):
        await scene.ask("context_add", kind="audio", user="Ana", audio=b"\1", sr=8000, sw=2)


async def test_sizes_are_bounded(scene: Scene) -> None:
    with pytest.raises(TooLarge):
        await scene.ask("context_add", kind="chat", user="Ana", content="ä" * 60_000)
    with pytest.raises(TooLarge, match="300 s"):
        await scene.ask("context_add", kind="audio", user="Ana", audio=bytes(4000 * 301), sr=4000, sw=1)


async def test_a_viewer_may_look_and_not_touch(scene: Scene) -> None:
    viewer = Somebody(access=Access.VIEWER)
    assert (await scene.ask("session_state", caller=viewer))["success"]
    with pytest.raises(Forbidden, match="performer"):
        await scene.ask("response", caller=viewer)


async def test_everything_chosen_is_there_after_a_restart(home: Path) -> None:
    async with open_greenroom(prepare(ServeOptions(home=home), {})) as greenroom:
        scene = Scene(greenroom, await greenroom.sessions.get("main"))
        await scene.ask("add_personality", path="english/adventure/captain_brine")
        await scene.ask("activate_personality", id=1)
        await scene.ask("select_model", model_name="fancy")
        await scene.run("operation_unload", ops=[{"role": "stt"}])
        await scene.run("context_custom_register", context_id="chat", context_name="Twitch")
        await scene.run("response", text="say Ahoy.")
        state = dict(await scene.session.state())
        await greenroom.close()
    async with open_greenroom(prepare(ServeOptions(home=home), {})) as greenroom:
        session = await greenroom.sessions.get("main")
        again = dict(await session.state())
        await greenroom.close()
    for changing in ("epoch", "seq", "playing"):
        state.pop(changing)
        again.pop(changing)
    assert again == state
    assert again["personality"]["id"] == "english/adventure/captain_brine"
    assert again["model"] == "fancy"
    assert again["operations"]["stt"] is None


async def test_what_the_owner_changes_in_the_file_wins_over_what_was_stored(home: Path) -> None:
    async with open_greenroom(prepare(ServeOptions(home=home), {})) as greenroom:
        scene = Scene(greenroom, await greenroom.sessions.get("main"))
        await scene.ask("select_model", model_name="fancy")
        await greenroom.close()
    file = home / "config.yaml"
    file.write_text(file.read_text(encoding="utf-8").replace("t2t, id: scripted", "t2t, id: eliza"), encoding="utf-8")
    async with open_greenroom(prepare(ServeOptions(home=home), {})) as greenroom:
        assert (await (await greenroom.sessions.get("main")).state())["binding"] == "eliza"
        await greenroom.close()
