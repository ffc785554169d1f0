"""How often a client may ask is one setting for every door, and each says no in its own shape."""

import asyncio
from collections.abc import AsyncGenerator

import httpx
import openai
import pytest
import pytest_asyncio
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from e2e.visitor import PATIENCE_S, visitor
from fakes.every_door import CONFIG, OpenServer, open_server
from fakes.wyoming_client import AudioChunk, AudioStart, AudioStop, Ping, Transcribe, heard, heard_until, wyoming

pytestmark = pytest.mark.asyncio(loop_scope="module")

BURST = 6
HOLDERS = ("rest", "bot", "openai", "sdk", "socket", "frames", "near", "proxied")
"""each test has a token of its own, and so is a client of its own"""
SENTENCE = "you send more than this server takes from one client; try again in a moment"
LIMITED = "\n".join(
    [
        CONFIG,
        f"limits: {{requests_per_s: 0.01, requests_burst: {BURST}}}",
        "server:",
        "  trusted_proxies: [127.0.0.1]",
        "  tokens:",
        *(f"    - {{name: {name}, env: {name.upper()}_TOKEN, role: performer}}" for name in HOLDERS),
    ]
)


def token(holder: str) -> str:
    return f"the-token-of-{holder}"


def bearer(holder: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token(holder)}"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[OpenServer, None]:
    env = {f"{name.upper()}_TOKEN": token(name) for name in HOLDERS}
    async with open_server(tmp_path_factory.mktemp("rates"), LIMITED, env=env) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def http(server: OpenServer) -> AsyncGenerator[httpx.AsyncClient, None]:
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as client:
        yield client


def check_wait(answer: httpx.Response) -> None:
    assert 1 <= int(answer.headers["retry-after"]) <= 100


async def test_rest(http: httpx.AsyncClient) -> None:
    """An unknown path counts like a known one, a bad request like a good one."""
    paths = ("config", "operations", "nope", "config", "operations?session=main", "config")
    assert [(await http.get(f"/api/{path}", headers=bearer("rest"))).status_code for path in paths] == [
        200,
        200,
        404,
        200,
        200,
        200,
    ]
    for method, path in (("GET", "config"), ("POST", "response"), ("GET", "nope")):
        answer = await http.request(method, f"/api/{path}", headers=bearer("rest"))
        assert answer.status_code == 429
        assert answer.json() == {"message": SENTENCE, "response": {}, "status": 429}
        check_wait(answer)
    assert (await http.get("/v1/models", headers=bearer("rest"))).status_code == 200, "each door counts its own"
    assert (await http.get("/health")).status_code == 200


async def test_a_bot_that_cancels_with_every_packet_of_sound_is_still_heard(http: httpx.AsyncClient) -> None:
    for _ in range(2 * BURST):
        answer = await http.request("DELETE", "/api/job", json={"job_id": "gone"}, headers=bearer("bot"))
        assert answer.status_code == 400
    assert (await http.get("/api/config", headers=bearer("bot"))).status_code == 200


async def test_openai(http: httpx.AsyncClient) -> None:
    for _ in range(BURST):
        assert (await http.get("/v1/models", headers=bearer("openai"))).status_code == 200
    answer = await http.post("/v1/chat/completions", headers=bearer("openai"), content=b"{")
    assert answer.status_code == 429
    assert answer.json() == {
        "error": {"message": SENTENCE, "type": "rate_limit_error", "param": None, "code": "rate_limit_exceeded"}
    }
    check_wait(answer)
    assert answer.headers["x-request-id"].startswith("req_")


async def test_openais_own_client(server: OpenServer) -> None:
    async with server.sdk(token("sdk")) as sdk:
        for _ in range(BURST):
            await sdk.models.list()
        with pytest.raises(openai.RateLimitError) as refused:
            await sdk.chat.completions.create(model="greenroom", messages=[{"role": "user", "content": "Hello"}])
    assert refused.value.code == "rate_limit_exceeded"
    assert int(refused.value.response.headers["retry-after"]) >= 1


async def test_socketio(server: OpenServer) -> None:
    """A connection is a client; the others of the same token notice nothing."""
    async with (
        visitor(server.url, session="main", token=token("socket")) as ana,
        visitor(server.url, session="main", token=token("socket")) as ben,
    ):
        for _ in range(BURST):
            await ana.done("session_state")
        refused = await ana.refused("session_state")
        assert (refused["code"], refused["error"]) == ("busy", SENTENCE)
        assert 1 <= refused["details"]["retry_after_s"] <= 100
        await ben.done("session_state")


async def test_jaisons_websocket(server: OpenServer) -> None:
    """Its handshake counts as a request. What it sends is not read, and too much of it ends it."""
    address = f"{server.ws_url}/?token={token('frames')}"
    async with connect(address) as frames:
        for _ in range(BURST + 1):
            await frames.send("hello")
        with pytest.raises(ConnectionClosed) as closed:
            await asyncio.wait_for(frames.recv(), PATIENCE_S)
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1013, "too many messages")
    for _ in range(BURST - 1):
        async with connect(address):
            pass
    with pytest.raises(InvalidStatus) as refused:
        await connect(address)
    response = refused.value.response
    assert response.status_code == 429 and SENTENCE.encode() in bytes(response.body or b"")
    assert int(response.headers["retry-after"]) >= 1


async def test_guessing_tokens_is_bounded(http: httpx.AsyncClient) -> None:
    """A new guess is no new client; who has a token of the same address is not held up."""
    statuses = [
        (await http.get("/v1/models", headers={"Authorization": f"Bearer guess-{n}"})).status_code
        for n in range(BURST + 3)
    ]
    assert statuses == [401] * BURST + [429] * 3
    assert (await http.get("/v1/models", headers=bearer("near"))).status_code == 200


async def test_behind_a_trusted_proxy_clients_are_told_apart(http: httpx.AsyncClient) -> None:
    for address in ("10.0.0.1", "10.0.0.2", "2001:db8::1"):
        headers = {**bearer("proxied"), "X-Forwarded-For": address}
        statuses = [(await http.get("/api/operations", headers=headers)).status_code for _ in range(BURST + 1)]
        assert statuses == [200] * BURST + [429]
    headers = {**bearer("proxied"), "X-Forwarded-For": "2001:db8::2"}
    assert (await http.get("/api/operations", headers=headers)).status_code == 429, "a network is one client's"


async def test_wyoming(server: OpenServer) -> None:
    """The pieces of a recording are part of one request, however many they are. Who asks too often is told so and let
    go, and then not let in."""
    async with wyoming(server.wyoming_uri) as house:  # 1
        await house.write_event(Transcribe().event())
        await house.write_event(AudioStart(16_000, 2, 1).event())
        for _ in range(10 * BURST):
            await house.write_event(AudioChunk(16_000, 2, 1, b"a " * 16).event())
        await house.write_event(AudioStop().event())
        assert (await heard(house, "transcript")).data["text"]
        for _ in range(BURST - 3):
            await house.write_event(Ping().event())
            await heard(house, "pong")
        await house.write_event(Ping().event())
        error = await heard(house, "error")
        assert (error.data["code"], error.data["text"]) == ("busy", SENTENCE)
        assert await house.read_event() is None
    async with wyoming(server.wyoming_uri) as again:
        told = await heard_until(again, "error")
        assert [one.data["code"] for one in told] == ["busy"]
        assert await again.read_event() is None
