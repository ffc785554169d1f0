"""Running an installer: its lines as they come, and its end with everything that it has started."""

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from greenroom.rpc.processes.child import Child, start_child

_LONGEST_LINE = 65_536
_LAST_LINES_S = 2.0
"""how long the pipe of a killed child may take to close"""


async def run(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path,
    log: BinaryIO,
    said: Callable[[str], None],
) -> int:
    """-> exit code. Standard output and error go to ``log`` and, line by line on the event loop, to ``said``.

    Cancelled, or if ``said`` raises: the child and all its children are killed before this returns. They do not
    outlive us either, however we end.

    :raises OSError: if the command cannot be started.
    """
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[str | None] = asyncio.Queue()
    reading, writing = os.pipe()
    try:
        child = await _start(command, env, cwd, writing)
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)

    def read() -> None:
        with os.fdopen(reading, "rb") as output, contextlib.suppress(RuntimeError, ValueError):
            # Both errors mean that nobody waits for the rest: the loop or the log is closed.
            while raw := output.readline(_LONGEST_LINE):
                log.write(raw)
                loop.call_soon_threadsafe(lines.put_nowait, raw.decode("utf-8", "replace").rstrip())
            log.flush()
            loop.call_soon_threadsafe(lines.put_nowait, None)

    reader = threading.Thread(target=read, name=f"read {Path(command[0]).name}", daemon=True)
    reader.start()
    try:
        while (line := await lines.get()) is not None:
            said(line)
        return await asyncio.wrap_future(child.ended)
    finally:
        if child.exit_code is None:
            child.kill()
            await asyncio.shield(asyncio.wrap_future(child.ended))
        await asyncio.to_thread(reader.join, _LAST_LINES_S)


async def _start(command: Sequence[str], env: Mapping[str, str], cwd: Path, output: int) -> Child:
    """A child that was started while we were being cancelled is killed: nobody else would know of it."""
    starting = asyncio.ensure_future(asyncio.to_thread(start_child, command, env=env, cwd=cwd, output=output))
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        child = await starting
        child.kill()
        await asyncio.wrap_future(child.ended)
        raise
