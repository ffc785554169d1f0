"""Starting: what is wrong is said in one sentence on standard error, with exit code 2; what can be done without is."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from e2e.conftest import QUICK, make_home
from e2e.promises import check_turn
from e2e.visitor import PATIENCE_S, end_of, text_of, visitor
from fakes.server_process import ServerProcess, running_server

SERVE = (sys.executable, "-m", "greenroom", "serve", "--port", "0")
HEAVY = {"openai", "numpy", "torch", "xllamacpp", "transformers", "scipy", "pandas"}
NOTING = """
import atexit, json, sys
atexit.register(lambda: print(json.dumps(sorted(sys.modules)), file=sys.stderr))
from greenroom.cli import main
sys.exit(main(sys.argv[1:]))
"""


def environment(**more: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GREENROOM_")}
    return {**clean, "PYTHONUNBUFFERED": "1", **more}


async def refused(home: Path, *arguments: str, **env: str) -> str:
    """The sentence with which a server does not start."""
    process = await asyncio.create_subprocess_exec(
        *(*SERVE, "--home", str(home), *arguments),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(**env),
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), PATIENCE_S)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    said = err.decode()
    assert process.returncode == 2, (process.returncode, said)
    assert out == b"" and "Traceback" not in said
    sentences = [line for line in said.splitlines() if line.startswith("greenroom: ")]
    assert len(sentences) == 1, said
    return said


async def answers(server: ServerProcess) -> None:
    async with visitor(server.url, session="den") as ana:
        check_turn(await ana.run("response", text="Hello."))


# What stops the start


async def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = await refused(tmp_path, "--port", str(port))
        assert str(port) in said and "in use" in said and "--port" in said


async def test_an_address_of_another_machine(tmp_path: Path) -> None:
    assert "192.0.2.1" in await refused(tmp_path, "--host", "192.0.2.1", "--insecure")


async def test_other_machines_without_a_token(tmp_path: Path) -> None:
    said = await refused(tmp_path, "--host", "0.0.0.0")
    assert "token" in said and "--insecure" in said


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        ("user_name: Ana\nsesion:\n  default: x\n", ["config.yaml", "2", "sesion", "session"]),
        ("server:\n  prot: 9601\n", ["config.yaml", "2", "prot", "port"]),
        ("server:\n  port: many\n", ["config.yaml", "2", "server.port", "whole number", "many"]),
        ("turn: {audio_lead_ms: -1}\n", ["config.yaml", "1", "audio_lead_ms", "0"]),
        ("operations: [{role: singer, id: x}]\n", ["config.yaml", "1", "role", "tts"]),
        ("server: [1\n", ["config.yaml"]),
        ("- a\n- b\n", ["config.yaml"]),
        ("user_name: 'caf\x00'\n", ["config.yaml"]),
    ],
)
async def test_a_bad_configuration(tmp_path: Path, config: str, wanted: list[str]) -> None:
    (tmp_path / "config.yaml").write_text(config, encoding="utf-8")
    said = await refused(tmp_path)
    for word in wanted:
        assert word in said, said


async def test_a_configuration_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_bytes(b"user_name: \xff\xfe\n")
    assert "config.yaml" in await refused(tmp_path)


async def test_no_such_configuration(tmp_path: Path) -> None:
    assert "mine.yaml" in await refused(tmp_path, "--config", str(tmp_path / "mine.yaml"))


async def test_a_bad_value_in_the_environment(tmp_path: Path) -> None:
    said = await refused(tmp_path, GREENROOM_TURN_CHUNK_MS="loud")
    assert "GREENROOM_TURN_CHUNK_MS" in said


async def test_a_token_that_is_not_set(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(
        "server: {tokens: [{name: bot, env: BOT_TOKEN, role: performer}]}\n", encoding="utf-8"
    )
    said = await refused(tmp_path)
    assert "bot" in said and "BOT_TOKEN" in said


async def test_a_home_that_is_a_file(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.write_text("", encoding="utf-8")
    assert str(home) in await refused(home)


@pytest.mark.parametrize("content", [b"this is no database, but long enough to be one " * 99, None])
async def test_a_database_that_cannot_be_read(tmp_path: Path, content: bytes | None) -> None:
    """It is left as it is: perhaps somebody can repair it."""
    database = tmp_path / "data" / "greenroom.db"
    database.parent.mkdir()
    if content is None:
        database.mkdir()
    else:
        database.write_bytes(content)
    assert "greenroom.db" in await refused(tmp_path)
    assert content is None or database.read_bytes() == content


async def test_a_data_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("", encoding="utf-8")
    assert "data" in await refused(tmp_path)


async def test_a_second_server_in_the_same_home(tmp_path: Path) -> None:
    async with running_server(make_home(tmp_path / "home", QUICK)) as server:
        assert await refused(server.home)
        await answers(server)


# What does not


async def test_an_empty_home_is_a_complete_one(tmp_path: Path) -> None:
    home = tmp_path / "not" / "there"
    process = await asyncio.create_subprocess_exec(
        *(*SERVE, "--home", str(home)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    assert process.stdout is not None
    try:
        ready = (await asyncio.wait_for(process.stdout.readline(), PATIENCE_S)).decode()
        url = ready.split(" at ")[1].strip()
        hint = (await process.stdout.readline()).decode()
        assert f"--url {url}" in hint and "greenroom say" in hint
        async with visitor(url, session="den") as ana:
            told = await ana.run("response", text="Hello, who are you?", include_audio=False)
            assert "Robin" in text_of(told)
    finally:
        process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.communicate(), PATIENCE_S)
    assert process.returncode == 0
    assert not (home / "config.yaml").exists()


async def test_what_nobody_asked_for_is_not_imported(tmp_path: Path) -> None:
    home = make_home(tmp_path / "home", QUICK)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", NOTING, "serve", "--port", "0", "--home", str(home)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    assert process.stdout is not None
    ready = (await asyncio.wait_for(process.stdout.readline(), PATIENCE_S)).decode()
    async with visitor(ready.split(" at ")[1].strip(), session="den") as ana:
        listed = (await ana.done("list_available_bindings"))["bindings"]
        assert {"openai", "llamacpp"} <= {binding["name"] for binding in listed}
        check_turn(await ana.run("response", text="Hello."))
    process.send_signal(signal.SIGTERM)
    _, err = await asyncio.wait_for(process.communicate(), PATIENCE_S)
    modules = set(json.loads(err.decode().splitlines()[-1]))
    assert "greenroom.app" in modules
    assert not HEAVY & modules


CARD = "name: x\nauthor: x\nversion: '1'\nroles: [t2t]\ndescription: x\n"
BROKEN_BINDINGS = {
    "bad_card": {"binding_card.yaml": "name: [\n", "binding.py": ""},
    "odd_card": {"binding_card.yaml": "name: odd\nroles: [singer]\n", "binding.py": ""},
    "no_code": {"binding_card.yaml": CARD},
    "bad_code": {
        "binding_card.yaml": CARD,
        "binding.py": "def broken(:\n",
    },
    "nothing": {"binding_card.yaml": CARD, "binding.py": ""},
    "missing": {
        "binding_card.yaml": f"{CARD}imports: [no_such_package]\n",
        "binding.py": "import no_such_package\n",
    },
}
NO_BINDINGS = {
    "no_card": {"binding.py": "BINDING = None\n"},
    ".git": {"HEAD": "ref\n", "binding_card.yaml": "name: x\n"},
}


def write(folder: Path, files: dict[str, str]) -> None:
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_text(content, encoding="utf-8")


async def test_broken_bindings_are_listed_and_harm_nobody(tmp_path: Path) -> None:
    home = make_home(tmp_path / "home", QUICK)
    for name, files in {**BROKEN_BINDINGS, **NO_BINDINGS}.items():
        write(home / "bindings" / name, files)
    (home / "bindings" / "a file.txt").write_text("", encoding="utf-8")
    async with running_server(home) as server, visitor(server.url, session="den") as ana:
        listed: dict[str, Any] = {
            binding["name"]: binding for binding in (await ana.done("list_available_bindings"))["bindings"]
        }
        for name in BROKEN_BINDINGS:
            assert listed[name]["status"] != "ready" and listed[name]["error"], listed[name]
            answer = await ana.refused("select_binding", binding_name=name)
            assert answer["code"] in ("unavailable", "binding_failed", "not_found", "bad_request"), answer
        assert listed["eliza"]["status"] == "ready"
        assert not {*NO_BINDINGS, "a file.txt"} & set(listed)
        check_turn(await ana.run("response", text="Hello."))


EXITS = """
import sys
from greenroom.bindings.roles import Binding, Engine, TextToText
from greenroom.values import Role, TextDelta

