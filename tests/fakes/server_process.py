"""A real Greenroom server in a process of its own, as a user would start it."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_READY = re.compile(r"is ready at (https?://\S+)")


@dataclass(slots=True)
class ServerProcess:
    process: asyncio.subprocess.Process
    url: str
    home: Path
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def logged(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    async def stop(self) -> int:
        """SIGTERM, as a service manager would. -> exit code"""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.process.wait(), 30)

    async def kill(self) -> None:
        """SIGKILL: no chance to say or save anything."""
        self.process.kill()
        await self.process.wait()


async def start_server(
    home: Path, *arguments: str, env: Mapping[str, str] | None = None, port: int | None = 0
) -> ServerProcess:
    """``greenroom serve`` on any free port; ``None``: where its configuration says.

    :raises RuntimeError: with what it printed, if it does not start.
    """
    home.mkdir(parents=True, exist_ok=True)
    log = home / "server.log"
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GREENROOM_")}
    with log.open("ab") as sink:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "greenroom", "serve", "--home", str(home)),
            *(() if port is None else ("--port", str(port))),
            *arguments,
            stdout=subprocess.PIPE,
            stderr=sink,
            stdin=subprocess.DEVNULL,
            env={**clean, "PYTHONUNBUFFERED": "1", **(env or {})},
            cwd=home,
        )
    assert process.stdout is not None
    line = (await asyncio.wait_for(process.stdout.readline(), 60)).decode()
    ready = _READY.search(line)
    if ready is None:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise RuntimeError(f"the server did not start: {line}{log.read_text(errors='replace')}")
    return ServerProcess(process, ready.group(1), home, log)


@asynccontextmanager
async def running_server(
    home: Path, *arguments: str, env: Mapping[str, str] | None = None, port: int | None = 0
) -> AsyncGenerator[ServerProcess, None]:
    server = await start_server(home, *arguments, env=env, port=port)
    try:
        yield server
    finally:
        if server.process.returncode is None:
            server.process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(server.process.wait(), 30)
            except TimeoutError:
                await server.kill()
