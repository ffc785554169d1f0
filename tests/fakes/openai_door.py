"""OpenAI's door over a whole server, behind a real uvicorn on a real socket, and its clients."""

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import uvicorn
import yaml
from openai import AsyncOpenAI
from starlette.applications import Starlette

from fakes.openai_server import FakeOpenAI
from fakes.started import started
from greenroom.app import Greenroom, ServeOptions, open_greenroom, prepare
from greenroom.doors.door import Rooms
from greenroom.doors.openai import OpenAIDoor
from greenroom.doors.safety import Guard, Token
from greenroom.doors.web.app import uvicorn_settings
from greenroom.doors.web.guarded import Guarded
from greenroom.protocol.events import Event, JobFinished, JobStarted
from greenroom.session.handle import SessionHandle
from greenroom.session.replay import Entry
from greenroom.values import Access, Role

SCRIPTED = Path(__file__).parent / "bindings"
SPEAKING = Path(__file__).parent / "speaking"
SCRIPTED_OPERATIONS = [
    {"role": "t2t", "id": "scripted"},
    {"role": "tts", "id": "scripted"},
    {"role": "stt", "id": "scripted"},
]


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()


class WatchedDoor(OpenAIDoor):
    """Tells when a request comes and when it is done with."""

    def __init__(self, rooms: Rooms) -> None:
        super().__init__(rooms)
        self._news = asyncio.Event()

    async def serve(self, scope: Any, receive: Any, send: Any) -> None:
        self._news.set()
        try:
            await super().serve(scope, receive, send)
        finally:
            self._news.set()

    async def until_clients(self, count: int) -> None:
        async with asyncio.timeout(10):
            while self.clients != count:
                self._news.clear()
                await self._news.wait()


@dataclass
class Served:
    """``http``: a bare client whose paths begin at the server's root."""

    greenroom: Greenroom
    door: WatchedDoor
    url: str
    http: httpx.AsyncClient

    @property
    def base_url(self) -> str:
        return f"{self.url}/v1"

    def client(self, key: str = "any") -> AsyncOpenAI:
        return AsyncOpenAI(base_url=self.base_url, api_key=key, max_retries=0, timeout=60)

    async def told(self, session: str = "main") -> list[Event]:
        """What was told in a session until the last of its turns ended."""
        room = await self.greenroom.sessions.get(session)
        news = asyncio.Event()
        leave = room.log.subscribe(news.set)
        try:
            async with asyncio.timeout(10):
                while len([one for one in _events(room) if isinstance(one, JobFinished)]) < len(
                    [one for one in _events(room) if isinstance(one, JobStarted)]
                ):
                    news.clear()
                    await news.wait()
        finally:
            leave()
        return _events(room)

    async def stage(self, role: Role = Role.T2T) -> Any:
        """The scripted backend's own record of what was asked of it."""
        session = await self.greenroom.sessions.get("main")
        loaded = await session.operations.hold(role)
        await loaded.release()
        return loaded.operation.engine


def _events(room: SessionHandle) -> list[Event]:
    found: list[Event] = []
    cursor = 0
    while isinstance(entry := room.log.after(cursor), Entry):
        assert entry.event is not None
        found.append(entry.event)
        cursor = entry.seq
    return found


@asynccontextmanager
async def served(
    home: Path,
    operations: Sequence[dict[str, Any]],
    *,
    tokens: Sequence[Token] = (),
    bindings: Path = SCRIPTED,
    **config: Any,
) -> AsyncIterator[Served]:
    """A server with these operations; ``bindings``: a folder of more, ``config``: sections of ``config.yaml``."""
    home.mkdir(exist_ok=True)
    written = {"operations": list(operations), "turn": {"audio_lead_ms": 0}, **config}
    (home / "config.yaml").write_text(yaml.safe_dump(written), encoding="utf-8")
    if not (home / "bindings").exists():
        (home / "bindings").symlink_to(bindings, target_is_directory=True)
    async with open_greenroom(prepare(ServeOptions(home=home), {})) as greenroom:
        guard = Guard(tokens=tokens, allowed_origins=["https://page.example.org"])
        door = WatchedDoor(Rooms(greenroom.sessions, greenroom.house, guard, "main"))
        # The protocol named, as asyncio sends small pieces at once only on sockets that say they are TCP.
        listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listening.bind(("127.0.0.1", 0))
        app = Guarded(Starlette(routes=list(door.routes())), guard)
        server = _Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1, **uvicorn_settings()))
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        await started(server.ready, serving)
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        try:
            async with httpx.AsyncClient(base_url=url, timeout=60) as http:
                yield Served(greenroom, door, url, http)
        finally:
            await door.close()
            server.should_exit = True
            await serving
            listening.close()
            await greenroom.close()


def with_backend(fake: FakeOpenAI, **options: Any) -> list[dict[str, Any]]:
    """Every role by the fake server that speaks OpenAI's API."""
    models = {"t2t": "fake-chat", "tts": "tts-fake", "stt": "whisper-fake", "embedding": "embedding-fake"}
    return [
        {"role": role, "id": "openai", "base_url": fake.base_url, "model": model, **(options if role == "t2t" else {})}
        for role, model in models.items()
    ]


def owner(value: str, *sessions: str) -> Token:
    return Token(value, Access.OWNER, frozenset(sessions))


def performer(value: str, *sessions: str) -> Token:
    return Token(value, Access.PERFORMER, frozenset(sessions))


def viewer(value: str) -> Token:
    return Token(value, Access.VIEWER)
