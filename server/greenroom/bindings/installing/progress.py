"""How far an installation is, read from what pip or uv says line by line.

    Collecting torch                               -> another package
      Downloading torch-2.13.0-....whl (812.5 MB)  -> another file, of about this size
    Progress 262144 of 851968000                   -> bytes of that file (pip from 24.1 on)
    Building wheel for toy (pyproject.toml): ...   -> phase building
    Installing collected packages: torch, ...      -> phase installing

How much there is to fetch shows only on the way, so the percentage follows whatever is behind: the bytes of the files
known so far, or the count of packages known so far. It never falls.
"""

import re
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Phase(StrEnum):
    PREPARING = "preparing"
    RESOLVING = "resolving"
    DOWNLOADING = "downloading"
    BUILDING = "building"
    INSTALLING = "installing"
    CHECKING = "checking"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Progress:
    phase: Phase
    message: str
    percent: float
    downloaded: int
    """bytes"""
    total: int
    """bytes of all files known so far; it grows"""
    speed: float
    """bytes a second, over the last seconds"""


_RESOLVING_FROM, _FETCHED, _BUILT, _INSTALLED = 3.0, 80.0, 85.0, 97.0
_SPEED_OVER_S = 5.0
_UNITS = {"": 1, "k": 1000, "M": 1000**2, "G": 1000**3, "Ki": 1024, "Mi": 1024**2, "Gi": 1024**3}
_SIZE = r"\((?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[kKMG]?i?)(?:B|bytes)\)"

_COLLECTING = re.compile(r"^(?:Collecting|Processing) (?P<what>\S+)")
_RESOLVED = re.compile(r"^Resolved (?P<count>\d+) packages?")
_FILE = re.compile(rf"^\s*Downloading (?P<what>\S+) {_SIZE}$")
_BYTES = re.compile(r"^Progress (?P<done>\d+) of (?P<total>\d+)$")
_FETCHED_ONE = re.compile(r"^\s*Downloaded (?P<what>\S+)")
_BUILDING = re.compile(
    r"^\s*(?:Building wheel for (?P<wheel>\S+) .*started"
    r"|(?P<step>Preparing metadata|Getting requirements to build wheel|Installing build dependencies).*started"
    r"|Building (?P<uv>\S+)$)"
)
_INSTALLING = re.compile(r"^(?:Installing collected packages: (?P<names>.*)|Prepared (?P<count>\d+) packages?.*)$")
_ENDED = re.compile(r"^(?:Successfully installed|Installed \d+ packages?)")


