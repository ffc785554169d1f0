"""What one caller hears of one installation: the beginning, each new phase, and now and then how far it is."""

import time
from dataclasses import dataclass, field
from typing import Final

from greenroom.bindings.installing.progress import Phase, Progress
from greenroom.protocol.events import InstallProgress, payload
from greenroom.session.handle import Caller, Reply
from greenroom.values import new_id

_TOLD_EVERY_PERCENT: Final = 1.0
_TOLD_EVERY_S: Final = 0.5
_NOTHING_YET: Final = Progress(Phase.PREPARING, "", 0.0, 0, 0, 0.0)


@dataclass(slots=True)
class InstallNews:
    """All events of one installation have one ``request_id``; the last of them is the answer itself."""

    caller: Caller
    binding: str
    model: str | None = None
    source: str | None = None
    """where the model comes from"""
    request_id: str = field(default_factory=new_id)
    start_time: str = field(default_factory=lambda: time.strftime("%Y-%m-%d %H:%M:%S"))
    count: int = 0
    latest: Progress = _NOTHING_YET
    told: Progress | None = None
    at: float = 0.0

    def report(self, progress: Progress) -> None:
        self.latest = progress
        if progress.phase is Phase.DONE or not self._worth(progress):
            return
        self.told, self.at = progress, time.monotonic()
        self.count += 1
        self.caller.send(self._event(progress), self.request_id)

    def reply(self) -> Reply:
        """The answer of an installation that is done."""
        return {**payload(self._event(self.latest)), "request_id": self.request_id, "n": self.count + 1}

    def _worth(self, progress: Progress) -> bool:
        return (
            self.told is None
            or progress.phase is not self.told.phase
            or progress.percent - self.told.percent >= _TOLD_EVERY_PERCENT
            or (time.monotonic() - self.at >= _TOLD_EVERY_S and progress != self.told)
        )

    def _event(self, progress: Progress) -> InstallProgress:
        return InstallProgress(
            binding_name=self.binding,
            binding_folder=self.binding,
            model_name=self.model,
            model_url=self.source,
            phase=str(progress.phase),
            message=progress.message,
            start_time=self.start_time,
            total_size=progress.total,
            downloaded_size=progress.downloaded,
            progress=progress.percent,
            speed=progress.speed,
        )
