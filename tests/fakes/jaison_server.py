"""jaison's two doors over a real session, behind a real uvicorn in the test's own event loop."""

import asyncio
import socket
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from fakes.started import started
from greenroom.app import Greenroom, ServeOptions, open_greenroom, prepare
from greenroom.doors.broadcast import BroadcastDoor
from greenroom.doors.door import Rooms
from greenroom.doors.rest import RestDoor
from greenroom.doors.safety import Guard
from greenroom.doors.web import uvicorn_settings
from greenroom.doors.web.app import Guarded
from greenroom.session.session import Session

SCRIPTED = Path(__file__).parent / "bindings"

CONFIG = """
operations:
  - {role: t2t, id: scripted}
  - {role: tts, id: scripted}
  - {role: stt, id: scripted}
"""


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()


@dataclass
class JaisonServer:
    greenroom: Greenroom
    session: Session
    rest: RestDoor
    broadcast: BroadcastDoor
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"


@asynccontextmanager
async def jaison_server(
    home: Path,
    config: str | None = CONFIG,
    *,
    env: Mapping[str, str] | None = None,
    guard: Guard | None = None,
    send_buffer: int | None = None,
    named: str | None = None,
) -> AsyncGenerator[JaisonServer, None]:
    """:param config: text of ``config.yaml``; ``None``: there is none.
    :param named: the configuration in ``configs/`` that it is started with.
    :param send_buffer: bytes of the kernel's buffer for each connection, so that a stalled reader is felt early.
    """
    home.mkdir(exist_ok=True)
    if config is not None:
        (home / "config.yaml").write_text(config, encoding="utf-8")
    if not (home / "bindings").exists():
        (home / "bindings").symlink_to(SCRIPTED, target_is_directory=True)
    async with open_greenroom(
        prepare(ServeOptions(home=home, config=Path(named) if named else None), dict(env or {}))
    ) as greenroom:
        guard = guard or Guard()
        rooms = Rooms(greenroom.sessions, greenroom.house, guard, "main")
        rest, broadcast = RestDoor(rooms), BroadcastDoor(rooms)
        app = Guarded(Starlette(routes=[*broadcast.routes(), *rest.routes()]), guard)
        listening = socket.socket()
        if send_buffer is not None:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", 0))
        server = _Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1, **uvicorn_settings()))
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        await started(server.ready, serving)
        try:
            session = await greenroom.sessions.get("main")
            yield JaisonServer(greenroom, session, rest, broadcast, listening.getsockname()[1])
        finally:
            await greenroom.close()
            await broadcast.close()
            await rest.close()
            server.should_exit = True
            await serving
            listening.close()
