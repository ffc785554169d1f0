"""A server that is killed, and one that is asked to stop: what was announced is there again, what was not has ended."""

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from e2e.conftest import QUICK, make_home
from e2e.promises import check_numbers
from e2e.visitor import PATIENCE_S, Visitor, end_of, text_of, visitor
from fakes.server_process import ServerProcess, running_server, start_server

CHOSEN = ("personalities", "active_personality", "personality", "binding", "model", "operations")


def port_of(server: ServerProcess) -> int:
    return urlsplit(server.url).port or 0


async def history(client: Visitor) -> list[tuple[str, str]]:
    return [(line["line_id"], line["content"]) for line in (await client.done("history_get"))["lines"]]


def announced(client: Visitor) -> list[tuple[str, str]]:
    return [(line["line_id"], line["content"]) for line in client.named("context_added")]


async def state(client: Visitor) -> dict[str, Any]:
    found: dict[str, Any] = (await client.done("session_state"))["state"]
    return found


async def choose_everything(client: Visitor) -> None:
    await client.done("select_binding", binding_name="scripted")
    await client.done("select_model", model_name="fancy")
    await client.done("add_personality", path="english/adventure/captain_brine")
    await client.done("activate_personality", id=1)
    await client.run("operation_load", ops=[{"role": "tts", "id": "scripted", "config": {"ms_per_character": 20}}])
    await client.run("operation_unload", ops=[{"role": "stt"}])
    await client.run("context_configure", name_translations={"xX_bob_Xx": "Bob"}, history_length=50)
    await client.run("context_custom_register", context_id="chat", context_name="Stream chat")


async def test_killed_in_the_middle_of_a_turn(tmp_path: Path) -> None:
    home = make_home(tmp_path / "home", QUICK)
    async with running_server(home) as server, visitor(server.url, session="den") as ana:
        await choose_everything(ana)
        await ana.run("response", user="Ana", text="say Fine, thank you.")
        await ana.run("context_add", kind="custom", context_id="chat", content="bob: hi")
        running = await ana.job("response", user="xX_bob_Xx", text="hang It was a dark night. The wind howled.")
        await ana.next("audio_chunk", job_id=running, index=0, last=True)
        queued = await ana.job("context_add", kind="chat", user="Ana", content="never said")
        before = await state(ana)
        lines = announced(ana)
        await server.kill()
    assert [content for _, content in lines][-1] == "hang It was a dark night. The wind howled."
    async with running_server(home) as server:
        epoch, seq = before["epoch"], ana.numbers()[-1]
        async with visitor(server.url, session="den", epoch=epoch, last_seq=seq) as ben:
            (joined,) = ben.named("session_joined")
            assert joined["epoch"] != epoch and joined["resumed"] is False
            after = joined["state"]
            assert {name: after[name] for name in CHOSEN} == {name: before[name] for name in CHOSEN}
            assert after["context"]["customs"] == before["context"]["customs"]
            assert after["context"]["name_translations"] == {"xX_bob_Xx": "Bob"}
            assert after["jobs"] == {"running": None, "queued": []}
            for job_id in (running, queued):
                end = end_of(await ben.finished(job_id))
                assert (end["success"], end["error"]["code"]) == (False, "restarted")
            found = await history(ben)
            assert found[: len(lines)] == lines
            # Of the answer, no more than what was said.
            assert all("It was a dark night. The wind howled.".startswith(said) for _, said in found[len(lines) :])
            told = await ben.run("response", user="xX_bob_Xx", text="say And on we go.")
            assert text_of(told) == "And on we go. "
            assert [content for _, content in (await history(ben))][-2:] == ["say And on we go.", "And on we go."]
            check_numbers(ben)
        async with visitor(server.url, session="den") as carl:
            # Whoever comes back later is told as well.
            assert end_of(await carl.finished(running))["error"]["code"] == "restarted"


@pytest.mark.parametrize("after", [1, 7, 30])
async def test_killed_while_lines_are_added(tmp_path: Path, after: int) -> None:
    home = make_home(tmp_path / "home", QUICK)
    acknowledged: dict[str, str] = {}
    async with running_server(home) as server, visitor(server.url, session="den") as ana:

        async def adds() -> None:
            for number in range(100):
                content = f"line {number}"
                acknowledged[await ana.job("context_add", kind="chat", user="Ana", content=content)] = content

        adding = asyncio.create_task(adds())
        for _ in range(after):
            await ana.next("context_added")
        await server.kill()
        adding.cancel()
        await asyncio.gather(adding, return_exceptions=True)
    ended = {each["job_id"] for each in ana.named("job_finished")}
    async with running_server(home) as server, visitor(server.url, session="den") as ben:
        found = await history(ben)
        contents = [content for _, content in found]
        assert found[: len(announced(ana))] == announced(ana)
        assert contents == [f"line {number}" for number in range(len(contents))]
        restarted = {each["job_id"] for each in ben.named("job_finished")}
        assert not restarted & ended
        for job_id, content in acknowledged.items():
            assert job_id in ended | restarted or content in contents


