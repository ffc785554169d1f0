"""What bodies of requests may hold, all of them together and each of its own, at every door that speaks HTTP."""

import asyncio
from typing import Final

from greenroom.errors import Busy, TooLarge, TooSlow

ALL_BODIES_BYTES: Final = 256 * 1024 * 1024
SILENT_S: Final = 30.0
"""how long nothing of a body may come"""


class Room:
    """For the bodies that are being read, or are at work."""

    def __init__(self, limit_bytes: int = ALL_BODIES_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._held_bytes = 0

    def take(self, size: int) -> None:
        """:raises Busy: there is none; what was taken is given back all the same."""
        self._held_bytes += size
        if self._held_bytes > self._limit_bytes:
            raise Busy("this server has no room for so large a request now; try again")

    def give_back(self, size: int) -> None:
        self._held_bytes -= size


def check_structure(body: bytes, *, nested: int, listed: int) -> None:
    """A few megabytes of brackets are parsed into gigabytes, while everybody waits: so they are counted first.

    :param nested: objects and lists that there may be. :param listed: commas, those in texts too.
    :raises TooLarge: there are more.
    """
    if len(body) > nested and body.count(b"{") + body.count(b"[") > nested:
        raise TooLarge(f"the body has more than {nested} objects and lists in it")
    if len(body) > listed and body.count(b",") > listed:
        raise TooLarge(f"the body has more than {listed} values in it")


def silence() -> asyncio.Timeout:
    """Around waiting for one piece of a body."""
    return asyncio.timeout(SILENT_S)


def too_silent() -> TooSlow:
    return TooSlow(f"nothing of the request's body came for {SILENT_S:g} s")
