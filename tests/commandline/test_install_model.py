"""``greenroom install model`` and kin, in this process and in one that is killed."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from fakes.download_server import Cut, DownloadServer, Hold, Status, sha256, threaded_download_server
from fakes.mini_server import ThreadedServer
from greenroom.cli import main

Captured = pytest.CaptureFixture[str]
DATA = bytes(range(256)) * 4000


@pytest.fixture
def files() -> Iterator[DownloadServer]:
    with threaded_download_server() as running:
        yield running


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "config.yaml").write_text("operations: []\n", encoding="utf-8")
    return folder


def make_parrot(home: Path, server: DownloadServer, *names: str) -> None:
    folder = home / "bindings" / "parrot"
    folder.mkdir(parents=True)
    (folder / "binding_card.yaml").write_text("name: Parrot\nroles: [tts]\n", encoding="utf-8")
    entries: list[dict[str, Any]] = [
        {
            "name": name,
            "license": "MIT",
            "languages": ["en-US"],
            "description": f"the voice {name}",
            "files": [
                {
                    "path": f"{name}.onnx",
                    "url": server.put(f"{name}.onnx", DATA),
                    "size": len(DATA),
                    "sha256": sha256(DATA),
                }
            ],
        }
        for name in names
    ]
    entries.append({"name": "broken", "hub": "x"})
    (folder / "models.yaml").write_text(yaml.safe_dump(entries), encoding="utf-8")


def words(capsys: Captured) -> str:
    said = capsys.readouterr()
    return " ".join((said.out + said.err).split())


def listed(capsys: Captured, *more: str) -> dict[str, dict[str, Any]]:
    assert main(["list", "models", "parrot", "--json", *more]) == 0
    return {row["name"]: row for row in json.loads(capsys.readouterr().out)}


def test_from_nothing_to_installed_and_back(home: Path, files: DownloadServer, capsys: Captured) -> None:
    make_parrot(home, files, "amy", "ben")
    assert listed(capsys)["amy"] == {
        "binding": "parrot",
        "name": "amy",
        "installed": False,
        "size": len(DATA),
        "license": "MIT",
        "languages": ["en-US"],
        "roles": [],
        "description": "the voice amy",
    }
    assert main(["install", "model", "parrot", "amy", "--check"]) == 1
    assert "it is not installed; install it with: greenroom install model parrot amy" in words(capsys)
    assert main(["install", "model", "parrot", "amy", "ben"]) == 0
    told = words(capsys)
    assert "amy: 0%" in told and "amy: 100% 1 file, 1.0 MB" in told and "ben: 100%" in told
    assert main(["install", "model", "parrot", "amy", "--check"]) == 0
    assert "amy: all of it is here and sound" in words(capsys)
    assert main(["install", "model", "parrot", "amy"]) == 0
    assert len(files.asked("amy.onnx")) == 1
    capsys.readouterr()
    assert listed(capsys)["amy"]["installed"] is True

    assert main(["uninstall", "model", "parrot", "amy"]) == 0
    assert "amy: it is removed" in words(capsys)
    assert main(["uninstall", "model", "parrot", "amy"]) == 0
    assert "nothing to remove" in words(capsys)
    shown = listed(capsys)
    assert (shown["amy"]["installed"], shown["ben"]["installed"]) == (False, True)
    assert "hub: wanted owner/name" in shown["broken"]["description"]
    main(["list", "models", "parrot"])
    assert "1.0 MB" in words(capsys)


def test_one_of_two_fails_and_the_other_is_installed(home: Path, files: DownloadServer, capsys: Captured) -> None:
    make_parrot(home, files, "amy", "ben")
    files.faults("amy.onnx", Status(404))
    assert main(["install", "models", "parrot", "amy", "ben"]) == 1
    told = words(capsys)
    assert "has no such file: it was moved or removed" in told and "ben: 100%" in told
    assert (home / "models" / "parrot" / "ben.onnx").read_bytes() == DATA


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "wanted a binding and the names of its models"),
        (["penguin", "x"], "there is no binding 'penguin'"),
        (["parrot"], "wanted the names of models of parrot: choose of: amy, ben"),
        (["parrot", "any"], "parrot has no model 'any'; did you mean amy?"),
        (["parrot", "amy", "../x"], "parrot has no model '../x'"),
        (["parrot", "broken"], "hub: wanted owner/name"),
        (["eliza"], "it has none to install"),
    ],
)
@pytest.mark.parametrize("command", ["install", "uninstall"])
def test_what_cannot_be_meant(
    home: Path, files: DownloadServer, command: str, arguments: list[str], said: str, capsys: Captured
) -> None:
    make_parrot(home, files, "amy", "ben")
    assert main([command, "model", *arguments]) == 1
    assert said in words(capsys)
    assert files.requests == []


def command(home: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "greenroom", "install", "model", "parrot", "amy", "--home", str(home), *more]


def part_of(home: Path) -> Path:
    (part,) = home.glob("models/parrot/.downloads/*/*.part")
    return part


async def begin(home: Path) -> asyncio.subprocess.Process:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GREENROOM_")}
    return await asyncio.create_subprocess_exec(
        *command(home), env={**clean, "PYTHONUNBUFFERED": "1"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


async def test_killed_midway_and_taken_up(home: Path, capsys: Captured) -> None:
    async with DownloadServer() as server, asyncio.timeout(60):
        make_parrot(home, server, "amy")
        # The first half comes, and is written when the connection is cut; then nothing comes any more.
        server.faults("amy.onnx", Cut(len(DATA) // 2), Hold(0))
        process = await begin(home)
        await server.held.wait()
        process.kill()
        await process.communicate()
        await server.left.wait()
        assert part_of(home).read_bytes() == DATA[: len(DATA) // 2]
        assert not (home / "models" / "parrot" / "amy.onnx").exists()
        again = await begin(home)
        said, _ = await again.communicate()
        assert again.returncode == 0
        assert server.asked("amy.onnx")[-1].headers["range"] == f"bytes={len(DATA) // 2}-"
        assert "100%  1 file" in said.decode()
    assert (home / "models" / "parrot" / "amy.onnx").read_bytes() == DATA
    assert not list(home.glob("models/parrot/.downloads/*/*"))


async def test_ctrl_c_keeps_what_has_come(home: Path) -> None:
    async with DownloadServer() as server, asyncio.timeout(60):
        make_parrot(home, server, "amy")
        server.faults("amy.onnx", Cut(len(DATA) // 2), Hold(0))
        process = await begin(home)
        await server.held.wait()
        process.send_signal(signal.SIGINT)
        _, said = await process.communicate()
        await server.left.wait()
    assert process.returncode == 130
    assert "interrupted; what has come is kept, run it again and it goes on from there" in said.decode()
    assert "Traceback" not in said.decode()
    assert part_of(home).stat().st_size == len(DATA) // 2


async def test_a_disk_that_takes_no_more(home: Path) -> None:
    async with DownloadServer() as server, asyncio.timeout(60):
        make_parrot(home, server, "amy")
        code = (
            "import resource, sys; from greenroom.cli import main; "
            "resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000)); sys.exit(main(sys.argv[1:]))"
        )
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", code, *command(home)[3:]), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        _, said = await process.communicate()
        assert process.returncode == 1
        assert "there is no room left in" in said.decode() and "Traceback" not in said.decode()
        assert part_of(home).read_bytes() == DATA[:300_000]
        again = await begin(home)
        await again.communicate()
        assert again.returncode == 0
        assert server.asked("amy.onnx")[-1].headers["range"] == "bytes=300000-"


def test_voices_and_models_of_a_server(server: ThreadedServer, capsys: Captured) -> None:
    assert main(["list", "voices", "--url", server.url, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [
        {"binding": "fake", "voice": "amy", "language": "en-US", "name": "Amy", "gender": "female"}
    ]
    assert main(["list", "voices", "--url", server.url]) == 0
    assert "Amy" in words(capsys)


def test_voices_of_one_binding(capsys: Captured) -> None:
    assert main(["list", "voices", "espeak", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {row["binding"] for row in found} == {"espeak"} and len(found) > 50
