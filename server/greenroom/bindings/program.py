"""What a binding says of an external program that it needs: a server of its own, such as KoboldCPP or llama.cpp's."""

import os
import shlex
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from greenroom.bindings.program_probe import Probe, TcpProbe


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds from a crash to the next start: doubled each time, until a run has lasted for ``stable_s``."""

    first_s: float = 0.5
    longest_s: float = 30.0
    stable_s: float = 60.0
    start_attempts: int = 2
    """how often a program may end before it was ever ready; a free port may be lost to another program in between"""
    restarts: int = 5
    """how often in a row it is restarted once it has been ready"""
    cool_down_s: float = 5.0
    """how long one that was given up is not tried again"""

    def delay_s(self, failures: int) -> float:
        return float(min(self.longest_s, self.first_s * 2 ** (failures - 1)))


@dataclass(frozen=True, slots=True)
class Program:
    """``command`` is a list of arguments; a line for a shell is refused. ``{port}`` and ``{host}`` in it and in ``env``
    are filled in. See :func:`split_command` for a line that a user wrote.

    :raises TypeError: for a command that is one string
    :raises ValueError: for an empty command
    """

    key: str
    """who gives the same key shares one program"""
    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    """beside our own environment without its ``GREENROOM_`` variables: our tokens are no business of a program's"""
    cwd: Path | None = None
    host: str = "127.0.0.1"
    port: int | None = None
    """``None``: a free one"""
    scheme: str = "http"
    probe: Probe = field(default_factory=TcpProbe)
    start_timeout_s: float = 120.0
    stop_grace_s: float = 5.0
    """from SIGTERM to SIGKILL"""
    linger_s: float = 10.0
    """how long it runs on after its last user has left"""
    log_bytes: int = 5_000_000
    """a log file longer than this is rotated"""
    health_s: float = 15.0
    """how often a program in use is probed; 0: never"""
    unhealthy_after: int = 4
    """so many probes in a row without an answer, and it is killed and started again"""
    backoff: Backoff = field(default_factory=Backoff)

    def __post_init__(self) -> None:
        if isinstance(self.command, str):
            raise TypeError(f"{self.key}: the command is a list of arguments, not a line for a shell")
        if not self.command:
            raise ValueError(f"{self.key}: the command is empty")

    def filled_command(self, port: int) -> list[str]:
        return [self._filled(argument, port) for argument in self.command]

    def filled_env(self, port: int) -> dict[str, str]:
        ours = {name: value for name, value in os.environ.items() if not name.startswith("GREENROOM_")}
        return {**ours, **{name: self._filled(value, port) for name, value in self.env.items()}}

    def _filled(self, text: str, port: int) -> str:
        return text.replace("{port}", str(port)).replace("{host}", self.host)

    def url(self, port: int) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{port}"


def split_command(line: str) -> tuple[str, ...]:
    """A program, or a program with arguments in quotes or without, as users write it; no shell reads it.

    :raises ValueError: for a quote that is not closed, or an empty line
    """
    if Path(line).exists():
        return (line,)
    arguments = shlex.split(line, posix=sys.platform != "win32")
    if not arguments:
        raise ValueError("the command is empty")
    return tuple(argument.strip('"') if sys.platform == "win32" else argument for argument in arguments)


def free_port(host: str) -> int:
    with _socket(host) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def is_free(host: str, port: int) -> bool:
    """Whether a program could listen there; one that has just left does not count."""
    with _socket(host) as probe:
        if sys.platform != "win32":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _socket(host: str) -> socket.socket:
    return socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
