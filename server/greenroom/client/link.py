"""One Socket.IO connection, from its opening to its loss. Connecting anew is the business of its owner."""

import asyncio
import logging
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import socketio
from socketio.exceptions import SocketIOError

from greenroom.client.failures import failure
from greenroom.errors import BadRequest, Forbidden, GreenroomError, Internal, Unavailable

_MAX_MESSAGE_BYTES = 64 * 1024 * 1024
_CLOSE_WAIT_S = 2

logger = logging.getLogger(__name__)
logger.addHandler(logging.NullHandler())
_transport_logger = logging.getLogger(f"{__name__}.transport")
_transport_logger.setLevel(logging.CRITICAL)  # it warns of every lost connection; this client mends or raises them

EventHandler = Callable[[str, object], None]


class LinkLost(Exception):
    """The connection ended before the answer came; whether the server acted on the request is not known."""


@dataclass(frozen=True, slots=True)
class Address:
    url: str
    path: str
    """of the Socket.IO endpoint, without the leading slash"""

    @classmethod
    def parse(cls, url: str) -> "Address":
        """``http(s)://host[:port][/prefix]``. :raises BadRequest: for anything else."""
        try:
            parts = urlsplit(url if "://" in url or url.startswith("unix:") else f"http://{url}")
            valid = parts.scheme in ("http", "https", "ws", "wss") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            valid = False
        if not valid:
            raise BadRequest(f"{url!r} is no address of a server; one looks like http://127.0.0.1:9601")
        prefix = parts.path.strip("/")
        return cls(f"{parts.scheme}://{parts.netloc}", f"{prefix}/socket.io" if prefix else "socket.io")


def trust(address: Address, certificate: str | Path | None, insecure: bool) -> ssl.SSLContext | None:
    """Whom to believe at an https address; ``None`` at others. :raises BadRequest: ``certificate`` is none."""
    if not address.url.startswith(("https:", "wss:")):
        return None
    context = ssl.create_default_context()
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif certificate is not None:
        try:
            context.load_verify_locations(cafile=certificate)
        except (OSError, ssl.SSLError) as error:
            raise BadRequest(f"{certificate} holds no certificate: {error.strerror or error}") from error
    return context


class Link:
    """:param on_event: called in order, on the event loop, with the wire name and the payload of each event.
    :param tls: whom to believe, of an https server.
    """

    def __init__(self, address: Address, on_event: EventHandler, tls: ssl.SSLContext | None = None) -> None:
        self._address = address
        self._on_event = on_event
        self._tls = tls
        self._answers: set[asyncio.Future[object]] = set()
        self._refusal: object = None
        self._http: aiohttp.ClientSession | None = None
        self._socket: Any = None
        self._sending = asyncio.Lock()
        self.lost = asyncio.Event()

    async def open(self, auth: Mapping[str, Any], timeout_s: float) -> None:
        """:raises Unauthorized, Forbidden, Unavailable, ...: why the server cannot be used, as a sentence."""
        self._http = aiohttp.ClientSession(connector=None if self._tls is None else aiohttp.TCPConnector(ssl=self._tls))
        self._socket = socketio.AsyncClient(
            reconnection=False,
            handle_sigint=False,
            logger=_transport_logger,
            engineio_logger=_transport_logger,
            http_session=self._http,
            request_timeout=_CLOSE_WAIT_S,
            websocket_extra_options={"max_msg_size": _MAX_MESSAGE_BYTES},
        )
        self._socket.on("*", self._received)
        self._socket.on("connect_error", self._refused)
        self._socket.on("disconnect", self._disconnected)
        try:
            async with asyncio.timeout(timeout_s):
                await self._socket.connect(
                    self._address.url,
                    auth=dict(auth),
                    transports=["websocket"],
                    socketio_path=self._address.path,
                    wait_timeout=timeout_s,
                )
        except TimeoutError:
            raise Unavailable(f"{self._address.url} does not answer within {timeout_s:g} s") from None
        except (SocketIOError, aiohttp.ClientError, OSError, ValueError) as error:
            raise self._why_not(error) from error

    async def call(self, event: str, data: Mapping[str, Any]) -> Mapping[str, Any]:
        """-> the acknowledgement. :raises LinkLost: if the connection ends first."""
        if self.lost.is_set():
            raise LinkLost
        answer: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self._answers.add(answer)
        try:
            async with self._sending:
                await self._socket.emit(event, dict(data), callback=lambda *told: _settle(answer, told))
            told = await answer
        except SocketIOError as error:
            raise LinkLost from error
        finally:
            self._answers.discard(answer)
        if not isinstance(told, dict):
            raise Internal(f"the server acknowledged {event} with something that is no answer")
        return told

    async def close(self) -> None:
        """Harmless if it is lost, or was never opened."""
        try:
            if self._socket is not None:
                await self._socket.disconnect()
        except SocketIOError:
            logger.debug("the connection was gone before it was closed")
        finally:
            self._end()
            if self._http is not None:
                await self._http.close()

    def _received(self, event: str, *data: object) -> None:
        self._on_event(event, data[0] if data else None)

    def _refused(self, *data: object) -> None:
        self._refusal = data[0] if data else None

    def _disconnected(self, *_reason: object) -> None:
        self._end()

    def _end(self) -> None:
        self.lost.set()
        for answer in self._answers:
            if not answer.done():
                answer.set_exception(LinkLost())

    def _why_not(self, error: Exception) -> GreenroomError:
        if isinstance(self._refusal, dict):
            told = self._refusal.get("data")
            more = told if isinstance(told, dict) else self._refusal
            message = more.get("message") or self._refusal.get("message") or "the server refuses this connection"
            return failure(more.get("code", Unavailable.code), str(message))
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, aiohttp.WSServerHandshakeError):
                if cause.status == 403:
                    return Forbidden(f"{self._address.url} refuses this connection (HTTP 403)")
                return Unavailable(
                    f"something answers at {self._address.url}, but it is no Greenroom (HTTP {cause.status})",
                    kind="foreign_server",
                )
            if isinstance(cause, ssl.SSLCertVerificationError):
                told = getattr(getattr(cause, "certificate_error", cause), "verify_message", "") or "unknown"
                return Unavailable(
                    f"the certificate of {self._address.url} is not trusted: {told}; give it as "
                    "certificate, or say that any will do (--insecure)",
                    kind="untrusted",
                )
            cause = cause.__cause__ or cause.__context__
        return Unavailable(f"no Greenroom answers at {self._address.url}", kind="unreachable")


def _settle(answer: asyncio.Future[object], told: tuple[object, ...]) -> None:
    if not answer.done():
        answer.set_result(told[0] if told else None)
