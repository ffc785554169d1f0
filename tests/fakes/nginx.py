"""A real nginx with a configuration of the test's own, in a folder of its own (``apt-get install nginx-light``)."""

import asyncio
import os
import shutil
import signal
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

_FRAME = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
worker_processes 1;
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  map $http_upgrade $connection_upgrade {{ default upgrade; '' close; }}
{servers}
}}
"""


def free_port() -> int:
    with socket.socket() as asking:
        asking.bind(("127.0.0.1", 0))
        return int(asking.getsockname()[1])


@asynccontextmanager
async def nginx(folder: Path, servers: str, port: int) -> AsyncGenerator[None, None]:
    """:param servers: the blocks inside ``http``. :param port: one that it listens on: when it answers, it is ready."""
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        pytest.fail("this test needs the program nginx; install it with: apt-get install nginx-light")
    folder.mkdir(parents=True, exist_ok=True)
    user = "user root;\n" if hasattr(os, "geteuid") and os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(user + _FRAME.format(folder=folder, servers=servers))
    process = await asyncio.create_subprocess_exec(
        *(program, "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf"))
    )
    try:
        await _answers(process, port, folder)
        yield
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.wait()


async def _answers(process: asyncio.subprocess.Process, port: int, folder: Path) -> None:
    ended = asyncio.ensure_future(process.wait())
    try:
        async with asyncio.timeout(20):
            while True:
                if ended.done():
                    pytest.fail(f"nginx did not start: {(folder / 'error.log').read_text()}")
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    await asyncio.wait({ended}, timeout=0.02)
                    continue
                writer.close()
                return
    finally:
        ended.cancel()
