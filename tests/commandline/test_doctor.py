import socket
import sqlite3
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from fakes.mini_server import GOOD_TOKEN, ThreadedServer, threaded_server
from fakes.sound_device import SoundDevice
from greenroom.cli import main

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        configure(folder, free.getsockname()[1])
    return folder


def configure(folder: Path, port: int, operations: str = "[{role: t2t, id: eliza}, {role: tts, id: espeak}]") -> None:
    (folder / "config.yaml").write_text(f"server:\n  port: {port}\noperations: {operations}\n", encoding="utf-8")


def port_of(server: ThreadedServer) -> int:
    return int(server.url.rsplit(":", 1)[1])


def words(capsys: Captured) -> str:
    """What it said, however the table broke the lines."""
    return " ".join("".join(letter if letter not in "│┃" else " " for letter in capsys.readouterr().out).split())


def test_a_sound_machine(home: Path, capsys: Captured) -> None:
    assert main(["doctor"]) == 0
    told = words(capsys)
    assert "not running" in told
    assert "start it with: greenroom serve" in told
    assert "in use: t2t" in told
    assert "is made with the first conversation" in told
    assert "FAILED" not in told


def test_a_sound_device(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", SoundDevice())
    assert main(["doctor"]) == 0
    assert "sound comes from test output" in words(capsys)


def test_a_running_server(home: Path, server: ThreadedServer, capsys: Captured) -> None:
    configure(home, port_of(server))
    assert main(["doctor"]) == 0
    assert "mini 0 answers at" in words(capsys)


def test_a_running_server_that_wants_a_token(home: Path, capsys: Captured) -> None:
    with threaded_server(token=GOOD_TOKEN) as server:
        configure(home, port_of(server))
        assert main(["doctor"]) == 0
        assert "wants a token" in words(capsys)
        assert main(["doctor", "--token", GOOD_TOKEN]) == 0
        assert "mini 0 answers" in words(capsys)


def test_a_port_that_another_program_has(home: Path, capsys: Captured) -> None:
    class Quiet(BaseHTTPRequestHandler):
        def log_message(self, *_arguments: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Quiet) as other:
        thread = threading.Thread(target=other.serve_forever)
        thread.start()
        configure(home, other.server_port)
        code = main(["doctor"])
        other.shutdown()
        thread.join()
    assert code == 1
    assert "the port is taken" in words(capsys)


def test_a_bad_configuration(home: Path, capsys: Captured) -> None:
    (home / "config.yaml").write_text("server:\n  prot: 9601\n", encoding="utf-8")
    assert main(["doctor"]) == 1
    told = words(capsys)
    assert "line 2" in told
    assert "did you mean server.port?" in told


def test_a_backend_that_is_not_there(home: Path, capsys: Captured) -> None:
    configure(home, 0, "[{role: t2t, id: parrot}]")
    assert main(["doctor"]) == 1
    assert "binding parrot" in words(capsys)


def test_a_backend_that_does_not_load_matters_only_if_it_is_used(home: Path, capsys: Captured) -> None:
    folder = home / "bindings" / "parrot"
    folder.mkdir(parents=True)
    (folder / "binding_card.yaml").write_text("name: Parrot\nroles: [t2t]\n", encoding="utf-8")
    (folder / "binding.py").write_text("raise RuntimeError('no crackers')\n", encoding="utf-8")
    assert main(["doctor"]) == 0
    capsys.readouterr()
    configure(home, 0, "[{role: t2t, id: parrot}]")
    assert main(["doctor"]) == 1
    assert "no crackers" in words(capsys)


def test_a_damaged_database(home: Path, capsys: Captured) -> None:
    (home / "data").mkdir()
    (home / "data" / "greenroom.db").write_bytes(b"this was a database once, before the storm" * 100)
    assert main(["doctor"]) == 1
    assert "is damaged" in words(capsys)


def test_a_healthy_database(home: Path, capsys: Captured) -> None:
    (home / "data").mkdir()
    connection = sqlite3.connect(home / "data" / "greenroom.db")
    connection.execute("CREATE TABLE lines (id INTEGER)")
    connection.close()
    assert main(["doctor"]) == 0
    assert "1 tables" in words(capsys)


def test_a_home_that_is_a_file(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "file").write_text("")
    assert main(["doctor", "--home", str(tmp_path / "file")]) == 1
    assert "is a file" in capsys.readouterr().err
