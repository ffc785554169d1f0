"""What a first call would wait for, done while a binding is loaded.

rehearse(play, answer)  -> an HTTP client has loaded and made what it makes at its first use
greet(asking)           -> a task that has opened a connection, or tries to
or_closed(engine, work) -> the engine, or nothing of it
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar
from urllib.parse import urlsplit

from greenroom.bindings.roles import Engine
from greenroom.errors import BindingFailed

E = TypeVar("E", bound=Engine)

_REHEARSAL_S = 20.0
"""it takes a hundredth of that; an SDK that is imported meanwhile, on a slow machine, most of it"""
_GREETING_S = 1.5
_MOST_HEAD = 1 << 16


def rehearse(play: Callable[[str], Coroutine[Any, Any, None]], answer: bytes, content_type: str) -> None:
    """In a thread of its own: ``play(base_url)`` talks to a server of this very process that gives this ``answer`` to
    everything. What fails here is not told, as the first call says it better."""

    async def perform() -> None:
        async with asyncio.timeout(_REHEARSAL_S), _answering(answer, content_type) as base_url:
            await play(base_url)

    with suppress(OSError, TimeoutError, BindingFailed):
        asyncio.run(perform())


@asynccontextmanager
async def _answering(body: bytes, content_type: str) -> AsyncIterator[str]:
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ncontent-length: {len(body)}\r\n\r\n".encode()
    serving: set[asyncio.Task[None] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.current_task())
        try:
            while True:
                asked = (await reader.readuntil(b"\r\n\r\n")).lower()
                _, found, rest = asked.partition(b"content-length:")
                await reader.readexactly(int(rest.partition(b"\r\n")[0]) if found else 0)
                writer.write(head + body)
                await writer.drain()
        except (EOFError, ConnectionError, asyncio.LimitOverrunError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=_MOST_HEAD)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in serving:
            if task is not None:
                task.cancel()
        await asyncio.gather(*(task for task in serving if task is not None))


async def greet(base_url: str, asking: Callable[[], Coroutine[Any, Any, object]]) -> "asyncio.Task[object] | None":
    """Something small is asked of a service, so that its connection stands when somebody waits for an answer. Only
    over https, whose handshake takes about as long as a first word. It is waited for a moment; whoever opened it
    cancels it at the end. What fails is not told, as the first call says it better."""
    if urlsplit(base_url).scheme != "https":
        return None
    task: asyncio.Task[object] = asyncio.get_running_loop().create_task(asking(), name="greeting")
    task.add_done_callback(_looked_at)
    try:
        await asyncio.wait((task,), timeout=_GREETING_S)
    except asyncio.CancelledError:
        task.cancel()
        raise
    return task


async def or_closed(engine: E, work: Awaitable[object]) -> E:
    """The engine, once what is left to do for it is done; it is closed if that is given up."""
    try:
        await work
    except BaseException:
        await engine.close()
        raise
    return engine


def _looked_at(task: "asyncio.Task[object]") -> None:
    if not task.cancelled():
        task.exception()
