"""What every door that speaks HTTP or plain websockets is given, and what it gives: its routes on the one server.

A door knows sessions through :mod:`greenroom.session.handle` alone. Who may come in, from where and as what is decided
in :mod:`greenroom.doors.safety` for all of them; Host and, where something may change, Origin have been checked before
a route's endpoint runs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from starlette.requests import HTTPConnection
from starlette.routing import BaseRoute

from greenroom.doors.safety import Grant, Guard
from greenroom.protocol.events import Event
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


class Door(Protocol):
    """Made with ``Rooms``; close ends every connection at once and returns when nothing of it runs any more."""

    def routes(self) -> Sequence[BaseRoute]: ...

    @property
    def clients(self) -> int:
        """lasting connections"""
        ...

    async def close(self) -> None: ...


def grant_of(guard: Guard, connection: HTTPConnection) -> Grant:
    """What the request's token allows: ``Authorization: Bearer ...``, ``X-API-Key`` or ``?token=``, in this order.

    :raises Unauthorized: no token, or an unknown one, where the server wants one.
    """
    scheme, _, value = connection.headers.get("authorization", "").partition(" ")
    token = value.strip() if scheme.lower() == "bearer" else ""
    return guard.grant(token or connection.headers.get("x-api-key") or connection.query_params.get("token"))


def _nothing(*_: object) -> None: ...


@dataclass(slots=True)
class DoorCaller:
    """A client that comes through a door other than Socket.IO; see :class:`greenroom.session.handle.Caller`."""

    label: str
    access: Access
    client_id: str = field(default_factory=new_id)
    debug: bool = False
    accepted: Callable[[Reply], None] = _nothing
    """told the acknowledgement, before anything that the command causes"""
    told: Callable[[Event, str], None] = _nothing
    """told the events that are for this client alone, with their ``request_id``"""

    def accept(self, reply: Mapping[str, Any]) -> None:
        self.accepted(reply)

    def send(self, event: Event, request_id: str) -> None:
        self.told(event, request_id)