class Nothing(Engine):
    async def close(self):
        pass

class Exits(TextToText):
    @classmethod
    async def open_engine(cls, options, place):
        return Nothing()

    async def generate(self, prompt):
        yield TextDelta("So long. ")
        sys.exit(3)

BINDING = Binding({Role.T2T: Exits})
"""


@pytest.mark.parametrize("when", ["loaded", "used"])
async def test_a_binding_that_ends_its_program_ends_only_the_job(tmp_path: Path, when: str) -> None:
    """As scripts do where something is missing: ``sys.exit``."""
    home = make_home(tmp_path / "home", QUICK)
    code = EXITS if when == "used" else "import sys\nsys.exit(3)\n"
    write(home / "bindings" / "exits", {"binding_card.yaml": CARD, "binding.py": code})
    async with running_server(home) as server, visitor(server.url, session="den") as ana:
        answer = await ana.ask("select_binding", {"binding_name": "exits"})
        assert answer["success"] is (when == "used")
        if when == "used":
            assert end_of(await ana.run("response", text="Hello."))["error"]["code"] == "binding_failed"
            await ana.done("select_binding", binding_name="eliza")
        check_turn(await ana.run("response", text="Hello."))


async def test_broken_personalities_are_left_out_and_harm_nobody(tmp_path: Path) -> None:
    home = make_home(tmp_path / "home", QUICK)
    tests = home / "personalities" / "english" / "tests"
    write(tests / "no_yaml", {"config.yaml": "name: [\n"})
    write(tests / "a_list", {"config.yaml": "- a\n"})
    write(tests / "empty", {"config.yaml": ""})
    write(tests / "nothing", {})
    (tests / "folder" / "config.yaml").mkdir(parents=True)
    (tests / "bytes").mkdir()
    (tests / "bytes" / "config.yaml").write_bytes(b"\xff\xfe\x00")
    write(tests / "fine & well", {"config.yaml": "name: Fine\npersonality_conditioning: x\n"})
    async with running_server(home) as server, visitor(server.url, session="den") as ana:
        listed = (await ana.done("list_available_personalities"))["personalities"]
        assert "fine & well" in [info["folder"] for info in listed["english"]["tests"]]
        assert not {"no_yaml", "a_list", "nothing", "folder", "bytes"} & {
            info["folder"] for info in listed["english"]["tests"]
        }
        assert (await ana.refused("add_personality", path="english/tests/no_yaml"))["error"]
        await ana.done("add_personality", path="english/tests/fine & well")
        check_turn(await ana.run("response", text="Hello."))


async def test_a_character_that_is_gone(tmp_path: Path) -> None:
    home = make_home(tmp_path / "home", f"{QUICK}personalities: [english/tests/nobody, english/companions/robin]\n")
    async with running_server(home) as server, visitor(server.url, session="den") as ana:
        error = end_of(await ana.run("response", text="Hello."))["error"]
        assert error["code"] == "not_found" and "nobody" in error["reason"]
        await ana.done("activate_personality", id=1)
        check_turn(await ana.run("response", text="Hello."))
