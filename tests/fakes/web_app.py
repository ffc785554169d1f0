"""What fakes of services on the web share: an aiohttp application on a free port, whose open websockets can be seen."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Self

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class WebApp:
    """``async with`` it; subclasses name their routes."""

    def __init__(self) -> None:
        self.news = asyncio.Event()
        """to be set by whatever a test may wait for; see :meth:`until`"""
        self.opened = 0
        """websockets that ever were"""
        self.open: set[web.WebSocketResponse] = set()
        self._runner: web.AppRunner | None = None
        self.port = 0

    def routes(self) -> list[tuple[str, str, Handler]]:
        """``(method, path, handler)``"""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        application = web.Application(client_max_size=64 << 20)
        for method, path, handler in self.routes():
            application.router.add_route(method, path, handler)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1, handler_cancellation=True)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self.hang_up()
        await self._runner.cleanup()

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not true():
                self.news.clear()
                await self.news.wait()

    async def websocket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=0, timeout=1)
        await socket.prepare(request)
        self.opened += 1
        self.open.add(socket)
        self.news.set()
        return socket

    def ended(self, socket: web.WebSocketResponse) -> None:
        self.open.discard(socket)
        self.news.set()

    async def hang_up(self) -> None:
        """Close every open websocket, as services do with those that were long idle."""
        await asyncio.gather(*(socket.close(code=1000) for socket in list(self.open)))
