"""The binding's place in a child: folders from the parent, secrets asked of it, external programs of its own."""

import json
import os
import threading
from pathlib import Path

from greenroom.bindings.discovery import FoundBinding
from greenroom.bindings.isolation.spec import HostSpec, descriptor
from greenroom.bindings.programs_on_demand import ProgramsOnDemand
from greenroom.bindings.roles import Place


class ChildPlaces:
    def __init__(self, spec: HostSpec) -> None:
        self._spec = spec
        self._ask = self._answer = -1
        self._asking = threading.Lock()
        # They end with this process, however it ends, and it with its parent.
        self._programs = ProgramsOnDemand(Path(spec.logs) if spec.logs else None)
        if spec.ask:
            self._ask = descriptor(spec.ask, writes=True)
            self._answer = descriptor(spec.answer, writes=False)

    def place(self, found: FoundBinding) -> Place:
        spec = self._spec
        return Place(
            found.id,
            found.folder,
            Path(spec.models),
            self._secret,
            Path(spec.assets),
            self._programs.get,
            found.card.program,
        )

    async def close(self) -> None:
        """Stop the programs that the binding has started."""
        await self._programs.close()

    def _secret(self, name: str, url: str) -> str | None:
        """Asked on two pipes, as a blocking question."""
        if self._ask < 0:
            return None
        with self._asking:
            return self._answered(name, url)

    def _answered(self, name: str, url: str) -> str | None:
        os.write(self._ask, json.dumps([name, url]).encode() + b"\n")
        answer = b""
        while not answer.endswith(b"\n"):
            piece = os.read(self._answer, 65_536)
            if not piece:
                return None
            answer += piece
        value = json.loads(answer)
        return value if isinstance(value, str) else None
