"""How often a client may ask: one limiter, with the same setting, at every door.

At Socket.IO a client is a connection. At the others, whose connections come and go, it is whoever asks at that door
from one address with one token; an unknown token counts as none, so that guessing tokens is bounded, too.
"""

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final

from greenroom.errors import Busy

PER_S: Final = 200.0
BURST: Final = 400
LIGHT: Final = 0.1
"""what a request counts that costs next to nothing and that some clients send with every packet of sound"""
_REMEMBERED: Final = 20_000
"""clients; of more, those that have asked longest ago start anew"""
_IPV6_SITE: Final = 64
"""bits: what lies behind them is one household's to choose from"""


class TooMany(Busy):
    """The client asks more often than it may. ``details["retry_after_s"]``: whole seconds until it may again."""


class TokenBucket:
    """``take()`` succeeds ``rate`` times a second on average, ``burst`` times at once.

    ``cost``: as how many requests one counts.
    """

    def __init__(self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._left = float(burst)
        self._at = clock()

    def take(self, cost: float = 1.0) -> bool:
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < cost:
            return False
        self._left -= cost
        return True

    def count(self, cost: float = 1.0) -> None:
        """:raises TooMany: not enough is left."""
        if not self.take(cost):
            raise TooMany(
                "you send more than this server takes from one client; try again in a moment",
                details={"retry_after_s": max(1, math.ceil((cost - self._left) / self._rate))},
            )


class Rates:
    """Of all clients that have no connection of their own."""

    def __init__(self, per_s: float = PER_S, burst: int = BURST, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s = per_s
        self._burst = burst
        self._clock = clock
        self._known: OrderedDict[tuple[str, ...], TokenBucket] = OrderedDict()

    def bucket(self) -> TokenBucket:
        """For one connection."""
        return TokenBucket(self._per_s, self._burst, self._clock)

    def count(self, *client: str, cost: float = 1.0) -> None:
        """One more request of this client. :raises TooMany: it has sent too many."""
        bucket = self._known.get(client)
        if bucket is None:
            bucket = self._known[client] = self.bucket()
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(client)
        bucket.count(cost)


def site(scope: Mapping[str, Any]) -> str:
    """Where a request comes from, as far as one client cannot choose it at will; empty for a Unix socket."""
    client = scope.get("client")
    return site_of(str(client[0])) if client else ""


def site_of(address: str) -> str:
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, _IPV6_SITE), strict=False))
    return str(found)
