"""What ``greenroom serve`` was told; ``None`` where the configuration decides."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ServeOptions:
    home: Path | None = None
    config: Path | None = None
    host: str | None = None
    port: int | None = None
    token: str | None = None
    """the owner's"""
    log_level: str | None = None
    insecure: bool = False
    """listen beyond this machine without tokens"""


def serve(options: ServeOptions) -> int:
    """-> exit code. :raises GreenroomError: why the server does not start."""
    from greenroom.app import run

    return run(options)
