"""How many files and connections the process may have open."""

import contextlib
import sys
from typing import Final

WANTED: Final = 65_536
_FALLBACK: Final = 10_240
"""the most that macOS gives where it says that there is no bound"""
_UNKNOWN: Final = 8_192
_KEPT: Final = 256
"""for everything that is no connection of a client: database, log, engines, child processes"""


def raise_limit() -> int:
    """As high as the system allows: many start programs with 1024, which a thousand clients use up. -> what it is"""
    if sys.platform == "win32":
        return _UNKNOWN
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return WANTED
    most = WANTED if hard == resource.RLIM_INFINITY else min(hard, WANTED)
    for limit in (most, min(most, _FALLBACK)):
        if limit > soft:
            with contextlib.suppress(ValueError, OSError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
                return limit
    return min(soft, WANTED)


def connections_for(limit: int) -> int:
    """How many requests' connections there may be at once, with room left for what lasts: half of the descriptors."""
    return max(64, (limit - _KEPT) // 2)
