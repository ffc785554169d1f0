"""The doors of one address: brought in when they are first knocked at, guarded alike, closed with the server."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import pytest
from prometheus_client import CollectorRegistry

from fakes.running_door import Folders
from fakes.started import started
from fakes.waving_door import TABLE
from greenroom.config.network import HTTP_DOORS
from greenroom.doors.door import Rooms
from greenroom.doors.rates import Rates
from greenroom.doors.safety import Guard
from greenroom.doors.table import DOORS, Entrance, entrances
from greenroom.doors.web.app import create_asgi_app, create_web_app
from greenroom.serving.listeners import listen
from greenroom.serving.server import HttpServer

PAGE = "https://page.example"


@dataclass
class Running:
    url: str
    entrances: list[Entrance]


@asynccontextmanager
async def serving(
    *names: str, table: Any = TABLE, web: bool = True, rates: Rates | None = None
) -> AsyncGenerator[Running, None]:
    guard = Guard(allowed_origins=[PAGE])
    rooms = cast(Rooms, SimpleNamespace(guard=guard, rates=rates or Rates()))
    found = entrances(names, rooms, table)

    async def health() -> Mapping[str, Any]:
        return {}

    made = create_web_app(guard, Folders(), CollectorRegistry(), health) if web else None
    server = HttpServer(create_asgi_app(None, made, found))
    sock = listen("127.0.0.1", 0)
    task = asyncio.create_task(server.serve(sockets=[sock]))
    await started(server.listening, task)
    try:
        yield Running(f"http://127.0.0.1:{sock.getsockname()[1]}", found)
    finally:
        await asyncio.gather(*(one.close() for one in found))
        server.leave()
        await task
        sock.close()


@pytest.fixture
async def http() -> AsyncGenerator[aiohttp.ClientSession, None]:
    async with aiohttp.ClientSession() as session:
        yield session


def test_every_door_that_a_configuration_can_name_is_there() -> None:
    assert {*DOORS, "socketio", "web"} == set(HTTP_DOORS)


def test_starting_brings_none_of_them_in() -> None:
    modules = {spec.target.partition(":")[0] for specs in DOORS.values() for spec in specs}
    code = f"import sys, greenroom.app; print([name for name in {sorted(modules)} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", list(DOORS))
def test_a_door_of_the_table_can_be_made(name: str) -> None:
    for spec in DOORS[name]:
        module, _, kind = spec.target.partition(":")
        made = getattr(import_module(module), kind)
        assert callable(made) and {"routes", "clients", "close", "refuse"} <= set(dir(made))


async def test_a_request_finds_its_door(http: aiohttp.ClientSession) -> None:
    async with serving("openai", "jaison") as running:
        for path in ("/v1/wave", "/api/wave"):
            async with http.get(f"{running.url}{path}?a=1") as answer:
                assert (await answer.json())["url"] == f"{running.url}{path}?a=1"
                assert answer.headers["x-content-type-options"] == "nosniff"
        async with http.get(f"{running.url}/v1/stream") as answer:
            assert await answer.text() == "data: 0\n\ndata: 1\n\ndata: 2\n\n"
        async with http.get(running.url) as answer:
            assert answer.content_type == "text/html"
        async with http.ws_connect(running.url) as ws:
            assert (await ws.receive_json())["url"] == f"{running.url.replace('http', 'ws')}/"
            await ws.send_str("hello")
            assert await ws.receive_str() == "hello"
            assert sum(one.clients for one in running.entrances) == 1
        for path, status, code in (
            ("/v1/nowhere", 404, "not_found"),
            ("/v1x/wave", 404, "not_found"),
            ("/v1/broken", 500, "internal"),
            ("/socket.io/", 404, "not_found"),
        ):
            async with http.get(f"{running.url}{path}") as answer:
                assert (answer.status, (await answer.json())["code"]) == (status, code)
        async with http.put(f"{running.url}/v1/wave") as answer:
            assert answer.status == 405


async def test_requests_are_counted_before_any_door_runs(http: aiohttp.ClientSession) -> None:
    """Also for what comes to no endpoint of the door; the door says no in its own words."""
    async with serving("openai", "jaison", rates=Rates(0.001, 2)) as running:
        for path, status in (("wave", 200), ("nowhere", 404), ("wave", 429), ("nowhere", 429)):
            async with http.get(f"{running.url}/v1/{path}") as answer:
                assert answer.status == status, path
                if status == 429:
                    assert "waved off" in await answer.json() and answer.headers["x-content-type-options"] == "nosniff"
        async with http.get(f"{running.url}/api/wave") as answer:
            assert answer.status == 200, "each door counts its own"
        async with http.ws_connect(running.url):
            pass
        with pytest.raises(aiohttp.WSServerHandshakeError) as denied:
            await http.ws_connect(running.url)
        assert denied.value.status == 429
        async with http.get(running.url) as answer:
            assert answer.status == 200


async def test_light_requests_count_a_tenth_but_not_where_they_try_tokens(http: aiohttp.ClientSession) -> None:
    async with serving("jaison", rates=Rates(0.0001, 2)) as running:

        async def ask(method: str, path: str, guess: str = "") -> int:
            headers = {"authorization": f"Bearer {guess}"} if guess else {}
            async with http.request(method, f"{running.url}/api/{path}", headers=headers) as answer:
                return answer.status

        assert [await ask("DELETE", "wave") for _ in range(5)] == [200] * 5
        assert await ask("DELETE", "wave", guess="one") == 200
        assert await ask("DELETE", "wave", guess="another") == 429
        assert [await ask("DELETE", "wave") for _ in range(4)] == [200] * 4, "half of one request was left"
        assert await ask("GET", "wave") == 429


async def test_what_is_not_open_here_is_not_found(http: aiohttp.ClientSession) -> None:
    async with serving("openai", web=False) as running:
        for path in ("/", "/health", "/api/wave"):
            async with http.get(f"{running.url}{path}") as answer:
                assert answer.status == 404 and (await answer.json())["error"]
        async with http.head(f"{running.url}/health") as answer:
            assert answer.status == 404
        for path in ("/", "/elsewhere", "/v1/wave"):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await http.ws_connect(f"{running.url}{path}")
            assert refused.value.status == 404


async def test_all_doors_are_guarded_alike(http: aiohttp.ClientSession) -> None:
    async with serving("openai", "jaison") as running:
        for path in ("/v1/wave", "/api/wave", "/health"):
            async with http.post(f"{running.url}{path}", headers={"Origin": "https://evil.example"}) as answer:
                assert answer.status == 403 and "access-control-allow-origin" not in answer.headers
            async with http.get(f"{running.url}{path}", headers={"Host": "evil.example"}) as answer:
                assert answer.status == 403
        for headers in ({"Origin": "https://evil.example"}, {"Host": "evil.example"}):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await http.ws_connect(running.url, headers=headers)
            assert refused.value.status == 403
        async with http.ws_connect(running.url, headers={"Origin": PAGE}) as ws:
            await ws.receive_json()


async def test_pages_that_are_allowed_may_ask_and_read(http: aiohttp.ClientSession) -> None:
    async with serving("openai") as running:
        async with http.post(f"{running.url}/v1/wave", headers={"Origin": PAGE}, data="x") as answer:
            assert answer.status == 200 and answer.headers["access-control-allow-origin"] == PAGE
            assert answer.headers["vary"] == "Origin"
        asked = {
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type",
            "Access-Control-Request-Private-Network": "true",
        }
        async with http.options(f"{running.url}/v1/wave", headers={"Origin": PAGE, **asked}) as answer:
            assert answer.status == 204 and await answer.read() == b""
            assert answer.headers["access-control-allow-origin"] == PAGE
            assert "POST" in answer.headers["access-control-allow-methods"]
            assert answer.headers["access-control-allow-headers"] == "authorization,content-type"
            assert answer.headers["access-control-allow-private-network"] == "true"
        foreign = {"Origin": "https://evil.example", **asked}
        async with http.options(f"{running.url}/v1/wave", headers=foreign) as answer:
            assert answer.status == 405 and "access-control-allow-origin" not in answer.headers
        async with http.options(f"{running.url}/v1/wave", headers={"Origin": PAGE}) as answer:
            assert answer.status == 405


async def test_a_door_is_made_once_and_not_after_the_end(http: aiohttp.ClientSession) -> None:
    async with serving("openai") as running:

        async def ask() -> int:
            async with http.get(f"{running.url}/v1/wave") as answer:
                return answer.status

        assert await asyncio.gather(*(ask() for _ in range(8))) == [200] * 8
    async with serving("openai") as running:
        await running.entrances[0].close()
        async with http.get(f"{running.url}/v1/wave") as answer:
            assert answer.status == 503 and (await answer.json())["code"] == "unavailable"


async def test_closing_ends_what_lasts(http: aiohttp.ClientSession, tmp_path: Path) -> None:
    async with serving("jaison") as running:
        ws = await http.ws_connect(running.url)
        await ws.receive_json()
        await asyncio.gather(*(one.close() for one in running.entrances))
        assert (await ws.receive()).type is aiohttp.WSMsgType.CLOSE
        assert ws.close_code == 1001
        await ws.close()
