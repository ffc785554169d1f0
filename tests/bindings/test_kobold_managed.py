"""The kobold binding with a KoboldCPP of its own: a real program, started, shared, watched and stopped."""

import asyncio
import importlib
import json
import socket
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest

from e2e.promises import check_turn
from e2e.visitor import end_of, pcm_of, text_of, visitor
from fakes.binding_rig import BINDINGS, Places, open_engines, open_operation
from fakes.kobold_server import TESTS, TOKENS, kobold_command
from fakes.server_process import running_server
from greenroom.bindings.discovery import BindingShelf
from greenroom.bindings.programs import Programs
from greenroom.errors import BindingFailed, Unavailable
from greenroom.values import Message, Prompt, Role, SpeechText, TextDelta

ANSWER = "".join(TOKENS)


class Waits:
    """Stands in for the wait before a restart and for the lingering; waits only while ``held``."""

    def __init__(self) -> None:
        self.free = asyncio.Event()
        self.free.set()

    async def __call__(self, seconds: float) -> None:
        await self.free.wait()
        await asyncio.sleep(0)


@pytest.fixture
def waits() -> Waits:
    return Waits()


@pytest.fixture
async def programs(waits: Waits) -> AsyncGenerator[Programs, None]:
    made = Programs(sleep=waits)
    yield made
    await made.close()


@pytest.fixture
def options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setenv("PYTHONPATH", TESTS)
    config = tmp_path / "my voice.kcpps"
    config.write_text("{}")
    return {"kobold_filepath": kobold_command(), "kcpps_filepath": str(config)}


def asks(text: str) -> Prompt:
    return Prompt(messages=(Message("user", text),))


async def answer(chat: Any, text: str = "Hello!") -> str:
    return "".join([item.text async for item in chat.generate(asks(text)) if isinstance(item, TextDelta)])


async def log_of(programs: Programs) -> dict[str, Any]:
    (status,) = programs.status()
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{status.port}/_log") as reply:
        found: dict[str, Any] = await reply.json()
        return found


async def test_all_roles_share_one_program_that_leaves_with_the_last(
    programs: Programs, waits: Waits, options: dict[str, Any]
) -> None:
    waits.free.clear()
    async with open_engines(Places(programs=lambda: programs)) as engines:
        chat, ear, voice = [await engines.load("kobold", role, options) for role in (Role.T2T, Role.STT, Role.TTS)]
        (status,) = programs.status()
        assert status.key.startswith("kobold:my voice-") and status.users == 1 and status.pid is not None
        assert await answer(chat.operation) == ANSWER
        log = await log_of(programs)
        assert (log["config"], log["pid"]) == (options["kcpps_filepath"], status.pid)
        assert [exchange["path"] for exchange in log["exchanges"]] == ["/v1/chat/completions"]
        await chat.release()
        await ear.release()
        assert psutil.pid_exists(status.pid)
        await voice.release()
    assert programs.status()[0].users == 0
    process = psutil.Process(status.pid)
    waits.free.set()
    await asyncio.to_thread(process.wait, 30)


async def test_a_crash_is_told_and_the_next_answer_comes_from_a_new_one(
    programs: Programs, options: dict[str, Any]
) -> None:
    async with open_operation("kobold", Role.T2T, options, Places(programs=lambda: programs)) as chat:
        assert await answer(chat) == ANSWER
        first = programs.status()[0].pid
        with pytest.raises(BindingFailed, match="broke off in the middle") as caught:
            await answer(chat, "fail:crash")
        assert "kobold:my voice" in caught.value.message and caught.value.retryable
        assert await answer(chat) == ANSWER
        assert programs.status()[0].pid not in (first, None) and programs.status()[0].restarts == 1


async def test_one_that_was_stopped_is_started_again(programs: Programs, options: dict[str, Any]) -> None:
    async with open_operation("kobold", Role.T2T, options, Places(programs=lambda: programs)) as chat:
        assert await answer(chat) == ANSWER
        assert await programs.stop(programs.status()[0].key)
        assert await answer(chat) == ANSWER


async def test_without_a_settings_file(programs: Programs, options: dict[str, Any]) -> None:
    options["kcpps_filepath"] = None
    async with open_operation("kobold", Role.T2T, options, Places(programs=lambda: programs)) as chat:
        assert await answer(chat) == ANSWER
    assert programs.status()[0].key.startswith("kobold:program-")


async def test_one_that_does_not_come_up_says_why(programs: Programs, options: dict[str, Any]) -> None:
    Path(options["kcpps_filepath"]).write_text(json.dumps({"broken": True}))
    with pytest.raises(BindingFailed, match=r"(?s)ended with exit code 2.*Unknown model architecture"):
        async with open_operation("kobold", Role.T2T, options, Places(programs=lambda: programs)):
            pass


