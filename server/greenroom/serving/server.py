"""uvicorn, one for each address, and the signals that end them."""

import asyncio
import contextlib
import os
import signal
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from greenroom.doors.asgi import AsgiApp
from greenroom.doors.web.app import uvicorn_settings
from greenroom.http_bounds import bounded_http
from greenroom.serving.descriptors import connections_for, raise_limit


class HttpServer(uvicorn.Server):
    """uvicorn without its signal handling: on a signal, clients are told and jobs end before the transports close."""

    def __init__(self, app: AsgiApp, tls: ssl.SSLContext | None = None) -> None:
        config = uvicorn.Config(
            app,
            http=bounded_http(connections_for(raise_limit())),
            log_config=None,
            timeout_graceful_shutdown=1,
            ssl_context_factory=None if tls is None else lambda _config, _default: tls,
            **uvicorn_settings(),
        )
        super().__init__(config)
        self.listening = asyncio.Event()
        self._leaving = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    async def main_loop(self) -> None:
        """As uvicorn's, which wakes ten times a second to look whether it shall stop: once a second, for the clock."""
        tick = 0
        while not await self.on_tick(tick):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._leaving.wait(), 1.0)
            tick += 10

    def leave(self) -> None:
        self.should_exit = True
        self._leaving.set()


@contextmanager
def stop_signals(stopping: asyncio.Event) -> Iterator[None]:
    """The first signal asks to stop; a second one while stopping ends the process at once."""
    loop = asyncio.get_running_loop()
    names = [name for name in ("SIGINT", "SIGTERM", "SIGBREAK") if hasattr(signal, name)]

    def stop(*_: object) -> None:
        if stopping.is_set():
            os._exit(130)
        loop.call_soon_threadsafe(stopping.set)

    before = {name: signal.signal(getattr(signal, name), stop) for name in names}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)
