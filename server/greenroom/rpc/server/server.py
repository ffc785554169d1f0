"""A server: components on an application, a guard before it, and a place to listen."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from greenroom.rpc.limits import Limits
from greenroom.rpc.server.components import IComponent
from greenroom.rpc.server.entry_point import Tls, WebAppEntryPoint
from greenroom.rpc.server.guard import LOOPBACK, Guard, is_loopback


class IServer(ABC):
    """Something that serves when it is called, in this process or another: it can be pickled."""

    @abstractmethod
    def get_port(self) -> int: ...

    @abstractmethod
    def create_web_app_entry_point(self) -> WebAppEntryPoint: ...

    def __call__(self) -> None:
        """Serves until the process is told to stop."""
        self.create_web_app_entry_point().run()


@dataclass(frozen=True, slots=True)
class _Access:
    secret: str
    hosts: tuple[str, ...]
    origins: tuple[str, ...]


class Server(IServer):
    """
    :param port: TCP; 0 takes a free one, which :meth:`running` tells.
    :param uds: the path of a unix socket to listen on instead, for this user only.
    :param host: the address to listen on. Other machines can call only where there is a secret, or ``insecure`` says
        that whoever reaches the port may.
    :param secret: what callers must show as a bearer token.
    :param hosts: further names that this server is called by.
    :param origins: web pages of other servers that may call, as ``https://example.org``.
    :param tls: certificate and key to serve https and wss.
    :raises ValueError: for an address that strangers reach, without a secret
    """

    def __init__(
        self,
        port: int | None,
        *components: IComponent,
        uds: Path | str | None = None,
        host: str = "127.0.0.1",
        secret: str = "",
        insecure: bool = False,
        hosts: tuple[str, ...] = (),
        origins: tuple[str, ...] = (),
        tls: Tls | None = None,
    ) -> None:
        if (port is None) == (uds is None):
            raise ValueError("a server listens on a port or on a unix socket")
        if uds is None and not is_loopback(host) and not secret and not insecure:
            raise ValueError(f"strangers can reach {host}: give a secret, or insecure=True if they may call")
        self.components = components
        self.port = port or 0
        self.uds = str(uds) if uds is not None else None
        self.host = host
        self._tls = tls
        # A page that rebinds its name does not know the secret, and reaches no unix socket.
        known = () if secret or uds is not None or not is_loopback(host) else (*LOOPBACK, *hosts)
        self._access = _Access(secret, known, origins)

    def get_port(self) -> int:
        """The configured one; 0 if any free one will do."""
        return self.port

    def create_app(self) -> Starlette:
        """The whole as an ASGI application."""
        access = self._access
        app = Starlette(
            routes=[Route("/", _ok), Route("/heartbeat", _ok)],
            middleware=[Middleware(Guard, secret=access.secret, hosts=access.hosts, origins=access.origins)],
            exception_handlers={HTTPException: _told},
            lifespan=self._lifespan,
        )
        app.router.redirect_slashes = False
        for component in self.components:
            component.mount(app)
        return app

    def create_web_app_entry_point(self) -> WebAppEntryPoint:
        limits = [found for one in self.components if isinstance(found := getattr(one, "limits", None), Limits)]
        return WebAppEntryPoint(
            self.create_app(),
            self.port,
            self.host,
            uds=self.uds,
            tls=self._tls,
            message_bytes=max((one.message_bytes for one in limits), default=Limits().message_bytes),
        )

    @contextmanager
    def running(self) -> Iterator[str]:
        """Serves in a thread of this process; gives the base URL once calls can be made, and stops at the end."""
        with self.create_web_app_entry_point().running() as base_url:
            yield base_url

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Serves on the running loop; gives the base URL."""
        async with self.create_web_app_entry_point().serving() as base_url:
            yield base_url

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        try:
            yield
        finally:
            for component in self.components:
                component.close()


async def _ok(_: Request) -> Response:
    return PlainTextResponse("OK")


async def _told(_: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        return JSONResponse({"detail": error.detail}, error.status_code, error.headers)
    raise error
