"""What every command has; see :mod:`greenroom.protocol.commands`."""

from enum import StrEnum
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from greenroom.protocol.grant import Grant
from greenroom.values import Access


class Kind(StrEnum):
    IMMEDIATE = "immediate"
    CHANGE = "change"
    JOB = "job"
    PRIVATE = "private"
    """a job of its caller alone, outside the session's order"""


class Reach(StrEnum):
    """What a command changes, or may: the session that it is sent to, or what all sessions share."""

    SESSION = "session"
    SERVER = "server"


class Command(BaseModel):
    """``command_id``: a repeat of it returns the first answer and does nothing again."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    event: ClassVar[str] = ""
    kind_of: ClassVar[Kind] = Kind.IMMEDIATE
    access: ClassVar[Access] = Access.VIEWER
    reach: ClassVar[Reach] = Reach.SESSION
    reply_event: ClassVar[str] = ""
    joins: ClassVar[bool] = False
    """sending it makes the client hear the session"""
    overtakes: ClassVar[bool] = False
    """handled before whatever else that client has sent"""
    takes_long: ClassVar[bool] = False
    """minutes, perhaps: handled beside what else that client sends, so that nothing waits for it"""

    command_id: Annotated[str, Field(max_length=128)] | None = None

    @classmethod
    def permit(cls, grant: Grant) -> None:
        """The one place that says who may send it; every door asks here, and the session once more.

        :raises Forbidden: the role is too low, or the token is for some sessions and this is for the server.
        """
        grant.require(cls.access, cls.event)
        if cls.reach is Reach.SERVER:
            grant.require_server(cls.event)

    def args(self) -> dict[str, Any]:
        """What ``job_started`` repeats: audio as ``true``, absent members left out."""
        given = self.model_dump(mode="python", exclude_none=True, exclude={"command_id"})
        return {key: True if isinstance(value, bytes) else value for key, value in given.items()}


class Change(Command):
    kind_of = Kind.CHANGE
    access = Access.PERFORMER


class JobCommand(Command):
    kind_of = Kind.JOB
    access = Access.PERFORMER
    joins = True
