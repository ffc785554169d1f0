"""A foreign configuration on its way to ours: what was taken, from which key, and what was not."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from greenroom.config.problems import nearest

Way = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Ignored:
    """A key that has no meaning here, or an effect that the reader should know of."""

    way: Way
    text: str
    unknown: bool = False


@dataclass(slots=True)
class Mapped:
    """A foreign mapping being translated."""

    raw: Mapping[str, Any]
    values: dict[str, Any] = field(default_factory=dict)
    """under our names, nested"""
    ways: dict[Way, Way] = field(default_factory=dict)
    """our key -> the foreign one"""
    ignored: list[Ignored] = field(default_factory=list)
    unused: dict[str, Any] = field(default_factory=dict)
    """known keys of the other server that have no meaning here, as they are written"""

    def take(self, foreign: Way, ours: tuple[str, ...], value: Any) -> None:
        data = self.values
        for part in ours[:-1]:
            data = data.setdefault(part, {})
        data[ours[-1]] = value
        self.ways[ours] = foreign

    def ignore(self, foreign: Way, reason: str) -> None:
        name = ".".join(str(part) for part in foreign)
        self.ignored.append(Ignored(foreign, f"{name} is ignored: {reason}"))

    def unknown(self, foreign: Way, known: Iterable[str]) -> None:
        close = nearest(str(foreign[-1]), known)
        name = ".".join(str(part) for part in foreign)
        hint = f"; did you mean {close}?" if close else ""
        self.ignored.append(Ignored(foreign, f"{name} is not a known key{hint}", unknown=True))
