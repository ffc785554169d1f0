"""Who acts on which session, and who hears it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from greenroom import __version__
from greenroom.doors.socketio.client import Client
from greenroom.protocol import PROTOCOL_VERSION
from greenroom.protocol.events import Event, SessionJoined, for_viewers
from greenroom.session.handle import SessionHandle
from greenroom.values import Access

SERVER: Mapping[str, Any] = {"name": "greenroom", "version": __version__, "protocol": PROTOCOL_VERSION}


@dataclass(frozen=True, slots=True)
class Arrival:
    """A client about to hear a session: from where on, and what it is told first."""

    handle: SessionHandle
    cursor: int
    resumed: bool
    state: Mapping[str, Any]


async def prepare(handle: SessionHandle, epoch: str | None, last_seq: int | None) -> Arrival:
    """With the current epoch and a number that the log still reaches, what follows it comes; else only what is new."""
    log = handle.log
    cursor, resumed = log.seq, False
    if last_seq is not None and epoch == log.epoch and log.reaches(last_seq):
        cursor, resumed = last_seq, True
    # The cursor is fixed before the state is read: an event between the two is heard twice rather than never.
    state = await handle.state()
    if not log.reaches(cursor):
        cursor, resumed = log.seq, False
    return Arrival(handle, cursor, resumed, state)


def join(client: Client, arrival: Arrival, *, plays: bool) -> SessionJoined:
    """From now on the client acts on that session and hears it; any other it leaves."""
    handle = arrival.handle
    act_on(client, handle)
    handle.join(client, plays=plays)
    client.hears = True
    joined = SessionJoined(
        session=handle.name,
        role=str(client.access),
        epoch=handle.log.epoch,
        seq=arrival.cursor,
        resumed=arrival.resumed,
        missed=handle.log.seq - arrival.cursor if arrival.resumed else 0,
        server=SERVER,
        state=arrival.state,
    )
    client.tell(joined)
    client.outbox.follow(handle.name, handle.log, arrival.cursor, shown=_shown_to(client))
    return joined


def _shown_to(client: Client) -> Callable[[Event], Event] | None:
    """How the session's events look to this client; ``None``: as they are."""
    if client.access >= Access.OWNER:
        return None
    discretion, access = client.discretion, client.access
    if access >= Access.PERFORMER:
        return lambda event: discretion.event(event, access)
    return lambda event: discretion.event(for_viewers(event), access)


def act_on(client: Client, handle: SessionHandle) -> None:
    if client.session is not None and client.session.name != handle.name:
        leave(client)
    client.session = handle
    client.touched[handle.name] = handle


def leave(client: Client) -> None:
    """Stop hearing; it still acts on the session."""
    client.outbox.unfollow()
    client.hears = False
    if client.session is not None:
        client.session.leave(client.client_id)


def forget(client: Client) -> None:
    """The client is gone: every session that it ever acted on ends its private work."""
    client.outbox.unfollow()
    client.hears = False
    for handle in client.touched.values():
        handle.forget(client.client_id)
