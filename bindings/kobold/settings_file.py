"""What of a settings file (.kcpps) has a say against KoboldCPP's command line, and so must be known here."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from greenroom.errors import Unavailable

USUAL_PORT: Final = 5001


@dataclass(frozen=True, slots=True)
class Settings:
    port: int | None = None
    """one that was chosen in the launcher: KoboldCPP listens there, whatever ``--port`` says"""
    password: str | None = None


def read_settings(path: Path) -> Settings:
    """:raises Unavailable: for a file that KoboldCPP could not read, or with which it could not be reached from here"""
    try:
        read = json.loads(path.read_text(encoding="utf-8", errors="ignore"))
    except (OSError, ValueError) as error:
        raise Unavailable(f"kcpps_filepath: {path} cannot be read ({error}); save it anew in the launcher") from error
    if not isinstance(read, dict):
        raise Unavailable(f"kcpps_filepath: {path} holds no settings; save it anew in KoboldCPP's launcher")
    if read.get("ssl"):
        raise Unavailable(
            f"kcpps_filepath: {path} asks for SSL, which its own certificate would break: take ssl out, as it listens "
            "on this machine alone; or start KoboldCPP yourself and set url"
        )
    port, password = read.get("port_param"), read.get("password")
    chosen = isinstance(port, int) and not isinstance(port, bool) and port != USUAL_PORT and 0 < port < 65536
    return Settings(port if chosen else None, password.strip() or None if isinstance(password, str) else None)
