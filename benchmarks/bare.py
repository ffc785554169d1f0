"""The peer of a speaking session: python-socketio alone, which sends one client as many events of the same sizes.

``python -m benchmarks.bare PORT``: to each client 30 ``text_chunk`` and 10 ``audio_chunk`` a second, and a ``sentence``
every 11 words, from a timer for each kind. No session, no prompt, no splitting into sentences, no log, no voice.
"""

import asyncio
import sys
from typing import Any

import socketio
import uvicorn

from benchmarks.plan import SPEED, loop_factory
from greenroom.doors.web import uvicorn_settings

_CHUNK_S = 0.1
_WORDS_OF_A_SENTENCE = 11
_SENTENCE = "The old stage light waits, and a voice carries far tonight."
_PCM = bytes(4800)
_NAMES: dict[str, Any] = {"job_id": "j" * 36, "session": "one", "seq": 12345}


async def _text(server: socketio.AsyncServer, client: str) -> None:
    begin = asyncio.get_running_loop().time()
    number = 0
    while True:
        number += 1
        await asyncio.sleep(begin + number / SPEED - asyncio.get_running_loop().time())
        await server.emit("text_chunk", {**_NAMES, "chunk": " word", "type": 0, "index": number}, to=client)
        if number % _WORDS_OF_A_SENTENCE == 0:
            sentence = {**_NAMES, "index": number, "text": _SENTENCE, "speech": _SENTENCE}
            await server.emit("sentence", sentence, to=client)


async def _sound(server: socketio.AsyncServer, client: str) -> None:
    begin = asyncio.get_running_loop().time()
    number = 0
    while True:
        number += 1
        await asyncio.sleep(begin + number * _CHUNK_S - asyncio.get_running_loop().time())
        chunk = {
            **_NAMES,
            "index": 1,
            "part": number,
            "audio": _PCM,
            "sr": 24_000,
            "sw": 2,
            "ch": 1,
            "format": "pcm_s16le",
            "t_ms": number * 100.0,
            "duration_ms": 100.0,
            "volumes": [0.25] * 5,
            "last": False,
        }
        await server.emit("audio_chunk", chunk, to=client)


async def serve(port: int) -> None:
    server = socketio.AsyncServer(async_mode="asgi", cors_allowed_origins="*")
    tasks: set[asyncio.Task[None]] = set()

    async def connected(client: str, environ: dict[str, Any], auth: Any = None) -> None:
        for work in (_text, _sound):
            tasks.add(asyncio.create_task(work(server, client)))

    server.on("connect", connected)
    config = uvicorn.Config(
        socketio.ASGIApp(server),
        port=port,
        log_level="warning",
        timeout_graceful_shutdown=1,
        **uvicorn_settings(),
    )
    await uvicorn.Server(config).serve()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(serve(int(sys.argv[1])))
