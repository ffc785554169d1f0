"""One server with all of its doors open, and a client at each of them.

async with every_door(server) as doors:
    ana, bot, sdk, house = doors.ana, doors.bot, doors.sdk, doors.house
"""

import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openai import AsyncOpenAI

from e2e.conftest import make_home
from e2e.visitor import PATIENCE_S, Visitor, visitor
from fakes.jaison_clients import DiscordBot
from fakes.server_process import ServerProcess, running_server
from fakes.wyoming_client import AsyncClient, Event, Transcript, heard_until, wyoming

CONFIG = """
turn: {audio_lead_ms: 0}
operations: [{role: t2t, id: scripted}, {role: tts, id: scripted}, {role: stt, id: scripted}]
"""
MAIN: Any = {"session": "main"}
QUIET: Any = {"session": "main", "include_audio": "false"}


@dataclass(frozen=True, slots=True)
class OpenServer:
    process: ServerProcess
    wyoming_uri: str

    @property
    def url(self) -> str:
        return self.process.url

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def wyoming_port(self) -> int:
        return int(self.wyoming_uri.rpartition(":")[2])

    @property
    def ws_url(self) -> str:
        return self.url.replace("http", "ws", 1)

    def sdk(self, key: str = "none") -> AsyncOpenAI:
        return AsyncOpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0, timeout=PATIENCE_S)


@asynccontextmanager
async def open_server(
    folder: Path, config: str = CONFIG, *arguments: str, env: dict[str, str] | None = None
) -> AsyncGenerator[OpenServer, None]:
    """A real server in a process of its own, the binding ``scripted`` in its home, Wyoming on a free port."""
    home = make_home(folder, config)
    async with running_server(home, "--wyoming", "tcp://127.0.0.1:0", *arguments, env=env) as process:
        assert process.process.stdout is not None
        line = (await process.process.stdout.readline()).decode()
        found = re.search(r"also\s+(tcp://\S+) for wyoming", line)
        assert found is not None, line
        yield OpenServer(process, found[1])


@dataclass(frozen=True, slots=True)
class EveryDoor:
    """All in the session ``main``: ``ana`` by Socket.IO, ``bot`` by jaison's REST and websocket, ``sdk`` by OpenAI's
    API, ``house`` by Wyoming."""

    server: OpenServer
    ana: Visitor
    bot: DiscordBot
    sdk: AsyncOpenAI
    house: AsyncClient

    async def by_sdk(self, text: str, name: str = "Cleo", metadata: Any = MAIN) -> list[str]:
        """A turn, streamed. -> its pieces"""
        stream = await self.sdk.chat.completions.create(
            model="greenroom",
            messages=[{"role": "user", "content": text, "name": name}],
            stream=True,
            metadata=metadata,
        )
        return [chunk.choices[0].delta.content or "" async for chunk in stream]

    async def by_wyoming(self, text: str) -> list[Event]:
        """A turn. -> what came of it, to ``handled-stop``"""
        await self.house.write_event(Transcript(text=text).event())
        return await heard_until(self.house, "handled-stop")

    async def idle(self) -> None:
        """No job runs or waits, and Ana and the bot have been told everything."""
        while True:
            state = (await self.ana.done("session_state"))["state"]
            await self.ana.caught_up(state["seq"])
            if not state["jobs"]["running"] and not state["jobs"]["queued"]:
                break
            await self.ana.finished((state["jobs"]["running"] or state["jobs"]["queued"][-1])["job_id"])
        for job_id in self.jobs():
            await self.bot.frames.job(job_id)

    def jobs(self) -> list[str]:
        """In the order in which they started."""
        return [told["job_id"] for told in self.ana.named("job_started")]


@asynccontextmanager
async def every_door(server: OpenServer) -> AsyncGenerator[EveryDoor, None]:
    async with (
        visitor(server.url, session="main") as ana,
        DiscordBot.running(server.url, server.ws_url) as bot,
        server.sdk() as sdk,
        wyoming(server.wyoming_uri) as house,
    ):
        yield EveryDoor(server, ana, bot, sdk, house)


def handled(events: Sequence[Event]) -> str:
    """The whole answer, which its pieces add up to."""
    assert events[0].type == "handled-start" and events[-2].type == "handled", [one.type for one in events]
    pieces = [one.data["text"] for one in events[1:-2]]
    assert {one.type for one in events[1:-2]} <= {"handled-chunk"}
    text: str = events[-2].data["text"]
    assert "".join(pieces) == text
    return text
