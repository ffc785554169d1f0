"""What runs external programs, imported and built when the first binding needs it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from greenroom.bindings.programs import Programs


class ProgramsOnDemand:
    """:param logs: the folder for what programs print; ``None``: only their last words are kept"""

    def __init__(self, logs: Path | None) -> None:
        self._logs = logs
        self._programs: Programs | None = None

    def get(self) -> Programs:
        if self._programs is None:
            from greenroom.bindings.programs import Programs

            self._programs = Programs(self._logs)
        return self._programs

    async def close(self) -> None:
        """Stop every program."""
        if self._programs is not None:
            await self._programs.close()
