"""What a child is told when it starts: in its environment, which, unlike its arguments, other users cannot read."""

import json
import os
import sys
from collections.abc import MutableMapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Self

VARIABLE: Final = "GREENROOM_BIND_SPEC"
READY: Final = "\x1egreenroom-binding ready "
"""begins the line in which a child says where it listens"""
RECORD: Final = "\x1egreenroom-binding log "
"""begins a line that is a log record as JSON: level, logger, message, ids of the session and the job"""


@dataclass(frozen=True, slots=True)
class HostSpec:
    binding_id: str
    folder: str
    models: str
    assets: str
    token: str
    listen: str
    """``unix:/path`` or ``http://host:port``, port 0 for any"""
    ask: str = ""
    """descriptor on which the child asks for secrets; empty: it has none to ask for"""
    answer: str = ""
    log_level: int = 20
    logs: str = ""
    """folder for what external programs print; empty: only their last words are kept"""

    def text(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def take(cls, environ: MutableMapping[str, str]) -> Self:
        """Read it, and leave nothing of it behind for what the binding starts itself."""
        text = environ.pop(VARIABLE, "")
        if not text:
            raise SystemExit("a binding's process is started by Greenroom; to start one by hand: greenroom bind serve")
        return cls(**json.loads(text))

    @property
    def folder_path(self) -> Path:
        return Path(self.folder)


def descriptor(name: str, *, writes: bool) -> int:
    """The descriptor that :func:`greenroom.rpc.processes.passing.name_of` has named, not to be inherited further."""
    if sys.platform == "win32":
        import msvcrt

        return msvcrt.open_osfhandle(int(name), os.O_WRONLY if writes else os.O_RDONLY)
    os.set_inheritable(int(name), False)
    return int(name)
