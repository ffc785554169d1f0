"""Waiting for a server that may also fail to start."""

import asyncio


async def started(ready: asyncio.Event, serving: "asyncio.Task[None]") -> None:
    """Raises what the server broke with, where a test would else wait for ever."""
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait({waiting, serving}, return_when=asyncio.FIRST_COMPLETED)
    if not waiting.done():
        waiting.cancel()
        serving.result()
        raise RuntimeError("the server ended before it was ready")
