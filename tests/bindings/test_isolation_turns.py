"""An isolated voice in a real turn, and a binding that somebody else serves."""

import asyncio
import os
import re
import signal
import sys
from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from e2e.promises import check_turn
from e2e.visitor import end_of, pcm_of, text_of, visitor
from fakes.isolation_rig import answer, asked, gone, isolated, reaped
from fakes.server_process import running_server
from greenroom.app import ServeOptions, open_greenroom, prepare
from greenroom.bindings.isolation.address import Address
from greenroom.bindings.isolation.children import ChildPeer
from greenroom.commandline.bind import reached
from greenroom.errors import BindingFailed, Unavailable
from greenroom.protocol import events
from greenroom.values import Role
from session.scene import Scene

ISOLATED = Path(__file__).parents[1] / "fakes" / "isolated"
TOKEN = "-".join(("a", "secret"))
SAY = "The lamp is lit. The door is open, and the kettle sings."


@dataclass(frozen=True)
class Turn:
    """What a client is told of a turn. How text and sound are cut into chunks is a matter of time, what is in them is
    not."""

    text: str
    sentences: list[str]
    pcm_bytes: int
    """espeak adds a little noise, which is never twice the same"""
    events: Counter[str]
    """how often each came, but for the chunks: whether they came"""


async def turn(home: Path, apart: set[str]) -> Turn:
    """The first one of a fresh server: a voice that has spoken before differs by some samples."""
    home.mkdir()
    modes = ", ".join(f"{name}: process" for name in sorted(apart))
    (home / "config.yaml").write_text(f"turn: {{audio_lead_ms: 0}}\nisolation: {{{modes}}}\n", encoding="utf-8")
    async with running_server(home) as server, visitor(server.url) as ana:
        told = await ana.run("response", text="Hello, who are you?")
        check_turn(told)
        assert end_of(told)["success"]
        assert set(re.findall(r"(\w+) runs in process", server.logged())) == apart
        counted = Counter(one.name for one in told)
        for name in ("text_chunk", "audio_chunk"):
            counted[name] = min(1, counted[name])
        sentences = [one.data["text"] for one in told if one.name == "sentence"]
        return Turn(text_of(told), sentences, len(pcm_of(told)), counted)


async def test_the_same_turn_as_in_this_process(tmp_path: Path) -> None:
    here = await turn(tmp_path / "here", set())
    assert here.text and here.pcm_bytes > 30_000 and here.events["text_chunk"] and here.events["audio_chunk"]
    for apart in ({"espeak"}, {"espeak", "eliza", "filter_clean"}):
        assert await turn(tmp_path / f"there-{len(apart)}", apart) == here


async def test_over_a_real_server(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "config.yaml").write_text("turn: {audio_lead_ms: 0}\nisolation: {espeak: process}\n", encoding="utf-8")
    async with running_server(home) as server, visitor(server.url) as ana:
        told = await ana.run("say", text=SAY)
        check_turn(told)
        assert text_of(told) == SAY
        assert end_of(told)["timing"]["audio_ms"] > 1000 and pcm_of(told)
        pid = int(re.findall(r"espeak runs in process (\d+)", server.logged())[-1])
        os.kill(pid, signal.SIGKILL)
        await reaped(pid)
        again = await ana.run("say", text=SAY)
        check_turn(again)
        assert end_of(again)["success"]
        pid = int(re.findall(r"espeak runs in process (\d+)", server.logged())[-1])
        await server.kill()
    await gone(pid)


async def test_a_job_that_a_crash_takes_down_fails_and_the_next_one_works(tmp_path: Path) -> None:
    config = "operations: [{role: t2t, id: apart}]\nturn: {audio_lead_ms: 0}\n"
    (tmp_path / "config.yaml").write_text(config, encoding="utf-8")
    (tmp_path / "bindings").symlink_to(ISOLATED, target_is_directory=True)
    async with open_greenroom(prepare(ServeOptions(home=tmp_path), {})) as greenroom:
        scene = Scene(greenroom, await greenroom.sessions.get("main"))
        job_id = await scene.job(
            "operation_use", role="t2t", payload={"messages": [{"type": "raw", "message": "hang"}]}
        )
        await scene.until(lambda told: any(isinstance(event, events.JobProgress) for event in told))
        peer = greenroom.isolation.peers()["apart"]
        assert isinstance(peer, ChildPeer) and peer.pid is not None
        os.kill(peer.pid, signal.SIGKILL)
        end = await scene.ended(job_id)
        assert end.error is not None and end.error["code"] == "binding_failed"
        assert "the process of apart was killed by signal 9" in end.error["reason"]
        end, told = await scene.run(
            "operation_use", role="t2t", payload={"messages": [{"type": "raw", "message": "say on"}]}
        )
        assert end.success
        assert any(isinstance(event, events.JobProgress) and event.result == {"content": "on "} for event in told)
        await greenroom.close()


