"""A client that leaves stops the backend at once; a connection serves many requests."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from fakes.openai_door import SCRIPTED_OPERATIONS, served, with_backend
from fakes.openai_server import FakeOpenAI
from greenroom.protocol.events import JobFinished

CHAT = "/v1/chat/completions"


@pytest.fixture
async def fake() -> AsyncIterator[FakeOpenAI]:
    async with FakeOpenAI(first_token_s=0, tokens_per_s=50) as backend:
        yield backend


def body(model: str, **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "an answer of 2000 tokens"}], **more}


@pytest.mark.parametrize("model", ["openai/fake-chat", "greenroom"])
async def test_leaving_in_the_middle_of_a_stream(fake: FakeOpenAI, tmp_path: Path, model: str) -> None:
    async with served(tmp_path, with_backend(fake)) as server:
        async with server.http.stream("POST", CHAT, json=body(model, stream=True)) as answer:
            async for line in answer.aiter_lines():
                if '"content": "Well"' in line:
                    break
        async with asyncio.timeout(10):
            await fake.of("/chat/completions")[0].ended.wait()
        assert fake.of("/chat/completions")[0].lost is not None
        await server.door.until_clients(0)


async def test_leaving_before_a_whole_answer(fake: FakeOpenAI, tmp_path: Path) -> None:
    async with served(tmp_path, with_backend(fake)) as server:
        asking = asyncio.create_task(server.http.post(CHAT, json=body("greenroom")))
        async with asyncio.timeout(10):
            await fake.asked.wait()
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            await fake.of("/chat/completions")[0].ended.wait()
        assert fake.of("/chat/completions")[0].lost is not None


async def test_leaving_while_it_speaks(fake: FakeOpenAI, tmp_path: Path) -> None:
    fake.settings.speech_first_byte_s = 0
    fake.settings.speech_real_time = 1
    async with served(tmp_path, with_backend(fake)) as server:
        spoken = {"model": "tts-1", "input": "A sentence that is long enough. " * 20, "response_format": "pcm"}
        async with server.http.stream("POST", "/v1/audio/speech", json=spoken) as answer:
            async for _ in answer.aiter_bytes():
                break
        async with asyncio.timeout(10):
            await fake.of("/audio/speech")[0].ended.wait()
        assert fake.of("/audio/speech")[0].lost is not None


async def test_leaving_a_session_ends_the_turn_and_keeps_what_was_said(tmp_path: Path) -> None:
    async with served(tmp_path, SCRIPTED_OPERATIONS) as server:
        session = await server.greenroom.sessions.get("main")
        asked = {
            "model": "greenroom",
            "stream": True,
            "messages": [{"role": "user", "content": "hang"}],
            "metadata": {"session": "main", "include_audio": "false"},
        }
        async with server.http.stream("POST", CHAT, json=asked) as answer:
            async for line in answer.aiter_lines():
                if "hanging" in line:
                    break
        told = await server.told()
        assert isinstance(told[-1], JobFinished) and not told[-1].success
        assert (await server.stage()).cancelled == ["hang"]
        assert not session.log.listeners


async def test_leaving_in_the_middle_of_a_request_disturbs_nobody(tmp_path: Path) -> None:
    async with served(tmp_path, SCRIPTED_OPERATIONS) as server:
        port = int(server.url.rsplit(":", 1)[1])
        for sent in (b"", b'{"model": "scri'):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n" + sent)
            await writer.drain()
            await server.door.until_clients(1)
            writer.close()
            await writer.wait_closed()
            await server.door.until_clients(0)


async def test_one_connection_serves_request_after_request(fake: FakeOpenAI, tmp_path: Path) -> None:
    fake.settings.tokens_per_s = 0
    async with served(tmp_path, with_backend(fake)) as server:
        limits = httpx.Limits(max_connections=1)
        async with httpx.AsyncClient(base_url=server.url, limits=limits, timeout=60) as client:
            ports = set()
            for stream in (True, False, True, True):
                short = {**body("openai/fake-chat", stream=stream), "messages": [{"role": "user", "content": "hi"}]}
                async with client.stream("POST", CHAT, json=short) as answer:
                    await answer.aread()
                    ports.add(answer.extensions["network_stream"].get_extra_info("client_addr"))
                assert (await client.post(CHAT, json={})).status_code == 400
        assert len(ports) == 1
        assert fake.connection_count <= 2, "the backend's connection is kept, too"
