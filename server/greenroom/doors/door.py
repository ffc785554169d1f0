"""What every door that speaks HTTP or plain websockets is given, and what it gives: its routes on the one server.

A door knows sessions through :mod:`greenroom.session.handle` alone. Who may come in, from where and as what is decided
in :mod:`greenroom.doors.safety` for all of them, how often in :mod:`greenroom.doors.rates`, what may be told to whom of
a failure in :mod:`greenroom.doors.discretion`. Host, Origin where something may change, and the rate have been checked
before a route's endpoint runs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from starlette.requests import HTTPConnection
from starlette.routing import BaseRoute

from greenroom.doors.asgi import Receive, Scope, Send
from greenroom.doors.discretion import Discretion
from greenroom.doors.rates import LIGHT, Rates, site
from greenroom.doors.safety import Guard
from greenroom.errors import GreenroomError
from greenroom.protocol.events import Event
from greenroom.protocol.grant import Grant
from greenroom.session.handle import Reply, Sessions
from greenroom.session.house import House
from greenroom.values import Access, new_id


@dataclass(frozen=True, slots=True)
class Rooms:
    """The server, as a door sees it."""

    sessions: Sessions
    house: House
    guard: Guard
    default_session: str
    rates: Rates = field(default_factory=Rates)
    discretion: Discretion = field(default_factory=Discretion)


class Door(Protocol):
    """Made with ``Rooms``; close ends every connection at once and returns when nothing of it runs any more."""

    def routes(self) -> Sequence[BaseRoute]: ...

    async def refuse(self, error: GreenroomError, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or a websocket's handshake, with this failure, as the door's clients know failures."""
        ...

    @property
    def clients(self) -> int:
        """lasting connections"""
        ...

    async def close(self) -> None: ...


def grant_of(guard: Guard, connection: HTTPConnection) -> Grant:
    """What the request's token allows: ``Authorization: Bearer ...``, ``X-API-Key`` or ``?token=``, in this order.

    :raises Unauthorized: no token, or an unknown one, where the server wants one.
    """
    return guard.grant(token_of(connection))


def token_of(connection: HTTPConnection) -> str | None:
    scheme, _, value = connection.headers.get("authorization", "").partition(" ")
    token = value.strip() if scheme.lower() == "bearer" else ""
    return token or connection.headers.get("x-api-key") or connection.query_params.get("token")


def count_request(rooms: Rooms, door: str, connection: HTTPConnection, *, light: bool = False) -> None:
    """:param light: it counts less, unless it tries a token that is not known.

    :raises TooMany: its client has sent too many already.
    """
    token = token_of(connection)
    known = bool(token) and rooms.guard.knows(str(token))
    cost = LIGHT if light and (known or not token) else 1.0
    rooms.rates.count(door, site(connection.scope), str(token) if known else "", cost=cost)


def told(rooms: Rooms, connection: HTTPConnection, error: GreenroomError) -> GreenroomError:
    """What went wrong, as whoever asked may know it."""
    try:
        access = grant_of(rooms.guard, connection).access
    except GreenroomError:
        access = Access.VIEWER
    return rooms.discretion.error(error, access)


def _nothing(*_: object) -> None: ...


@dataclass(slots=True)
class DoorCaller:
    """A client that comes through a door other than Socket.IO; see :class:`greenroom.session.handle.Caller`."""

    label: str
    grant: Grant
    client_id: str = field(default_factory=new_id)
    debug: bool = False
    accepted: Callable[[Reply], None] = _nothing
    """told the acknowledgement, before anything that the command causes"""
    told: Callable[[Event, str], None] = _nothing
    """told the events that are for this client alone, with their ``request_id``"""

    @property
    def access(self) -> Access:
        return self.grant.access

    def accept(self, reply: Mapping[str, Any]) -> None:
        self.accepted(reply)

    def send(self, event: Event, request_id: str) -> None:
        self.told(event, request_id)
