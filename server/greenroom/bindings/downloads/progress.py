"""How far a download is: bytes of all its files, speed, percent."""

import time
from collections import deque
from collections.abc import Callable
from typing import Final

from greenroom.bindings.installing.progress import Phase, Progress

_SPEED_OVER_S: Final = 5.0
_TOLD_EVERY_S: Final = 0.1


class Meter:
    """:param clock: seconds"""

    def __init__(self, report: Callable[[Progress], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._report = report
        self._clock = clock
        self._phase = Phase.PREPARING
        self._message = ""
        self._percent = 0.0
        self._sizes: dict[str, int | None] = {}
        self._there: dict[str, int] = {}
        self._fetched = 0
        """bytes that came over the network"""
        self._samples: deque[tuple[float, int]] = deque()
        self._told_at = -_TOLD_EVERY_S

    @property
    def total(self) -> int:
        """Bytes of the files whose size is known; it may grow."""
        return sum(max(size or 0, self._there.get(name, 0)) for name, size in self._sizes.items())

    @property
    def downloaded(self) -> int:
        return sum(self._there.values())

    def say(self, phase: Phase, message: str) -> None:
        self._phase, self._message = phase, message
        self._tell()

    def expect(self, name: str, size: int | None) -> None:
        """A file that belongs to it."""
        self._sizes[name] = size

    def expected(self, name: str) -> int | None:
        """Bytes of a file; ``None``: not known."""
        return self._sizes.get(name)

    def has(self, name: str, count: int) -> None:
        """So much of a file is here already."""
        self._there[name] = count
        self._moved()

    def came(self, name: str, count: int) -> None:
        """So many bytes more have come."""
        self._there[name] = self._there.get(name, 0) + count
        self._fetched += count
        self._moved()

    def done(self, message: str) -> None:
        self._phase, self._message, self._percent = Phase.DONE, message, 100.0
        self._tell()

    def _moved(self) -> None:
        known = all(size is not None for size in self._sizes.values())
        total = self.total
        if total and known:
            self._percent = max(self._percent, min(99.9, 100 * self.downloaded / total))
        now = self._clock()
        self._samples.append((now, self._fetched))
        while len(self._samples) > 1 and now - self._samples[0][0] > _SPEED_OVER_S:
            self._samples.popleft()
        if now - self._told_at >= _TOLD_EVERY_S:
            self._tell()

    def _tell(self) -> None:
        self._told_at = self._clock()
        self._report(
            Progress(
                self._phase, self._message, round(self._percent, 1), self.downloaded, self.total, round(self._speed())
            )
        )

    def _speed(self) -> float:
        if len(self._samples) < 2:
            return 0.0
        (first, before), (last, after) = self._samples[0], self._samples[-1]
        return (after - before) / (last - first) if last > first else 0.0
