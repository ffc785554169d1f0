import socket
import subprocess
import sys

import pytest

from greenroom import __version__, app
from greenroom.cli import main


def free_url() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["say", "--help"], ["chat", "-h"], ["list", "--help"]])
def test_help(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 0
    assert "Usage: greenroom" in capsys.readouterr().out


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--help"])
    shown = capsys.readouterr().out
    assert all(command in shown for command in ("serve", "say", "chat", "doctor", "list"))


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"greenroom {__version__}\n"


@pytest.mark.parametrize("arguments", [["sing"], ["list", "songs"], ["serve", "--port", "x"], ["say", "--loud"]])
def test_what_is_no_command_is_said(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_starting_loads_nothing_heavy() -> None:
    heavy = ("rich", "aiohttp", "socketio", "pydantic", "sqlalchemy", "uvicorn", "yaml", "asyncio")
    code = f"import sys, greenroom.cli; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_module_can_be_run() -> None:
    done = subprocess.run([sys.executable, "-m", "greenroom", "-V"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"greenroom {__version__}"


def test_serve_passes_on_what_it_was_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[app.ServeOptions] = []

    def run(options: app.ServeOptions) -> int:
        told.append(options)
        return 3

    monkeypatch.setattr(app, "run", run)
    assert main(["serve"]) == 3
    assert main(["serve", "--host", "0.0.0.0", "--port", "0", "--log-level", "DEBUG", "--insecure"]) == 3
    nothing, something = told
    assert (nothing.host, nothing.port, nothing.home, nothing.token) == (None, None, None, None)
    assert (something.host, something.port, something.log_level, something.insecure) == ("0.0.0.0", 0, "DEBUG", True)


@pytest.mark.parametrize(
    "arguments", [["say", "hello"], ["chat"], ["list", "bindings"], ["list", "models"], ["list", "personalities"]]
)
def test_without_a_server_the_sentence_says_how_to_start_one(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    url = free_url()
    assert main([*arguments, "--url", url]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"greenroom: no Greenroom answers at {url}; start it with: greenroom serve"
    )


def test_an_address_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chat", "--url", "ftp://somewhere"]) == 1
    assert "http://127.0.0.1:9601" in capsys.readouterr().err
