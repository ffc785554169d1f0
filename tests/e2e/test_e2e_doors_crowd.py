"""Two dozen clients of every door, in several sessions at once: nothing is lost, twice or in another order."""

import asyncio
import shutil
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from websockets.asyncio.client import connect

from e2e.visitor import Visitor, end_of, visitor
from fakes.every_door import OpenServer, open_server
from fakes.mixed_crowd import Account, FrameAccount, LineClient, Script, SocketAccount, StreamClient, same_order

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]

METRONOME = Path(__file__).parents[2] / "benchmarks" / "bindings" / "metronome"
WORDS, PER_S = 30, 300.0
SENTENCE = (" The", " old", " stage", " light", " waits,", " and", " a", " voice", " carries", " far", " tonight.")
CONFIG = f"""
operations:
  - {{role: t2t, id: metronome, tokens: {WORDS}, tokens_per_s: {PER_S}}}
  - {{role: tts, id: metronome, ms_per_character: 10}}
turn: {{audio_lead_ms: 0}}
"""
SESSIONS = ("main", "side", "back")
TURNS = 3


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[OpenServer, None]:
    home = tmp_path_factory.mktemp("crowd")
    shutil.copytree(METRONOME, home / "bindings" / "metronome", ignore=shutil.ignore_patterns("__pycache__"))
    async with open_server(home, CONFIG) as running:
        yield running


async def test_a_crowd(server: OpenServer) -> None:
    script = Script.repeating(SENTENCE, WORDS - 1, PER_S)
    async with AsyncExitStack() as stack, asyncio.timeout(150):
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=server.url, timeout=60))
        sockets: dict[str, list[Visitor]] = {}
        frames: dict[str, list[FrameAccount]] = {}
        listening: list[asyncio.Task[None]] = []

        async def listen(session: str, account: FrameAccount, ready: asyncio.Event) -> None:
            async with connect(f"{server.ws_url}/?session={session}") as socket:
                ready.set()
                async for text in socket:
                    account.heard(str(text), time.monotonic())

        for session in SESSIONS:
            sockets[session] = [await stack.enter_async_context(visitor(server.url, session=session)) for _ in range(3)]
            frames[session] = [FrameAccount(script) for _ in range(2)]
            for of_frames in frames[session]:
                ready = asyncio.Event()
                listening.append(asyncio.create_task(listen(session, of_frames, ready)))
                await ready.wait()
        streams = [await StreamClient.to(server.port, Account(script), session) for session in (*SESSIONS, None, None)]
        lines = [await LineClient.to(server.wyoming_port, Account(script)) for _ in range(4)]

        async def by_socket(asker: Visitor) -> None:
            for _ in range(TURNS):
                assert end_of(await asker.run("response", text="Speak."))["success"]

        async def by_rest(session: str) -> None:
            line = {"user": "Ben", "content": "Speak."}
            for _ in range(TURNS):
                await http.post("/api/context/conversation/text", json=line, params={"session": session})
                answer = await http.post("/api/response", json={}, params={"session": session})
                await frames[session][0].until_ended(answer.json()["response"]["job_id"])

        async def by_stream(client: StreamClient) -> None:
            for _ in range(TURNS):
                await client.ask("Speak.")

        async def by_line(client: LineClient) -> None:
            for _ in range(TURNS):
                await client.speak("The curtain rises.")
                await client.ask("Speak.")

        async with asyncio.TaskGroup() as group:
            for session in SESSIONS:
                group.create_task(by_socket(sockets[session][0]))
                group.create_task(by_rest(session))
            for stream in streams:
                group.create_task(by_stream(stream))
            for line in lines:
                group.create_task(by_line(line))

        for session in SESSIONS:
            accounts: list[Account] = [*frames[session]]
            last = await sockets[session][0].job("context_configure")
            for account in accounts:
                await account.until_ended(last)
            for one in sockets[session]:
                await one.finished(last)
                heard = SocketAccount(script)
                for told, at in zip(one.told, one.times, strict=True):
                    if isinstance(told.data, dict):
                        heard.heard(told.name, told.data, at)
                accounts.append(heard)
            assert same_order(accounts) == []
            assert [problem for account in accounts for problem in account.wrong] == []
            # Socket.IO's turns, the lines and the turns of REST, the stream's, the last job, and Wyoming's in main.
            wanted = TURNS * (1 + 2 + 1 + (len(lines) if session == "main" else 0)) + 1
            assert {len(account.ended) for account in accounts} == {wanted}
        accounts = [*(stream.account for stream in streams), *(line.account for line in lines)]
        assert [problem for account in accounts for problem in account.wrong] == []
        for stream in streams:
            stream.close()
        for line in lines:
            line.close()
        for task in listening:
            task.cancel()
        await asyncio.gather(*listening, return_exceptions=True)
    assert "Traceback" not in server.process.logged()
