"""What a door knows of a session: an awaitable handle, so that a session may one day live on another machine."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from greenroom.protocol.commands import Command
from greenroom.protocol.events import Event
from greenroom.protocol.grant import Grant
from greenroom.session.replay import ReplayLog
from greenroom.values import Access

Reply = Mapping[str, Any]


class Caller(Protocol):
    """The client on whose behalf a command runs."""

    @property
    def client_id(self) -> str: ...
    @property
    def label(self) -> str:
        """``name/version`` as the client calls itself, or its id: what ``state_changed.by`` says"""
        ...

    @property
    def grant(self) -> Grant:
        """its role, and the sessions that it may act on"""
        ...

    @property
    def access(self) -> Access:
        """the grant's role"""
        ...

    @property
    def debug(self) -> bool:
        """asked for ``prompt_built``"""
        ...

    def accept(self, reply: Reply) -> None:
        """Send the acknowledgement now, before anything that the command causes. Called at most once a command."""

    def send(self, event: Event, request_id: str) -> None:
        """An event for this client alone; the door numbers those of one ``request_id``."""


@runtime_checkable
class HearsModel(Protocol):
    """A caller that is also told what a model has said in all, before any filter has seen it."""

    def generated(self, job_id: str, text: str) -> None: ...


class SessionHandle(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def log(self) -> ReplayLog: ...

    async def execute(self, command: Command, caller: Caller) -> Reply:
        """Do what is asked and return the acknowledgement (for a job: when it is queued and durable).

        A job's or a private stream's acknowledgement is also given to ``caller.accept`` first.

        :raises GreenroomError: the failed acknowledgement.
        """
        ...

    async def state(self) -> Mapping[str, Any]: ...

    def join(self, caller: Caller, *, plays: bool) -> None:
        """The client hears the session from now on; the first with ``plays`` becomes the player."""

    def leave(self, client_id: str) -> None:
        """It no longer hears the session. Harmless if it did not."""

    def forget(self, client_id: str) -> None:
        """The client is gone: its private work ends."""


class Sessions(Protocol):
    async def get(self, name: str) -> SessionHandle:
        """The session, made or read from disk if need be. :raises BadRequest, Busy: bad name, too many sessions."""
        ...

    async def listing(self) -> list[dict[str, Any]]:
        """``{name, clients, jobs, personality}`` for each."""
        ...
