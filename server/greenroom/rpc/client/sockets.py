"""Websockets of one loop: opened, kept for the next call where the server agrees, and a few spare ones."""

import asyncio
import contextlib
import select
import weakref
from collections import Counter, deque
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Final

from websockets.asyncio.client import ClientConnection, connect, unix_connect
from websockets.exceptions import InvalidHandshake, InvalidStatus
from websockets.protocol import State
from websockets.typing import Subprotocol

from greenroom.rpc.client.options import ClientOptions, Target
from greenroom.rpc.failures import ApiError, Unreachable
from greenroom.rpc.frames import SUBPROTOCOL

IDLE_S: Final = 240.0
"""well below what a server grants, so that none closes under a call"""
IDLE_SOCKETS: Final = 32
QUEUE_MESSAGES: Final = 16
SPARE: Final = "greenroom-rpc-spare"
WRITE_BYTES: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class _Kept:
    url: str
    socket: ClientConnection
    since: float

    def is_good(self, now: float) -> bool:
        """One on which something came while nobody called is on its way to be closed, although the loop may not have
        seen it yet: a call on it would be lost."""
        return self.socket.state is State.OPEN and now - self.since < IDLE_S and not _is_readable(self.socket)


class Sockets:
    """``open_ones`` is a live view of every open connection, busy or idle."""

    def __init__(self, target: Target, options: ClientOptions) -> None:
        self._target = target
        self._options = options
        self._idle: deque[_Kept] = deque()
        self._opening: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self.open_ones: weakref.WeakSet[ClientConnection] = weakref.WeakSet()
        self._closed = False

    async def take(self, url: str) -> tuple[ClientConnection, bool]:
        """A websocket to the path and query, and whether it was open before. :raises ApiError: if none can be opened"""
        now = asyncio.get_running_loop().time()
        try:
            # The one that was used last: the others may grow old and go.
            for kept in [one for one in reversed(self._idle) if one.url == url]:
                self._idle.remove(kept)
                if kept.is_good(now):
                    return kept.socket, True
                kept.socket.transport.abort()
            return await self._open(url), False
        finally:
            self._keep_spares(url)

    def give(self, url: str, socket: ClientConnection) -> None:
        """Back, for the next call to the same URL. Beyond :data:`IDLE_SOCKETS` the oldest goes."""
        self._idle.append(_Kept(url, socket, asyncio.get_running_loop().time()))
        while len(self._idle) > (0 if self._closed else IDLE_SOCKETS):
            self.drop(self._idle.popleft().socket)

    def drop(self, socket: ClientConnection) -> None:
        """Closes it without letting anybody wait for the handshake."""
        self._spawn(socket.close())

    async def prepare(self, url: str, count: int) -> None:
        """Until so many are open and idle. :raises ApiError: if one cannot be opened"""
        while self._idle_to(url) < count:
            if self._opening[url]:
                spares = [task for task in self._tasks if task.get_name() == SPARE]
                await asyncio.wait(spares, return_when=asyncio.FIRST_COMPLETED)
            else:
                self.give(url, await self._open(url))

    async def close(self) -> None:
        """Calls under way fail."""
        self._closed = True
        for task in self._tasks:
            if task.get_name() == SPARE:
                task.cancel()
        busy = set(self.open_ones) - {one.socket for one in self._idle}
        while self._idle:
            self.drop(self._idle.popleft().socket)
        for socket in busy:
            socket.transport.abort()
        while self._tasks:
            await asyncio.wait(self._tasks)

    def abort(self) -> None:
        """Every connection, at once."""
        self._closed = True
        self._idle.clear()
        for socket in list(self.open_ones):
            socket.transport.abort()
        for task in self._tasks:
            task.cancel()

    def _idle_to(self, url: str) -> int:
        return sum(1 for one in self._idle if one.url == url)

    def _keep_spares(self, url: str) -> None:
        missing = self._options.spare_sockets - self._idle_to(url) - self._opening[url]
        for _ in range(missing if not self._closed else 0):
            self._opening[url] += 1
            self._spawn(self._open_spare(url), SPARE)

    async def _open_spare(self, url: str) -> None:
        try:
            with contextlib.suppress(ApiError):  # the next call tries itself, and tells
                await asyncio.sleep(self._options.spare_delay_s)
                self.give(url, await self._open(url))
        finally:
            self._opening[url] -= 1
            self._opening = +self._opening  # without those that are at zero

    async def _open(self, url: str) -> ClientConnection:
        options = self._options
        given: dict[str, Any] = {
            "subprotocols": [Subprotocol(SUBPROTOCOL)],
            "compression": None,
            "additional_headers": options.all_headers,
            "open_timeout": options.connect_timeout_s,
            "close_timeout": 2,
            # A reader that is held back hears no pongs: that is back pressure, not death.
            "ping_interval": None,
            "max_size": options.message_bytes,
            "max_queue": QUEUE_MESSAGES,
            "write_limit": WRITE_BYTES,
            "proxy": options.proxy,
        }
        if self._target.websocket.startswith("wss:"):
            given["ssl"] = options.tls()
        uri = self._target.websocket + url
        try:
            path = self._target.uds
            socket = await (unix_connect(path, uri, **given) if path else connect(uri, **given))
            self.open_ones.add(socket)
            return socket
        except InvalidStatus as error:
            body = bytes(error.response.body or b"").decode("utf-8", "replace")
            status = error.response.status_code
            raise ApiError(f"{uri} answered {status}: {body}", status=status, url=uri, body=body) from error
        except (OSError, TimeoutError, InvalidHandshake) as error:
            raise Unreachable(f"{uri} cannot be reached: {type(error).__name__}: {error}", url=uri) from error

    def _spawn(self, work: Coroutine[Any, Any, None], name: str | None = None) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _is_readable(socket: ClientConnection) -> bool:
    found = socket.transport.get_extra_info("socket")
    number = found.fileno() if found is not None else -1
    if number < 0:
        return False
    if not hasattr(select, "poll"):  # Windows
        return bool(select.select([number], [], [], 0)[0])
    poll = select.poll()
    poll.register(number, select.POLLIN)
    return bool(poll.poll(0))
