"""One line of what ``greenroom doctor`` finds."""

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    OK = "ok"
    NOTE = "note"
    """something optional is missing"""
    FAILED = "FAILED"
    """the server would not work"""


@dataclass(frozen=True, slots=True)
class Finding:
    what: str
    status: Status
    sentence: str
