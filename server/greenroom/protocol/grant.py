"""What a client may do: its role, and the sessions that it may do it in."""

from dataclasses import dataclass
from typing import Final

from greenroom.errors import Forbidden
from greenroom.values import Access

_NAMED: Final = 8
"""sessions that a sentence lists at most"""


@dataclass(frozen=True, slots=True)
class Grant:
    """``sessions``: those that it opens; empty: all."""

    access: Access
    sessions: frozenset[str] = frozenset()

    def opens(self, session: str) -> bool:
        return not self.sessions or session in self.sessions

    def session_or(self, default: str) -> str:
        """Where a client that names no session comes in: the default, or the first of those that it may."""
        return default if self.opens(default) else min(self.sessions)

    def require(self, needed: Access, what: str) -> None:
        """:raises Forbidden: ``what`` needs a higher role."""
        if self.access < needed:
            raise Forbidden(f"{what} needs the role {needed}; yours is {self.access}")

    def require_session(self, session: str) -> None:
        """:raises Forbidden: the token does not open it."""
        if not self.opens(session):
            raise Forbidden(f"your token does not open the session {session!r}")

    def require_server(self, what: str) -> None:
        """:raises Forbidden: ``what`` changes more than the sessions that the token opens. An owner may all the same:
        whoever sets paths and commands is held to no session."""
        if not self.sessions or self.access >= Access.OWNER:
            return
        names = sorted(self.sessions)
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        raise Forbidden(
            f"{what} changes the whole server, and your token is for {', '.join(names[:_NAMED])}{more} alone; "
            "use a token that is not bound to sessions (one of server.tokens without sessions), or the owner's"
        )
