"""From a packet to a handled event: rate, parsing, the client's inbox, its worker, and what overtakes it."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, Protocol

from greenroom.doors.socketio import membership, wire
from greenroom.doors.socketio.client import Client, Request, State
from greenroom.doors.socketio.dispatch import Dispatcher
from greenroom.doors.socketio.metrics import DoorCounts
from greenroom.doors.socketio.receiving import Arrived, Message
from greenroom.errors import BadRequest, Busy, GreenroomError
from greenroom.protocol.commands import COMMANDS

SMALL_EVENT_BYTES: Final = 64 * 1024
"""events up to this size are not counted against what all clients together may have waiting"""
RESERVED: Final = frozenset(
    {"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"}
)
"""names that Socket.IO itself uses: as events of a client they mean nothing"""


class Owner(Protocol):
    """What the intake needs of the door."""

    def own(self, work: Coroutine[Any, Any, None], name: str) -> None: ...

    def has_room(self, size: int) -> bool: ...

    def close_client(self, client: Client, code: str, message: str) -> None: ...


class Intake:
    def __init__(self, dispatcher: Dispatcher, counts: DoorCounts, owner: Owner) -> None:
        self._dispatcher = dispatcher
        self._counts = counts
        self._owner = owner

    def event(self, client: Client, arrived: Arrived) -> None:
        """Queue it, or refuse it at once."""
        self._counts.events_received += 1
        header = arrived.header
        event, arguments = header.event, list[Any]()
        try:
            if arrived.error is not None:
                raise arrived.error
            client.rate.count()
            binary = header.kind == wire.BINARY_EVENT
            event, arguments = wire.parse_event(header.body, arrived.attachments if binary else None)
            if event in RESERVED:
                _answer_reserved(client, event, header.ack_id)
                return
            self._enqueue(client, Message(event, arguments, header.ack_id, arrived.size))
        except GreenroomError as error:
            Request(client, event, arguments, header.ack_id).refuse(error.payload())
            if isinstance(error, Busy):
                self._counts.busy += 1
                if not client.patience.take():
                    self._owner.close_client(client, Busy.code, "this client keeps sending more than is taken")

    def _enqueue(self, client: Client, message: Message) -> None:
        """:raises Busy: too much waits already."""
        command = COMMANDS.get(message.event)
        if command is not None and command.overtakes:
            if client.overtaking >= client.limits.overtaking:
                raise Busy(f"{client.overtaking} of your cancellations are still at work")
            client.overtaking += 1
            self._owner.own(self._overtake(client, message), f"client {client.client_id}: {message.event}")
            return
        if command is not None and command.takes_long:
            if client.long_events >= client.limits.long_events:
                raise Busy(f"{client.long_events} of your installations are still at work; wait for one to end")
            client.long_events += 1
            self._owner.own(self._take_long(client, message), f"client {client.client_id}: {message.event}")
            return
        if not self._owner.has_room(message.size) or not client.inbox.put(message):
            raise Busy("too many of your events wait already; try again in a moment")

    async def _overtake(self, client: Client, message: Message) -> None:
        try:
            await self._dispatcher.handle(client, message)
        finally:
            client.overtaking -= 1

    async def _take_long(self, client: Client, message: Message) -> None:
        try:
            await self._dispatcher.handle(client, message)
        finally:
            client.long_events -= 1

    async def work(self, client: Client) -> None:
        """The client's events, one after the other. What it sent before it left is still done."""
        while (message := await client.inbox.get()) is not None:
            await client.outbox.room()
            await self._dispatcher.handle(client, message)
            # One client's events must not keep the loop from the others.
            await asyncio.sleep(0)
        if client.state is State.GONE:
            membership.forget(client)


def _answer_reserved(client: Client, event: str, ack_id: int | None) -> None:
    if ack_id is not None:
        error = BadRequest(f"{event} is a name of Socket.IO's own and means nothing as an event")
        Request(client, event, [], ack_id).refuse(error.payload())
