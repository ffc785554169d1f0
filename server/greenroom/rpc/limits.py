"""What one service may take of its server."""

from dataclasses import dataclass
from typing import Final

MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """:param threads: synchronous methods that run at once; ``async def`` methods need none.
    :param waiting: calls that wait for a thread; further ones are refused (503).
    :param json_bytes: of the JSON arguments of a call.
    :param file_bytes: of one file, which the method gets whole.
    :param message_bytes: of one websocket message.
    :param stream_bytes: of a stream that wait between its two ends, in each direction.
    :param unread_bytes: that wait for a client which may read only after it has sent its whole stream.
    :param stuck_s: how long such a client may read nothing before the call fails.
    :param idle_s: how long a websocket may be open without a call.
    """

    threads: int = 40
    waiting: int = 1000
    json_bytes: int = 64 * MIB
    file_bytes: int = 2048 * MIB
    message_bytes: int = 64 * MIB
    stream_bytes: int = MIB
    unread_bytes: int = 8 * MIB
    stuck_s: float = 30.0
    idle_s: float = 600.0
