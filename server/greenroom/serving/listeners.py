"""Which addresses are listened on, and what is behind each.

listen: [{address: "0.0.0.0:7272", doors: [jaison]}, {address: "tcp://127.0.0.1:10200"}]  ->  Listener, ...
(no list) server.host, server.port                                                        ->  one Listener
"""

import contextlib
import os
import socket
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from greenroom.config.network import HTTP_DOORS, Address, ListenEntry
from greenroom.config.schema import Config
from greenroom.doors.safety import Guard, Token, is_loopback
from greenroom.errors import BadRequest, Unavailable

WYOMING = "wyoming"
_MODES: Final[Mapping[str, int]] = {"user": 0o600, "group": 0o660, "all": 0o666}
_IN_USE = {98, 48, 10048}
"""EADDRINUSE on Linux, macOS and Windows"""


@dataclass(frozen=True, slots=True)
class Listener:
    """One address, and what the configuration calls it."""

    place: Address
    doors: tuple[str, ...]
    tls: bool
    label: str
    mode: int | None = None
    """of a Unix socket's file; ``None``: by the umask"""

    @property
    def is_wyoming(self) -> bool:
        return self.doors == (WYOMING,)


def planned(config: Config, wyoming: str | None = None) -> tuple[Listener, ...]:
    """What ``listen`` says, else ``server.host`` and ``server.port``; ``wyoming`` comes on top.

    :raises BadRequest: ``wyoming`` is no address.
    """
    secure = config.server.tls != "off"
    found = [_listener(entry, secure) for entry in config.listen]
    if not found:
        own = Address(config.server.host, config.server.port)
        found.append(Listener(own, HTTP_DOORS, secure, "server.host"))
    if wyoming is not None:
        try:
            place = Address.parse(wyoming if "://" in wyoming or wyoming.startswith("unix:") else f"tcp://{wyoming}")
        except ValueError:
            raise BadRequest(f"--wyoming: {wyoming!r} is no address; one looks like tcp://127.0.0.1:10200") from None
        found.append(Listener(place, (WYOMING,), False, "--wyoming"))
    return tuple(found)


def _listener(entry: ListenEntry, secure: bool) -> Listener:
    doors = entry.open_doors
    place = entry.place
    # What comes through a Unix socket never leaves this machine, and the proxy behind it asks in plain HTTP.
    unsaid = secure and not place.path
    tls = False if doors == (WYOMING,) else unsaid if entry.tls is None else entry.tls
    mode = None if entry.open_to is None else _MODES[entry.open_to]
    return Listener(place, doors, tls, f"listen: {entry.address}", mode)


def guard_of(config: Config, listeners: Iterable[Listener], tokens: Iterable[Token]) -> Guard:
    """One for all addresses. :raises BadRequest: naming the address that is not safe as it is."""
    server = config.server
    tokens = tuple(tokens)
    hosts: list[str] = []
    for listener in listeners:
        if listener.place.path:
            continue
        host = listener.place.host
        if listener.is_wyoming:
            _check_wyoming(config, listener)
            continue
        try:
            Guard(host=host, tokens=tokens, insecure=server.insecure)
        except BadRequest as error:
            prefix = f"{listener.label}: " if config.listen else ""
            raise BadRequest(f"{prefix}{error.message}") from None
        hosts.append(host)
    return Guard(
        host=hosts[0] if hosts else "127.0.0.1",
        further=hosts[1:],
        tokens=tokens,
        allowed_hosts=server.allowed_hosts,
        allowed_origins=server.allowed_origins,
        insecure=server.insecure,
    )


def _check_wyoming(config: Config, listener: Listener) -> None:
    if is_loopback(listener.place.host) or config.server.insecure or config.wyoming.networks:
        return
    raise BadRequest(
        f"{listener.label}: the Wyoming protocol has no tokens, and {listener.place.host} lets other machines in: "
        "say in wyoming.networks which (192.168.1.0/24), or start with --insecure to let in all of them"
    )


@contextmanager
def bound(listeners: Iterable[Listener]) -> Iterator[list[socket.socket]]:
    """A bound socket for each, closed at the end. :raises Unavailable: saying which is in the way of what."""
    with contextlib.ExitStack() as stack:
        sockets = []
        for listener in listeners:
            try:
                sockets.append(stack.enter_context(_bound(listener.place, listener.mode)))
            except Unavailable as error:
                prefix = "" if listener.label == "server.host" else f"{listener.label}: "
                raise Unavailable(f"{prefix}{error.message}") from error
        yield sockets


@contextmanager
def _bound(place: Address, mode: int | None) -> Iterator[socket.socket]:
    made = listen_unix(place.path, mode) if place.path else listen(place.host, place.port)
    try:
        yield made
    finally:
        made.close()
        if place.path:
            Path(place.path).unlink(missing_ok=True)


def listen(host: str, port: int) -> socket.socket:
    """A bound socket. :raises Unavailable: saying what is in the way."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise Unavailable(f"{host} is no address of this machine: {error.strerror or error}") from error
    made = socket.socket(family, kind, protocol)
    if sys.platform != "win32":
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind(address)
        made.listen(2048)
    except OSError as error:
        made.close()
        reason = "it is in use, perhaps by another Greenroom" if error.errno in _IN_USE else error.strerror or error
        raise Unavailable(f"port {port} on {host} cannot be opened: {reason}; choose another with --port") from error
    made.setblocking(False)
    return made


def listen_unix(path: str, mode: int | None = None) -> socket.socket:
    """A bound Unix socket; one that a killed server left behind is replaced.

    :param mode: of its file: who may not write to it may not open it. ``None``: by the umask.
    :raises Unavailable: saying what is in the way.
    """
    family = getattr(socket, "AF_UNIX", None)
    if family is None or sys.platform == "win32":
        raise Unavailable("Unix sockets are not to be had on this system; listen on 127.0.0.1 instead")
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        _clear_away(path, family)
        made.bind(path)
        if mode is not None:  # before anybody can come in
            os.chmod(path, mode)
        made.listen(2048)
    except OSError as error:
        made.close()
        raise Unavailable(f"the socket {path} cannot be opened: {error.strerror or error}") from error
    made.setblocking(False)
    return made


def _clear_away(path: str, family: int) -> None:
    """:raises OSError: it is no socket, or somebody answers there."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            raise FileExistsError(17, "a file that is no socket is in the way")
    except FileNotFoundError:
        return
    with socket.socket(family, socket.SOCK_STREAM) as knocking:
        try:
            knocking.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
    raise FileExistsError(17, "it is in use, perhaps by another Greenroom")
