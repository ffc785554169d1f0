"""What can be wrong with a configuration, and how it is told: every problem at once, each with its place."""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from greenroom.errors import BadRequest

UNKNOWN_FIELD = "config_unknown_field"
UNKNOWN_FILE = "config_unknown_file"
MAX_TOLD = 50
"""problems; who sends a thousand wrong keys is not answered with a thousand sentences, which everybody would hear"""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value was given: a file, an environment variable, the command line, a client's event."""

    label: str
    line: int = 0
    """counted from 1; 0 if there are no lines"""
    column: int = 0

    def __str__(self) -> str:
        place = self.label
        if self.line:
            place += f", line {self.line}"
        if self.column:
            place += f", column {self.column}"
        return place


@dataclass(frozen=True, slots=True)
class Problem:
    origin: Origin
    key: str
    """dotted; empty for the file as a whole"""
    text: str
    unknown_key: bool = False

    def __str__(self) -> str:
        return f"{self.origin}: {self.key}: {self.text}" if self.key else f"{self.origin}: {self.text}"

    def payload(self) -> dict[str, Any]:
        return {"source": self.origin.label, "line": self.origin.line, "key": self.key, "problem": self.text}


class ConfigError(BadRequest):
    """A configuration that cannot be used. The message names every problem, one a line, up to :data:`MAX_TOLD`."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        kind = UNKNOWN_FIELD if any(problem.unknown_key for problem in problems) else None
        told = problems[:MAX_TOLD]
        message = "\n".join(str(problem) for problem in told)
        if len(problems) > len(told):
            message += f"\n... and {len(problems) - len(told)} more"
        super().__init__(message, kind=kind, details={"problems": [problem.payload() for problem in told]})
        self.problems = tuple(problems)


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that is most like ``name``; empty if none is like it."""
    by_lower = {candidate.lower(): candidate for candidate in known}
    close = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[close[0]] if close else ""
