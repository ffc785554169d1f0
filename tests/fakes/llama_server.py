"""llama.cpp's own OpenAI-compatible HTTP server with the tiny model, in a process of its own: a second, real server.

async with llama_server(tiny_gguf()) as base_url: ...
"""

import asyncio
import contextlib
import os
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path


@contextlib.asynccontextmanager
async def llama_server(model: Path, api_key: str = "") -> AsyncIterator[str]:
    tests = str(Path(__file__).parents[1])
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "fakes.llama_server", str(model), api_key),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": tests},
    )
    assert process.stdout is not None and process.stdin is not None
    try:
        line = await process.stdout.readline()
        if not line:
            raise RuntimeError("llama.cpp's server did not start")
        yield line.decode().strip()
    finally:
        process.stdin.close()
        await process.wait()


def main(model: str, api_key: str) -> None:
    """Serves until its standard input is closed, so that it cannot outlive a killed test."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = model
    params.model_alias = {"tiny"}
    params.n_ctx = 2048
    params.n_parallel = 2
    params.cpuparams.n_threads = 1
    params.warmup = False
    params.verbosity = -1
    if api_key:
        params.api_keys = [api_key]
    server = xllamacpp.Server(params)
    print(f"{server.listening_address}/v1", flush=True)
    watcher = threading.Thread(target=sys.stdin.read)
    watcher.start()
    watcher.join()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