async def test_what_the_settings_file_decides_is_known_here(programs: Programs, options: dict[str, Any]) -> None:
    """KoboldCPP listens at the port that was chosen in its launcher, whatever it is told, and wants the password."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    Path(options["kcpps_filepath"]).write_text(json.dumps({"port_param": port, "password": " sesame "}))
    async with open_operation("kobold", Role.T2T, options, Places(programs=lambda: programs)) as chat:
        assert await answer(chat) == ANSWER
        assert programs.status()[0].port == port


@pytest.mark.parametrize(
    "settings", [{"port_param": 5001}, {"port_param": None, "password": None}, {"port_param": "x"}]
)
def test_a_port_that_nobody_chose_is_a_free_one(options: dict[str, Any], settings: dict[str, Any]) -> None:
    found = read_settings_of(options, settings)
    assert (found.port, found.password) == (None, None)


def kobold_package() -> str:
    return BindingShelf((BINDINGS,)).get("kobold").operation(Role.T2T).__module__.rpartition(".")[0]


def test_paths_may_count_from_the_home_folder(tmp_path: Path) -> None:
    """As in a configuration of jaison's, which is read wherever the server is started."""
    folder = tmp_path / "home" / "models" / "kobold"
    folder.mkdir(parents=True)
    for name, text in (("koboldcpp.exe", ""), ("my.kcpps", "{}")):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    program_of = importlib.import_module(f"{kobold_package()}.server").program_of
    place = Places(models=folder.parent).place(BindingShelf((BINDINGS,)).get("kobold"))
    found, _ = program_of("models/kobold/koboldcpp.exe", "models/kobold/my.kcpps", place)
    assert found.command[0] == str(folder / "koboldcpp.exe") and str(folder / "my.kcpps") in found.command
    line = f'"{sys.executable}" models/kobold/koboldcpp.exe'
    found, _ = program_of(line, None, place)
    assert found.command[:2] == (sys.executable, "models/kobold/koboldcpp.exe")


def read_settings_of(options: dict[str, Any], settings: Any) -> Any:
    path = Path(options["kcpps_filepath"])
    path.write_text(settings if isinstance(settings, str) else json.dumps(settings))
    return importlib.import_module(f"{kobold_package()}.settings_file").read_settings(path)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [({"ssl": ["cert.pem", "key.pem"]}, "take ssl out"), ([1], "holds no settings"), ("{", "cannot be read")],
)
async def test_settings_files_that_are_of_no_use(
    programs: Programs, options: dict[str, Any], settings: Any, sentence: str
) -> None:
    Path(options["kcpps_filepath"]).write_text(settings if isinstance(settings, str) else json.dumps(settings))
    with pytest.raises(Unavailable, match=sentence):
        async with open_operation("kobold", Role.T2T, options, Places(programs=lambda: programs)):
            raise AssertionError


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"kobold_filepath": "no-such-koboldcpp"}, "no program no-such-koboldcpp; get KoboldCPP from https://"),
        ({"kcpps_filepath": "no-such.kcpps"}, "there is no file no-such.kcpps"),
    ],
)
async def test_what_is_not_there(
    programs: Programs, options: dict[str, Any], change: dict[str, str], sentence: str
) -> None:
    with pytest.raises(Unavailable, match=sentence):
        async with open_operation("kobold", Role.T2T, options | change, Places(programs=lambda: programs)):
            pass
    assert not programs.status()


async def test_where_no_program_can_be_started(options: dict[str, Any]) -> None:
    with pytest.raises(Unavailable, match="no external program"):
        async with open_operation("kobold", Role.TTS, options):
            pass


async def test_speech_comes_from_it_too(programs: Programs, options: dict[str, Any]) -> None:
    async def one() -> AsyncGenerator[SpeechText, None]:
        yield SpeechText("Hello there.")

    async with open_operation("kobold", Role.TTS, options, Places(programs=lambda: programs)) as voice:
        assert sum(sound.duration_ms for sound in [one async for one in voice.speak(one())]) > 500
        assert [voice.id for voice in await voice.voices()] == ["kobo", "cheery", "sleepy"]


async def test_a_whole_turn_over_a_real_server(tmp_path: Path, options: dict[str, Any]) -> None:
    home = tmp_path / "home"
    home.mkdir()
    config = {
        "operations": [{"role": "t2t", "id": "kobold"}, {"role": "tts", "id": "kobold"}],
        "bindings": {"kobold": options},
        "turn": {"audio_lead_ms": 0},
    }
    (home / "config.yaml").write_text(json.dumps(config), encoding="utf-8")
    async with running_server(home) as server, visitor(server.url) as ana:
        told = await ana.run("response", text="Hello!")
        check_turn(told)
        assert text_of(told) == ANSWER and pcm_of(told) and end_of(told)["timing"]["audio_ms"] > 500
        programs = [child for child in psutil.Process(server.pid).children(True) if "kobold" in str(child.cmdline())]
        assert programs
        assert await server.stop() == 0
        await asyncio.to_thread(psutil.wait_procs, programs, 30)
        assert not any(program.is_running() for program in programs)
