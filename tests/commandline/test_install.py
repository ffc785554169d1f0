import asyncio
import signal
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest

from fakes.toy_packages import make_binding, make_source, make_wheel, offline, toy_door
from greenroom.bindings.installing.progress import Phase, Progress
from greenroom.cli import main
from greenroom.commandline.bars import shown
from greenroom.commandline.console import Console

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With a folder of packages for all that is installed."""
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "config.yaml").write_text("operations: []\n", encoding="utf-8")
    make_wheel(tmp_path / "wheels", "toy", "1.0")
    for name, value in offline(tmp_path / "wheels").items():
        monkeypatch.setenv(name, value)
    return folder


def words(capsys: Captured) -> str:
    said = capsys.readouterr()
    return " ".join((said.out + said.err).replace("│", " ").split())


def test_from_nothing_to_installed_and_back(home: Path, capsys: Captured) -> None:
    make_binding(home, "parrot", "toy\n", imports=("toy",))
    assert main(["install", "parrot", "--check"]) == 1
    assert "not built; build it with: greenroom install parrot" in words(capsys)
    main(["doctor"])
    assert "environment of parrot note its environment is not built" in words(capsys)

    assert main(["install", "parrot"]) == 0
    told = words(capsys)
    assert "parrot: 0% making the environment" in told and "parrot: 100%" in told
    assert main(["install", "parrot"]) == 0
    assert main(["install", "parrot", "--check"]) == 0
    assert "packages" in words(capsys)
    main(["doctor"])
    assert "environment of parrot ok" in words(capsys)

    assert main(["uninstall", "parrot"]) == 0
    assert "its environment is removed" in words(capsys)
    assert main(["uninstall", "parrot"]) == 0
    assert "nothing to remove" in words(capsys)
    assert main(["install", "parrot", "--check"]) == 1


def test_one_of_two_fails_and_the_other_is_installed(home: Path, capsys: Captured) -> None:
    make_binding(home, "crow", "toy==7\n")
    make_binding(home, "parrot", "toy\n")
    assert main(["install", "crow", "parrot"]) == 1
    told = words(capsys)
    assert "greenroom: crow could not be installed" in told and "toy==7" in told and "What to do:" in told
    assert "parrot: 100%" in told
    assert main(["install", "parrot", "--check"]) == 0


def test_a_binding_that_needs_nothing(home: Path, capsys: Captured) -> None:
    assert main(["install", "eliza"]) == 0
    assert "eliza needs no packages of its own" in words(capsys)
    assert main(["install", "eliza", "--check"]) == 0
    assert not list(home.glob("environments/eliza*"))


def test_a_binding_that_runs_inside_the_server_and_lacks_something(home: Path, capsys: Captured) -> None:
    folder = make_binding(home, "parrot", "", imports=("no_such_module",))
    (folder / "binding.py").write_text("")
    assert main(["install", "parrot"]) == 1
    assert "parrot needs no_such_module; install with: pip install no_such_module" in words(capsys)


@pytest.mark.parametrize("command", ["install", "uninstall"])
@pytest.mark.parametrize("name", ["penguin", "../eliza", ""])
def test_a_name_that_is_none(home: Path, command: str, name: str, capsys: Captured) -> None:
    assert main([command, name]) == 1
    assert "there is no binding" in words(capsys)
    assert not (home / "environments").exists()


def test_the_environment_of_a_binding_that_is_gone(home: Path, capsys: Captured) -> None:
    (home / "environments" / "dodo-0123456789ab").mkdir(parents=True)
    assert main(["uninstall", "dodo"]) == 0
    assert not (home / "environments" / "dodo-0123456789ab").exists()


async def test_ctrl_c(home: Path, tmp_path: Path) -> None:
    make_source(tmp_path / "wheels")
    make_binding(home, "parrot", "slow-toy\n")
    async with toy_door() as door, asyncio.timeout(60):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "greenroom", "install", "parrot", "--home", str(home)),
            env=offline(tmp_path / "wheels", **door.variables()),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        await door.knocked.wait()
        process.send_signal(signal.SIGINT)
        _, said = await process.communicate()
        await door.left.wait()
    assert process.returncode == 130
    assert "interrupted; nothing of it is used" in said.decode()
    assert "Traceback" not in said.decode()
    assert not list((home / "environments").glob("parrot-*"))


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "160")
    screen = Terminal()
    with shown("parrot", Console(screen, screen)) as report:
        report(Progress(Phase.DOWNLOADING, "downloading [toy]", 42.0, 21_000_000, 50_000_000, 3_200_000))
    text = screen.getvalue()
    assert "parrot" in text and "42%" in text
    assert "21.0 MB of 50.0 MB, 3.2 MB/s" in text and "downloading [toy]" in text
