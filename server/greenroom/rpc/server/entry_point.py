"""An application and where it listens; runs in the foreground, in a thread, or on a loop that is already there."""

import asyncio
import contextlib
import os
import socket
import stat
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import uvicorn

from greenroom.errors import Unavailable

BACKLOG: Final = 1024
SHUTDOWN_S: Final = 5
CUT_S: Final = 1.0
"""after which a server that stops cuts the connections that are still open"""
WORK_S: Final = 2.0
"""the same, where all of a request has come and its answer has not begun: somebody is at work on it"""
KEEP_ALIVE_S: Final = 75
TICK_S: Final = 1.0
MESSAGE_BYTES: Final = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Tls:
    """Paths of PEM files."""

    certificate: str
    key: str


class WebAppEntryPoint:
    """:param daemon_threads: run beside the server, each in a daemon thread, from :meth:`run`.
    :param uds: the path of a unix socket, in place of host and port.
    :param message_bytes: the largest websocket message that is taken.
    """

    def __init__(
        self,
        app: Any,
        port: int,
        host: str = "127.0.0.1",
        daemon_threads: tuple[Callable[[], object], ...] = (),
        *,
        uds: str | None = None,
        tls: Tls | None = None,
        message_bytes: int = MESSAGE_BYTES,
    ) -> None:
        self.app = app
        self.port = port
        self.host = host
        self.daemon_threads = daemon_threads
        self.uds = uds
        self._tls = tls
        self._message_bytes = message_bytes

    def run(self) -> None:
        """Serves until SIGINT or SIGTERM.

        :raises OSError: if it cannot listen there
        """
        with self._listening() as listener:
            for target in self.daemon_threads:
                threading.Thread(target=target, daemon=True).start()
            _Server(self._config()).run(sockets=[listener])

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Serves on the running loop and leaves signals alone; gives the base URL.

        :raises OSError: if it cannot listen there
        """
        with self._listening() as listener:
            async with _served(_EmbeddedServer(self._config()), listener):
                yield self.base_url(listener)

    @contextmanager
    def running(self) -> Iterator[str]:
        """:meth:`serving` in a thread with a loop of its own."""
        with self._listening() as listener:
            server = _EmbeddedServer(self._config())
            up: Future[None] = Future()
            thread = threading.Thread(
                target=_run_in_thread, args=(server, listener, up), name="greenroom-rpc-server", daemon=True
            )
            thread.start()
            try:
                up.result()
                yield self.base_url(listener)
            finally:
                server.leave()
                thread.join()

    def base_url(self, listener: socket.socket) -> str:
        if self.uds is not None:
            return f"unix:{self.uds}"
        host = self.host if self.host not in ("0.0.0.0", "::", "") else "127.0.0.1"  # noqa: S104 -- compared only
        scheme = "https" if self._tls else "http"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"

    def _config(self) -> uvicorn.Config:
        return uvicorn.Config(
            self.app,
            http=_http(),
            log_config=None,
            access_log=False,
            lifespan="on",
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=SHUTDOWN_S,
            # A reader that is held back answers no pings: that is back pressure, not death. TCP notices the dead.
            ws_ping_interval=None,
            ws_per_message_deflate=False,
            ws_max_size=self._message_bytes,
            ssl_certfile=self._tls.certificate if self._tls else None,
            ssl_keyfile=self._tls.key if self._tls else None,
        )

    @contextmanager
    def _listening(self) -> Iterator[socket.socket]:
        listener = self._bound_unix(self.uds) if self.uds is not None else self._bound_tcp()
        with contextlib.closing(listener):
            listener.setblocking(False)
            try:
                yield listener
            finally:
                if self.uds is not None:
                    Path(self.uds).unlink(missing_ok=True)

    def _bound_tcp(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            if os.name == "posix":
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            listener.bind((self.host, self.port))
            listener.listen(BACKLOG)
        except OSError:
            listener.close()
            raise
        return listener

    @staticmethod
    def _bound_unix(path: str) -> socket.socket:
        if not hasattr(socket, "AF_UNIX"):
            raise OSError("this system has no unix sockets for Python; listen on a port")
        # A socket that a killed server left behind; anything else stays, and binding fails.
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISSOCK(os.stat(path).st_mode) and not _answers(path):
                os.unlink(path)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener.bind(path)
            os.chmod(path, 0o600)  # before anybody can connect, as it does not listen yet
            listener.listen(BACKLOG)
        except OSError:
            listener.close()
            raise
        return listener


def _http() -> Any:
    """With bounds, where the parser is there for which they are made; the other one has most of them itself."""
    try:
        from greenroom.http_bounds import BoundedHttp
    except ImportError:
        return "auto"
    return BoundedHttp


class _Server(uvicorn.Server):
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's, but a connection whose client stands still cannot outlast it: its last bytes would never go."""
        loop = asyncio.get_running_loop()
        cutting = [loop.call_later(CUT_S, self._cut, True), loop.call_later(WORK_S, self._cut)]
        try:
            await super().shutdown(sockets)
        finally:
            for one in cutting:
                one.cancel()
            self._cut()
            await asyncio.sleep(0)  # the connections are told

    def _cut(self, spares_work: bool = False) -> None:
        for connection in list(self.server_state.connections):
            transport = getattr(connection, "transport", None)
            if transport is not None and not (spares_work and _is_at_work(connection)):
                transport.abort()


def _is_at_work(connection: Any) -> bool:
    cycle = getattr(connection, "cycle", None)  # of HTTP alone
    return cycle is not None and not cycle.more_body and not cycle.response_started


class _EmbeddedServer(_Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_up = asyncio.Event()
        self._leaving = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        self.is_up.set()

    async def main_loop(self) -> None:
        """As uvicorn's, which wakes ten times a second to look whether it shall stop: once a second, for the clock."""
        tick = 0
        while not await self.on_tick(tick):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._leaving.wait(), TICK_S)
            tick += 10

    def leave(self) -> None:
        """From any thread."""
        self.should_exit = True
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has closed already
                self._loop.call_soon_threadsafe(self._leaving.set)


@asynccontextmanager
async def _served(server: _EmbeddedServer, listener: socket.socket) -> AsyncIterator["asyncio.Task[None]"]:
    """From the moment that calls can be made; stopped at the end, if it has not stopped itself."""
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    started = asyncio.create_task(server.is_up.wait())
    try:
        await asyncio.wait({serving, started}, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()
            raise Unavailable("the server stopped before it had started")
        yield serving
    finally:
        started.cancel()
        server.leave()
        await serving


def _run_in_thread(server: _EmbeddedServer, listener: socket.socket, up: "Future[None]") -> None:
    async def serve() -> None:
        async with _served(server, listener) as serving:
            up.set_result(None)
            await asyncio.wait({serving})

    try:
        with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
            runner.run(serve())
    except BaseException as error:  # carried over to whoever waits for the start
        if up.done():
            raise
        up.set_exception(error)


def _answers(path: str) -> bool:
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with contextlib.closing(probe):
        try:
            probe.connect(path)
        except OSError:
            return False
        return True
