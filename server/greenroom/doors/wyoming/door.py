"""The Wyoming door: who may come in, how many, and how they leave.

The protocol has no tokens. Whoever comes from this machine may talk to the character; others only from the networks
that the owner has listed, or from anywhere with ``--insecure``. None of them is ever an owner.
"""

import asyncio
import contextlib
import ipaddress
import logging
import socket
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from greenroom.doors.door import DoorCaller, Rooms
from greenroom.doors.rates import site_of
from greenroom.doors.safety import is_loopback
from greenroom.doors.wyoming.announcement import Announcement
from greenroom.doors.wyoming.operations import Backends
from greenroom.doors.wyoming.visitor import Visitor
from greenroom.doors.wyoming.voices import VoiceLists
from greenroom.doors.wyoming.wire import MAX_LINE_BYTES, Incoming, Outgoing
from greenroom.errors import Busy, Forbidden, GreenroomError, Unavailable
from greenroom.protocol.grant import Grant
from greenroom.values import Access

logger = logging.getLogger(__name__)

ROOM_BYTES: Final = 64 * 1024 * 1024
"""of all recordings at once"""
_NAME: Final = "wyoming"
_CLOSE_S: Final = 0.2
_ANNOUNCEMENT_ENDS_S: Final = 0.5


class WyomingDoor:
    """:param idle_s: silence after which a connection is closed. :param part_s: how long one event may take to arrive.
    :param patience_s: how long a client may leave its socket full.
    """

    def __init__(self, rooms: Rooms, *, idle_s: float = 600.0, part_s: float = 30.0, patience_s: float = 30.0) -> None:
        self._rooms = rooms
        self._idle_s, self._part_s, self._patience_s = idle_s, part_s, patience_s
        self._visitors: dict[asyncio.Task[None], Visitor | None] = {}
        self._outs: dict[asyncio.Task[None], Outgoing] = {}
        self._server: asyncio.Server | None = None
        self._voices = VoiceLists()
        self._announcement: Announcement | None = None
        self._announcing: asyncio.Task[None] | None = None
        self._closing = False

    @property
    def clients(self) -> int:
        return sum(visitor is not None for visitor in self._visitors.values())

    async def open(self, made: socket.socket) -> None:
        """Serve whoever comes to a bound socket."""
        self._server = await asyncio.start_server(self._came, sock=made, limit=MAX_LINE_BYTES)

    def announce(self, port: int, addresses: list[str]) -> None:
        """Begin to; it takes a second, in which names are looked for that are the same."""
        self._announcement = Announcement(port, addresses)
        self._announcing = asyncio.get_running_loop().create_task(self._announcement.begin(), name="wyoming: announce")

    async def close(self) -> None:
        """Every client is told, its work ends, its connection is closed."""
        self._closing = True
        if self._server is not None:
            self._server.close()
        await asyncio.gather(self._say_farewell(), self._withdraw(), self._voices.close())

    async def _say_farewell(self) -> None:
        farewell = Unavailable("the server is shutting down; it may come back in a moment")
        tasks = list(self._visitors)
        outs = [self._outs[task] for task in tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(_dismiss(out, farewell) for out in outs))

    async def _withdraw(self) -> None:
        if self._announcing is not None:
            self._announcing.cancel()
            await asyncio.gather(self._announcing, return_exceptions=True)
        if self._announcement is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_ANNOUNCEMENT_ENDS_S):
                    await self._announcement.end()

    async def _came(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:  # asyncio runs each connection in a task of its own
            return
        discreet = self._rooms.discretion.text  # nobody is an owner here
        out = Outgoing(writer, patience_s=self._patience_s, discreet=discreet)
        self._visitors[task], self._outs[task] = None, out
        try:
            rooms, client = self._rooms, _site(writer)
            rooms.rates.count(_NAME, client)
            self._admit(writer)
            await self._serve(task, reader, out, partial(rooms.rates.count, _NAME, client))
        except GreenroomError as error:
            logger.info("a wyoming client is refused: %s", error.code)
            await _dismiss(out, error)
        except asyncio.CancelledError:
            if not self._closing:
                raise
        finally:
            del self._visitors[task], self._outs[task]
            if not self._closing:
                await out.close(_CLOSE_S)

    def _admit(self, writer: asyncio.StreamWriter) -> None:
        """:raises Forbidden, Busy: it may not come in, or not now."""
        config = self._rooms.house.config.value
        peer = writer.get_extra_info("peername")
        if isinstance(peer, tuple) and peer and not config.server.insecure:
            check_address(str(peer[0]), config.wyoming.networks)
        if self.clients >= config.wyoming.max_clients:
            raise Busy("too many clients are connected")

    async def _serve(
        self, task: asyncio.Task[None], reader: asyncio.StreamReader, out: Outgoing, count: Callable[[], None]
    ) -> None:
        session = self._rooms.house.config.value.wyoming.session or self._rooms.default_session
        caller = DoorCaller("wyoming", Grant(Access.PERFORMER, frozenset({session})))
        backends = Backends(self._rooms, session, caller, self._voices)
        incoming = Incoming(reader, idle_s=self._idle_s, part_s=self._part_s)
        visitor = self._visitors[task] = Visitor(backends, incoming, out, self._held_bytes, ROOM_BYTES, count)
        try:
            await visitor.run()
        finally:
            backends.leave()

    def _held_bytes(self) -> int:
        return sum(visitor.held_bytes for visitor in self._visitors.values() if visitor is not None)


def _site(writer: asyncio.StreamWriter) -> str:
    peer = writer.get_extra_info("peername")
    return site_of(str(peer[0])) if isinstance(peer, tuple) and peer else ""


def check_address(address: str, networks: Iterable[str]) -> None:
    """:raises Forbidden: it is neither this machine's nor in one of the networks."""
    if is_loopback(address):
        return
    came_from = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(came_from, ipaddress.IPv6Address) and came_from.ipv4_mapped:
        came_from = came_from.ipv4_mapped
    if not any(came_from in ipaddress.ip_network(network) for network in networks):
        raise Forbidden(f"{address} may not use this server; its owner says in wyoming.networks who may")


async def _dismiss(out: Outgoing, error: GreenroomError) -> None:
    with contextlib.suppress(GreenroomError, OSError):
        async with asyncio.timeout(_CLOSE_S):
            await out.send("error", {"text": error.message, "code": error.code})
    await out.close(_CLOSE_S)


async def open_wyoming(rooms: Rooms, made: socket.socket, host: str, addresses: list[str]) -> WyomingDoor:
    """The door on a bound socket; announced, unless only this machine can reach it."""
    door = WyomingDoor(rooms)
    await door.open(made)
    if host and not is_loopback(host) and rooms.house.config.value.wyoming.announce:
        own = str(made.getsockname()[0])
        if own == "0.0.0.0":  # noqa: S104
            addresses = [address for address in addresses if ":" not in address]
        door.announce(made.getsockname()[1], addresses if own in ("0.0.0.0", "::") else [own])  # noqa: S104
    return door