async def test_a_repeated_command_is_known_after_a_restart(tmp_path: Path) -> None:
    home = make_home(tmp_path / "home", QUICK)
    said = {"kind": "chat", "user": "Ana", "content": "Once.", "command_id": "first"}
    async with running_server(home) as server, visitor(server.url, session="den") as ana:
        job_id = await ana.job("context_add", **said)
        await ana.finished(job_id)
        await ana.done("add_personality", path="english/adventure/captain_brine", command_id="second")
        await server.kill()
    async with running_server(home) as server, visitor(server.url, session="den") as ana:
        assert await ana.job("context_add", **said) == job_id
        await ana.done("add_personality", path="english/adventure/captain_brine", command_id="second")
        await ana.run("say", text="Twice.", include_audio=False)
        assert [content for _, content in await history(ana)] == ["Once.", "Twice."]
        assert len((await state(ana))["personalities"]) == 2


async def test_asked_to_stop_with_a_turn_running(tmp_path: Path) -> None:
    home = make_home(tmp_path / "home", QUICK)
    server = await start_server(home)
    async with (
        visitor(server.url, session="den") as ana,
        visitor(server.url, session="den", transports=["polling"]) as ben,
        visitor(server.url, session="other") as carl,
        visitor(server.url) as old,
    ):
        await choose_everything(ana)
        chosen = await state(ana)
        running = await ana.job("response", text="hang Well now.", include_audio=False)
        await ana.next("text_chunk", job_id=running)
        queued = await ana.job("context_add", kind="chat", user="Ana", content="never said")
        await carl.done("select_binding", binding_name="scripted")
        theirs = await carl.job("response", text="hang So.", include_audio=False)
        await carl.next("text_chunk")
        await old.tell("generate_text", {"prompt": "Hello."})
        await old.next("text_chunk")
        assert await asyncio.wait_for(server.stop(), 60) == 0
        for client, jobs in ((ana, (running, queued)), (ben, (running, queued)), (carl, (theirs,)), (old, ())):
            closing = await client.next("closing")
            assert closing["code"] == "shutdown" and closing["message"]
            await asyncio.wait_for(client.gone.wait(), PATIENCE_S)
            for job_id in jobs:
                end = end_of(await client.finished(job_id))
                assert not end["success"] and end["error"]["code"] == "cancelled"
            assert client.names[-1] == "closing"
        assert [content for _, content in announced(ana)] == ["hang Well now.", "Well now. hanging"]
        assert "Traceback" not in server.logged()
    async with running_server(home) as server, visitor(server.url, session="den") as ana:
        assert [content for _, content in await history(ana)] == ["hang Well now.", "Well now. hanging"]
        assert {name: (await state(ana))[name] for name in CHOSEN} == {name: chosen[name] for name in CHOSEN}
        assert "job_finished" not in ana.names


async def test_clients_come_back_by_themselves(tmp_path: Path) -> None:
    """python-socketio's own reconnection, once after a stop and once after a kill."""
    home = make_home(tmp_path / "home", QUICK)
    server = await start_server(home)
    port = port_of(server)
    async with aiohttp.ClientSession() as http:
        ana = Visitor(http, reconnects=True)
        try:
            await ana.connect(server.url, lambda: {"session": "den"})
            epochs = {(await ana.next("session_joined"))["epoch"]}
            await ana.run("say", text="One.", include_audio=False)
            for way in (ServerProcess.stop, ServerProcess.kill):
                await way(server)
                server = await start_server(home, port=port)
                epochs.add((await ana.next("session_joined"))["epoch"])
                await ana.run("say", text="And one.", include_audio=False)
            assert len(epochs) == 3
            assert [content for _, content in await history(ana)] == ["One.", "And one.", "And one."]
        finally:
            await ana.close()
            await server.stop()


async def test_what_the_owner_changed_in_the_file_wins(tmp_path: Path) -> None:
    """Clients' choices outlive a restart, until the owner changes that part of the configuration."""
    home = make_home(tmp_path / "home", QUICK)
    async with running_server(home) as server, visitor(server.url, session="den") as ana:
        await ana.done("select_binding", binding_name="scripted")
        await ana.run("say", text="Kept.", include_audio=False)
    (home / "config.yaml").write_text("operations: [{role: t2t, id: eliza}]\n", encoding="utf-8")
    async with running_server(home) as server, visitor(server.url, session="den") as ana:
        assert (await state(ana))["binding"] == "eliza"
        assert [content for _, content in await history(ana)] == ["Kept."]
