"""How far this client has come in the session's numbered events: what is new, what is a repeat, what is missing.

    LIVE --gap--> ASKED --session_joined--> REPLAYING --first new event--> LIVE

At a gap the client joins once more from its last number and lets everything pass until the server repeats from there.
What the server does not repeat either is lost, and said to be.
"""

from dataclasses import dataclass
from enum import Enum, auto


class Verdict(Enum):
    TAKE = auto()
    DROP = auto()
    REJOIN = auto()
    """drop it, and ask the server to repeat what follows the cursor"""


class _State(Enum):
    LIVE = auto()
    ASKED = auto()
    REPLAYING = auto()


class Rejoined(Enum):
    FIRST = auto()
    RESUMED = auto()
    TRIMMED = auto()
    """the log no longer reached back; the same server goes on"""
    RESTARTED = auto()
    """the log was lost: another epoch"""


@dataclass(slots=True)
class Step:
    verdict: Verdict
    missed: range = range(0)


class Cursor:
    def __init__(self) -> None:
        self.epoch: str | None = None
        self.last_seq = 0
        self._state = _State.LIVE

    def joined(self, *, epoch: str, seq: int, resumed: bool) -> Rejoined:
        before = self.epoch
        if resumed and epoch == before:
            self._state = _State.REPLAYING
            return Rejoined.RESUMED
        self.epoch, self.last_seq, self._state = epoch, seq, _State.LIVE
        if before is None:
            return Rejoined.FIRST
        return Rejoined.TRIMMED if before == epoch else Rejoined.RESTARTED

    def give_up(self) -> None:
        """The gap cannot be filled: what comes next is taken, and what is missing is reported."""
        if self._state is _State.ASKED:
            self._state = _State.REPLAYING

    def take(self, first: int, last: int | None = None) -> Step:
        """An event that stands for the numbers ``first`` to ``last`` (default: one number) has come."""
        last = first if last is None else last
        if last <= self.last_seq:
            return Step(Verdict.DROP)
        missed = range(self.last_seq + 1, first)
        if missed and self._state is not _State.REPLAYING:
            asked = self._state is _State.ASKED
            self._state = _State.ASKED
            return Step(Verdict.DROP if asked else Verdict.REJOIN)
        self.last_seq, self._state = last, _State.LIVE
        return Step(Verdict.TAKE, missed)
