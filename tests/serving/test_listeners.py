"""What is behind each address, and how others reach it."""

import socket
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from greenroom.config.network import Address
from greenroom.config.schema import Config
from greenroom.serving.certificate import Certificate, lan_addresses
from greenroom.serving.listeners import Listener, bound, planned
from greenroom.serving.ready import ready_lines


class TwoNetworks:
    """A socket of a machine that others reach by either protocol."""

    def __init__(self, family: int, kind: int) -> None:
        self._own = "fd00::5" if family == socket.AF_INET6 else "192.168.1.5"

    def __enter__(self) -> "TwoNetworks":
        return self

    def __exit__(self, *error: object) -> None: ...

    def connect(self, address: object) -> None: ...

    def getsockname(self) -> tuple[str, int]:
        return self._own, 9


@contextmanager
def two_networks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setattr("greenroom.serving.certificate.socket.socket", TwoNetworks)
        yield


@pytest.mark.parametrize(
    ("bound_to", "reached"),
    [
        ("0.0.0.0", ["192.168.1.5"]),
        ("::", ["192.168.1.5", "fd00::5"]),
        ("192.168.1.7", ["192.168.1.7"]),
    ],
)
def test_a_socket_is_reached_where_it_listens(
    monkeypatch: pytest.MonkeyPatch, bound_to: str, reached: list[str]
) -> None:
    with two_networks(monkeypatch):
        assert lan_addresses(bound_to) == reached


def test_a_phone_is_told_only_what_it_can_open(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cert = tmp_path / "cert.pem"
    cert.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    with socket.create_server(("0.0.0.0", 0)) as bound:
        port = bound.getsockname()[1]
        place = Address("0.0.0.0", port)
        pages, other = (Listener(place, doors, True, "test") for doors in (("socketio", "web"), ("jaison",)))
        with two_networks(monkeypatch):
            lines = ready_lines([other, pages], [bound, bound], Certificate(cert, cert, own=True))
            without = ready_lines([other], [bound], Certificate(cert, cert, own=True))
    assert f"  phone open https://192.168.1.5:{port}" in lines
    assert not any(line.startswith("  phone") for line in without)


def test_https_is_for_what_leaves_this_machine() -> None:
    listen: list[dict[str, Any]] = [
        {"address": "127.0.0.1:0"},
        {"address": "127.0.0.1:1", "tls": False},
        {"address": "unix:/run/greenroom.sock"},
        {"address": "unix:/run/other.sock", "tls": True},
        {"address": "tcp://127.0.0.1:2"},
    ]
    config = Config.model_validate({"server": {"tls": "auto"}, "listen": listen})
    assert [one.tls for one in planned(config)] == [True, False, False, True, False]


@pytest.mark.parametrize(("open_to", "mode"), [("user", 0o600), ("group", 0o660), ("all", 0o666)])
def test_a_unix_socket_is_open_to_whom_it_says(open_to: str, mode: int) -> None:
    listen = [{"address": "unix:/run/greenroom.sock", "open_to": open_to}]
    (listener,) = planned(Config.model_validate({"listen": listen}))
    assert listener.mode == mode
    if not hasattr(socket, "AF_UNIX") or sys.platform == "win32":
        return
    with tempfile.TemporaryDirectory() as folder:  # a short path, as they must be
        place = Address(path=str(Path(folder) / "s"))
        with bound([Listener(place, ("web",), False, "test", mode)]):
            assert stat.S_IMODE(Path(place.path).stat().st_mode) == mode
        assert not Path(place.path).exists()


def test_only_a_unix_socket_is_open_to_somebody() -> None:
    with pytest.raises(ValidationError, match="Unix sockets alone"):
        Config.model_validate({"listen": [{"address": "127.0.0.1:0", "open_to": "all"}]})
