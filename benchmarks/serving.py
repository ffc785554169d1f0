"""The server under test, in a process and a home of its own, and the fake backend in another."""

import asyncio
import contextlib
import json
import math
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml

from fakes.openai_server import fake_openai_process

_READY = re.compile(r"is ready at http://[^:]+:(\d+)")
_START_S = 60.0
_OWN_BINDINGS = Path(__file__).parent / "bindings"
MB = 1_000_000


def cpu_s(pid: int) -> float:
    """CPU seconds of all threads of a process so far; to the microsecond where the system tells it."""
    if sys.platform == "linux":
        # The clock of another process, as clock_getcpuclockid(3) makes it: /proc counts in steps of 10 ms.
        return time.clock_gettime((~pid << 3) | 2)
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def waited_s(pid: int) -> float:
    """Seconds that the main thread of a process was ready to run and had no core; nan where nobody tells."""
    path = Path(f"/proc/{pid}/schedstat")
    return int(path.read_text().split()[1]) / 1e9 if path.is_file() else math.nan


@dataclass(slots=True)
class Server:
    process: asyncio.subprocess.Process
    port: int
    home: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def cpu_s(self) -> float:
        return cpu_s(self.pid)

    def resident_mb(self) -> float:
        return float(psutil.Process(self.pid).memory_info().rss) / MB

    def logged(self) -> str:
        log = self.home / "server.log"
        return log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL for one that does not go."""
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(self.process.wait(), 10)
            except TimeoutError:
                self.process.kill()
                await self.process.wait()


@contextlib.contextmanager
def temporary_home(config: Mapping[str, Any] | None = None, bindings: Sequence[str] = ()) -> Any:
    """A home folder; ``config`` becomes its ``config.yaml``, ``bindings`` names some of the benchmarks' own."""
    with tempfile.TemporaryDirectory(prefix="greenroom-benchmark-") as name:
        home = Path(name)
        if config is not None:
            (home / "config.yaml").write_text(yaml.safe_dump(dict(config)), encoding="utf-8")
        for binding in bindings:
            shutil.copytree(_OWN_BINDINGS / binding, home / "bindings" / binding)
        yield home


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def spawn(home: Path, port: int, *interpreter: str, arguments: Sequence[str] = ()) -> Server:
    """The process, just started. ``interpreter``: arguments for Python itself, ``arguments``: for ``serve``."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GREENROOM_")}
    with (home / "server.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, *interpreter, "-m", "greenroom", "serve", "--home", str(home), "--port", str(port)),
            *arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            env={**environment, "PYTHONUNBUFFERED": "1"},
            cwd=home,
        )
    return Server(process, port, home)


async def ready(server: Server) -> None:
    """Wait until it says so. :raises RuntimeError: it ended instead, with what it logged."""
    assert server.process.stdout is not None
    line = (await asyncio.wait_for(server.process.stdout.readline(), _START_S)).decode()
    found = _READY.search(line)
    if found is None:
        await server.stop()
        raise RuntimeError(f"the server did not start: {line}{server.logged()}")
    server.port = int(found.group(1))


@asynccontextmanager
async def serving(home: Path, *arguments: str) -> AsyncGenerator[Server, None]:
    server = await spawn(home, 0, arguments=arguments)
    try:
        await ready(server)
        yield server
    finally:
        await server.stop()


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request as the fake backend saw it; times as :func:`time.monotonic` has them."""

    path: str
    received: float
    written: list[float]
    finished: float | None
    lost: float | None

    @property
    def own_s(self) -> float:
        """The backend's own time to its first piece."""
        return self.written[0] - self.received


@dataclass(frozen=True, slots=True)
class Backend:
    base_url: str

    async def log(self) -> list[Exchange]:
        names = Exchange.__dataclass_fields__
        return [
            Exchange(**{name: entry[name] for name in names})
            for entry in json.loads(await asyncio.to_thread(self._ask, "/_log", None))
        ]

    async def clear(self) -> None:
        await asyncio.to_thread(self._ask, "/_clear", b"{}")

    def operations(self) -> list[dict[str, Any]]:
        """For ``config.yaml``: text and voice from this backend."""
        return [
            {"role": "t2t", "id": "openai", "base_url": self.base_url, "model": "fake-chat"},
            {"role": "tts", "id": "openai", "base_url": self.base_url, "model": "tts-fake"},
        ]

    def _ask(self, path: str, body: bytes | None) -> bytes:
        request = urllib.request.Request(f"{self.base_url}{path}", body, {"Content-Type": "application/json"})  # noqa: S310 -- http, ours
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 -- http, ours
            return bytes(answer.read())


@asynccontextmanager
async def fake_backend(*arguments: str) -> AsyncGenerator[Backend, None]:
    """0.15 s to the first token, 30 tokens/s; speech after 0.2 s, then at 0.15 of real time: the fake's defaults."""
    async with fake_openai_process(*arguments) as base_url:
        yield Backend(base_url)