class Tracker:
    """:param clock: seconds"""

    def __init__(self, report: Callable[[Progress], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._report = report
        self._clock = clock
        self._phase = Phase.PREPARING
        self._message = "making the environment"
        self._percent = 0.0
        self._files: dict[str, tuple[int, int]] = {}
        """bytes fetched and in all, by name"""
        self._current = ""
        self._finished_files = 0
        self._packages: set[str] = set()
        self._resolved = 0
        self._to_install = 0
        self._samples: deque[tuple[float, int]] = deque()

    @property
    def total(self) -> int:
        return sum(size for _, size in self._files.values())

    @property
    def downloaded(self) -> int:
        return sum(min(done, size) for done, size in self._files.values())

    @property
    def downloading(self) -> bool:
        return self._phase is Phase.DOWNLOADING

    @property
    def installing(self) -> bool:
        return self._phase is Phase.INSTALLING

    @property
    def progress(self) -> Progress:
        return Progress(
            self._phase, self._message, round(self._percent, 1), self.downloaded, self.total, round(self._speed())
        )

    def begin(self) -> None:
        self._tell()

    def line(self, line: str) -> None:
        """What the installer has just said."""
        if found := _BYTES.match(line):
            self._files[self._current] = (int(found["done"]), int(found["total"]))
            self._fetching()
        elif found := _FILE.match(line):
            if not found["what"].endswith(".metadata"):
                self._next_file(found["what"], round(float(found["number"]) * _UNITS[_unit(found["unit"])]))
        elif found := _FETCHED_ONE.match(line):
            self._complete(found["what"])
            self._fetching()
        elif found := _COLLECTING.match(line):
            self._packages.add(found["what"])
            self._complete(self._current)
            self._move(Phase.RESOLVING, f"looking at {_short(found['what'])}", _RESOLVING_FROM)
        elif found := _RESOLVED.match(line):
            self._resolved = int(found["count"])
            self._move(Phase.RESOLVING, f"{found['count']} packages are needed", _RESOLVING_FROM)
        elif found := _BUILDING.match(line):
            what = found["wheel"] or found["uv"]
            building = f"building {_short(what)}" if what else f"building: {found['step'].lower()}"
            self._complete(self._current)
            self._move(Phase.BUILDING, building, _FETCHED if found["wheel"] else self._percent)
        elif found := _INSTALLING.match(line):
            for name in self._files:
                self._complete(name)
            self._to_install = int(found["count"] or len((found["names"] or "").split(",")))
            self._move(Phase.INSTALLING, f"installing {self._to_install} packages", _BUILT)
        elif _ENDED.match(line):
            self._move(Phase.INSTALLING, "installed", _INSTALLED)

    def bytes_on_disk(self, count: int) -> None:
        """For a pip that counts none itself: how large the file that is being fetched has become."""
        if self._current in self._files:
            done, size = self._files[self._current]
            if done < count:
                self._files[self._current] = (min(count, size), size)
                self._fetching()

    def packages_there(self, count: int) -> None:
        """How many packages stand in the environment while they are being installed."""
        if self.installing and 0 < count < self._to_install:
            share = count / self._to_install
            message = f"installing: {count} of {self._to_install} packages"
            self._move(Phase.INSTALLING, message, _BUILT + (_INSTALLED - _BUILT) * share)

    def checking(self) -> None:
        self._move(Phase.CHECKING, "checking what was installed", _INSTALLED)

    def done(self, message: str) -> None:
        self._move(Phase.DONE, message, 100.0)

    def _next_file(self, what: str, size: int) -> None:
        # uv fetches several at once and says when each is there; pip goes on to the next when one is there.
        if what.endswith((".whl", ".tar.gz", ".zip")):
            self._complete(self._current)
        self._current = what
        self._files[what] = (0, size)
        self._fetching()

    def _complete(self, name: str) -> None:
        if name in self._files and self._files[name][0] < self._files[name][1]:
            self._files[name] = (self._files[name][1], self._files[name][1])

    def _fetching(self) -> None:
        complete = sum(done >= size for done, size in self._files.values())
        parts = sum(done / size if size else 1.0 for done, size in self._files.values())
        packages = max(len(self._packages), self._resolved, len(self._files), 1)
        share = min(self.downloaded / self.total if self.total else 0.0, parts / packages)
        message = f"downloading {_short(self._current)}" if complete < len(self._files) else "downloaded"
        self._move(Phase.DOWNLOADING, message, _RESOLVING_FROM + (_FETCHED - _RESOLVING_FROM) * share)

    def _move(self, phase: Phase, message: str, percent: float) -> None:
        self._phase, self._message = phase, message
        self._percent = max(self._percent, percent)
        now = self._clock()
        self._samples.append((now, self.downloaded))
        while len(self._samples) > 1 and now - self._samples[0][0] > _SPEED_OVER_S:
            self._samples.popleft()
        self._tell()

    def _speed(self) -> float:
        if len(self._samples) < 2:
            return 0.0
        (first, before), (last, after) = self._samples[0], self._samples[-1]
        return (after - before) / (last - first) if last > first else 0.0

    def _tell(self) -> None:
        self._report(self.progress)


def _unit(text: str) -> str:
    """pip writes kB, uv KiB."""
    return text[:1].replace("K", "k" if text == "K" else "K") + text[1:]


def _short(what: str) -> str:
    """Name and version of a wheel, the file's name of any other path or URL."""
    name = what.rstrip("/").replace("\\", "/").rpartition("/")[2] or what
    return "-".join(name.split("-")[:2]) if name.endswith(".whl") else name
