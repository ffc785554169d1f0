"""The Python client: connect to a server, choose, ask, and read text and voice while they come.

    async with greenroom.client.connect("http://127.0.0.1:9601") as room:
        async for received in room.ask("Hello, who are you?"):
            print(received.text, end="", flush=True)
            player.write(received.audio)

``await room.ask(...)`` gives the whole :class:`Answer` instead. ``received.event`` is the typed event, one of
:mod:`greenroom.protocol.events`. Errors are those of :mod:`greenroom.errors`.
"""

from pathlib import Path

from greenroom.client.answer import Answer
from greenroom.client.connection import DEFAULT_CLIENT, ConnectOptions
from greenroom.client.received import Missed, Received, Unknown
from greenroom.client.room import EventStream, Room
from greenroom.client.turn import Generation, Turn
from greenroom.client.wav import WavWriter, read_wav

DEFAULT_URL = "http://127.0.0.1:9601"

__all__ = [
    "DEFAULT_URL",
    "Answer",
    "ConnectOptions",
    "EventStream",
    "Generation",
    "Missed",
    "Received",
    "Room",
    "Turn",
    "Unknown",
    "WavWriter",
    "connect",
    "read_wav",
]


def connect(
    url: str = DEFAULT_URL,
    *,
    session: str = "main",
    token: str | None = None,
    role: str | None = None,
    plays: bool = False,
    debug: bool = False,
    client: str = DEFAULT_CLIENT,
    connect_timeout_s: float = 10.0,
    away_limit_s: float = 60.0,
    certificate: str | Path | None = None,
    insecure: bool = False,
) -> Room:
    """A room to enter with ``async with``; the arguments are explained at :class:`ConnectOptions`.

    :raises BadRequest: if ``url`` is no address of a server.
    """
    return Room(
        ConnectOptions(
            url=url,
            session=session,
            token=token,
            role=role,
            plays=plays,
            debug=debug,
            client=client,
            connect_timeout_s=connect_timeout_s,
            away_limit_s=away_limit_s,
            certificate=certificate,
            insecure=insecure,
        )
    )