# somebody else's


@asynccontextmanager
async def served(
    home: Path, *arguments: str, env: Mapping[str, str] | None = None
) -> AsyncGenerator[tuple[str, asyncio.subprocess.Process], None]:
    """``greenroom bind serve apart`` -> its address and process"""
    home.mkdir(exist_ok=True)
    (home / "bindings").symlink_to(ISOLATED, target_is_directory=True)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GREENROOM_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "greenroom", "bind", "serve", "apart", "--home", str(home), "--port", "0", *arguments),
        stdout=asyncio.subprocess.PIPE,
        env={**clean, **(env or {})},
        cwd=home,
    )
    assert process.stdout is not None
    try:
        told = ""
        while "is ready at" not in told:
            told = (await process.stdout.readline()).decode()
            assert told
        yield told.split("ready at ")[1].split(";")[0], process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def test_a_binding_that_runs_elsewhere(tmp_path: Path) -> None:
    async with served(tmp_path / "home", env={"GREENROOM_BIND_TOKEN": TOKEN}) as (address, process):
        modes = {"apart": address}
        async with isolated(modes, token=TOKEN) as rig:
            text = await rig.text()
            assert await answer(text, "pid") == str(process.pid)
            async with aclosing(text.generate(asked("hang"))) as deltas:
                await anext(deltas)
            await rig.heard("cancelled")
            hanging = text.generate(asked("hang"))
            await anext(hanging)
            process.kill()
            with pytest.raises(BindingFailed, match=f"the connection to apart at {address} was lost"):
                await anext(hanging)
            with pytest.raises(Unavailable, match="cannot be reached"):
                await answer(text, "say on")


async def test_elsewhere_is_told_to_go_on_and_to_end(tmp_path: Path) -> None:
    """Closing what uses it ends nothing but the engines; a signal ends it cleanly."""
    async with served(tmp_path / "home", "--token", TOKEN) as (address, process):
        for _ in range(2):
            async with isolated({"apart": address}, token=TOKEN) as rig:
                assert await answer(await rig.text(), "say on") == "on "
        async with isolated({"apart": address}, token=TOKEN[::-1]) as rig:
            with pytest.raises(BindingFailed, match="another token"):
                await rig.text()
        async with isolated({"eliza": address}, token=TOKEN) as rig:
            with pytest.raises(BindingFailed, match="does not serve eliza"):
                await rig.load(Role.T2T, "eliza")
        process.terminate()
        assert await process.wait() == 0


def test_what_to_configure_is_an_address_that_can_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    assert str(reached(Address(host="192.168.1.7", port=9610))) == "http://192.168.1.7:9610"
    monkeypatch.setattr("greenroom.commandline.bind.lan_addresses", lambda host: ["192.168.1.5"])
    assert str(reached(Address(host="0.0.0.0", port=9610))) == "http://192.168.1.5:9610"


async def test_beyond_this_machine_it_wants_a_token(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "greenroom", "bind", "serve", "eliza", "--home", str(tmp_path), "--host", "0.0.0.0"),
        stderr=asyncio.subprocess.PIPE,
        env={name: value for name, value in os.environ.items() if not name.startswith("GREENROOM_")},
    )
    _, told = await process.communicate()
    assert process.returncode == 1 and b"a token is needed" in told


async def test_nobody_is_there() -> None:
    async with isolated({"apart": "http://127.0.0.1:9"}) as rig:
        with pytest.raises(Unavailable, match=r"apart cannot be reached at http://127.0.0.1:9"):
            await rig.text()


async def test_what_is_there_is_something_else() -> None:
    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(other, "127.0.0.1", 0) as server:
        address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with isolated({"apart": address}) as rig:
            with pytest.raises(BindingFailed, match="is no binding of Greenroom"):
                await rig.text()
