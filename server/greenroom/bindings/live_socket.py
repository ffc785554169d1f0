"""Websockets to services that are told a text while it is still being written, and answer while it is told.

    sockets.talk(url, headers, send) -> Talk: send() runs beside, Talk.messages() yields what comes

The next connection is made while one is in use, so that a sentence seldom waits for one. A text that was sent over a
connection that broke before anything came back can be sent again: :class:`Retold` keeps it.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Generic, TypeVar
from urllib.parse import urlsplit

from greenroom.bindings.chat_format import error_message
from greenroom.bindings.service_failures import ServiceFailures
from greenroom.errors import BindingFailed

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

T = TypeVar("T")
Send = Callable[["ClientConnection"], Awaitable[None]]

_LARGEST_MESSAGE = 16 << 20
_MOST_SPARE = 4
_FAREWELL_S = 1.0
_LOOPBACK = ("localhost", "127.0.0.1", "::1")

_Key = tuple[str, tuple[tuple[str, str], ...]]


class Talk:
    """One connection in use. Leaving its context closes it and ends ``send``."""

    def __init__(self, socket: "ClientConnection", sending: "asyncio.Task[None]", failures: ServiceFailures) -> None:
        self._socket = socket
        self._sending = sending
        self._failures = failures

    async def messages(self) -> AsyncGenerator[str | bytes, None]:
        """Ends when the service closes the connection properly.

        The service may be silent while there is text to come, no longer than the failures' ``read_timeout_s`` after.

        :raises BindingFailed: for silence and a connection that breaks; and whatever ``send`` raises.
        """
        from websockets.exceptions import ConnectionClosed, ConnectionClosedOK

        while True:
            coming = asyncio.ensure_future(self._socket.recv())
            try:
                await asyncio.wait((coming, self._sending), return_when=asyncio.FIRST_COMPLETED)
                if not coming.done():
                    self._raise_from_sending()
                    await asyncio.wait((coming,), timeout=self._failures.read_timeout_s)
                if not coming.done():
                    raise self._failures.silent()
                message = coming.result()
            except ConnectionClosedOK:
                return
            except ConnectionClosed as error:
                raise self._failures.cut_off(error.rcvd.reason if error.rcvd else "") from error
            finally:
                if not coming.done():
                    coming.cancel()
                    await asyncio.gather(coming, return_exceptions=True)
            yield message

    def _raise_from_sending(self) -> None:
        from websockets.exceptions import ConnectionClosed

        with suppress(ConnectionClosed):  # receiving says so better
            self._sending.result()


class Sockets:
    """Connections to one service, shared by all sessions that use it."""

    def __init__(self, failures: ServiceFailures, connect_timeout_s: float) -> None:
        self._failures = failures
        self._connect_timeout_s = connect_timeout_s
        self._spares: dict[_Key, asyncio.Task[ClientConnection]] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._is_closed = False

    @asynccontextmanager
    async def talk(self, url: str, headers: Mapping[str, str], send: Send) -> AsyncIterator[Talk]:
        """``send(connection)`` runs beside, from the moment when the connection stands.

        :raises BindingFailed: if there is none.
        """
        socket = await self._take(url, headers)
        sending = asyncio.ensure_future(_sent(send, socket))
        try:
            yield Talk(socket, sending, self._failures)
        finally:
            sending.cancel()
            self._let_go(socket)
            await asyncio.gather(sending, return_exceptions=True)

    def prepare(self, url: str, headers: Mapping[str, str]) -> None:
        """Begin to connect, for the next one who talks to this address."""
        key: _Key = (url, tuple(headers.items()))
        if self._is_closed or key in self._spares:
            return
        while len(self._spares) >= _MOST_SPARE:
            self._drop(next(iter(self._spares)))
        task = asyncio.get_running_loop().create_task(self._connect(url, headers), name="spare connection")
        task.add_done_callback(_looked_at)
        self._spares[key] = task

    async def close(self) -> None:
        self._is_closed = True
        for key in list(self._spares):
            self._drop(key)
        await asyncio.gather(*self._closing)

    async def _take(self, url: str, headers: Mapping[str, str]) -> "ClientConnection":
        from websockets.protocol import State

        key: _Key = (url, tuple(headers.items()))
        spare = self._spares.pop(key, None)
        socket = None
        if spare is not None:
            try:
                socket = await spare
            except asyncio.CancelledError:
                self._give_up(spare)
                raise
            except BindingFailed:
                pass  # an own attempt says whether that still holds
        if socket is None or socket.state is not State.OPEN:
            socket = await self._connect(url, headers)
        self.prepare(url, headers)
        return socket

    async def _connect(self, url: str, headers: Mapping[str, str]) -> "ClientConnection":
        from websockets.asyncio.client import connect
        from websockets.exceptions import InvalidStatus, WebSocketException

        local = urlsplit(url).hostname in _LOOPBACK
        try:
            return await connect(
                url,
                additional_headers=headers,
                compression=None,
                max_size=_LARGEST_MESSAGE,
                open_timeout=self._connect_timeout_s,
                close_timeout=_FAREWELL_S,
                proxy=None if local else True,  # a proxy of the environment cannot reach this machine's own servers
            )
        except InvalidStatus as error:
            body = bytes(error.response.body or b"").decode(errors="replace")
            raise self._failures.of_status(error.response.status_code, _said(body), error.response.headers) from error
        except (OSError, EOFError) as error:
            raise self._failures.of_connecting(error) from error
        except WebSocketException as error:
            if isinstance(error.__cause__, EOFError | OSError):
                raise self._failures.of_connecting(error) from error
            raise self._failures.nonsense("something that is no websocket") from error

    def _drop(self, key: _Key) -> None:
        self._give_up(self._spares.pop(key))

    def _give_up(self, task: "asyncio.Task[ClientConnection]") -> None:
        if task.done() and not task.cancelled() and task.exception() is None:
            self._let_go(task.result())
        task.cancel()

    def _let_go(self, socket: "ClientConnection") -> None:
        """The service is told at once; its answer is not waited for."""
        task = asyncio.get_running_loop().create_task(socket.close(), name="farewell")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


async def _sent(send: Send, socket: "ClientConnection") -> None:
    await send(socket)


def _said(body: str) -> str:
    """The sentence inside of a refusal's JSON; else all of it."""
    try:
        return error_message(json.loads(body)) or body
    except ValueError:
        return body


def _looked_at(task: "asyncio.Task[ClientConnection]") -> None:
    """A spare connection that fails is no news: whoever needs one tries again and says so."""
    if not task.cancelled():
        task.exception()


class Retold(Generic[T]):
    """A stream that is read once and can be told several times, from its beginning, while it still comes."""

    def __init__(self, source: AsyncIterator[T]) -> None:
        self._items: list[T] = []
        self._more = asyncio.Event()
        self._reading = asyncio.ensure_future(self._read(source))

    async def _read(self, source: AsyncIterator[T]) -> None:
        try:
            async for item in source:
                self._items.append(item)
                self._more.set()
        finally:
            self._more.set()

    async def told(self) -> AsyncGenerator[T, None]:
        """:raises: whatever the source raised, once."""
        at = 0
        while True:
            while at < len(self._items):
                yield self._items[at]
                at += 1
            if self._reading.done():
                self._reading.result()
                return
            self._more.clear()
            await self._more.wait()

    async def first(self, true: Callable[[T], bool]) -> T | None:
        """The first item that passes, as soon as it is there; ``None`` if none does."""
        told = self.told()
        try:
            async for item in told:
                if true(item):
                    return item
        finally:
            await told.aclose()
        return None

    async def close(self) -> None:
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
