"""What every command has; see :mod:`greenroom.protocol.commands`."""

from enum import StrEnum
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from greenroom.values import Access


class Kind(StrEnum):
    IMMEDIATE = "immediate"
    CHANGE = "change"
    JOB = "job"
    PRIVATE = "private"
    """a job of its caller alone, outside the session's order"""


class Command(BaseModel):
    """``command_id``: a repeat of it returns the first answer and does nothing again."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    event: ClassVar[str] = ""
    kind_of: ClassVar[Kind] = Kind.IMMEDIATE
    access: ClassVar[Access] = Access.VIEWER
    reply_event: ClassVar[str] = ""
    joins: ClassVar[bool] = False
    """sending it makes the client hear the session"""
    overtakes: ClassVar[bool] = False
    """handled before whatever else that client has sent"""
    takes_long: ClassVar[bool] = False
    """minutes, perhaps: handled beside what else that client sends, so that nothing waits for it"""

    command_id: Annotated[str, Field(max_length=128)] | None = None

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
