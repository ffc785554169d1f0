"""Roles, origins, names, bounds and their sentences are the same at every door; what is refused reaches no session."""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import aiohttp
import httpx
import pytest
import pytest_asyncio
import socketio

from e2e.visitor import Visitor, visitor
from fakes.every_door import CONFIG, OpenServer, open_server
from fakes.wyoming_client import Event, Ping, Transcript, heard, heard_until, wyoming

pytestmark = pytest.mark.asyncio(loop_scope="module")

OWNER, PERFORMER, VIEWER = "the-owners-token", "the-performers-token", "the-viewers-token"
QUEUED = 3
TEXT_BYTES = 1000
GUARDED = f"""{CONFIG}
server:
  tokens:
    - {{name: bot, env: BOT_TOKEN, role: performer, sessions: [main, stage]}}
    - {{name: overlay, env: OVERLAY_TOKEN, role: viewer, sessions: [main, stage]}}
session: {{queued_jobs: {QUEUED}}}
limits: {{text_bytes: {TEXT_BYTES}, context_line_bytes: {TEXT_BYTES}}}
"""
CHAT = "/v1/chat/completions"
FOREIGN = "https://evil.example"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[OpenServer, None]:
    env = {"BOT_TOKEN": PERFORMER, "OVERLAY_TOKEN": VIEWER}
    async with open_server(tmp_path_factory.mktemp("guarded-doors"), GUARDED, "--token", OWNER, env=env) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def http(server: OpenServer) -> AsyncGenerator[httpx.AsyncClient, None]:
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as client:
        yield client


@pytest_asyncio.fixture(loop_scope="module")
async def owner(server: OpenServer) -> AsyncGenerator[Visitor, None]:
    async with visitor(server.url, session="main", token=OWNER) as client:
        yield client


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def turn(text: str, session: str = "main") -> dict[str, Any]:
    return {
        "model": "greenroom",
        "messages": [{"role": "user", "content": text}],
        "metadata": {"session": session, "include_audio": "false"},
    }


def by_rest(answer: httpx.Response) -> tuple[int, str]:
    """-> status and sentence"""
    body = answer.json()
    assert body["status"] == answer.status_code and body["response"] == {}, body
    return answer.status_code, body["message"]


def by_openai(answer: httpx.Response) -> tuple[int, str]:
    body = answer.json()
    assert set(body) == {"error"} and set(body["error"]) == {"message", "type", "param", "code"}, body
    return answer.status_code, body["error"]["message"]


async def by_websocket(server: OpenServer, query: str = "", **headers: str) -> tuple[int, str]:
    """How jaison's websocket is refused: in its handshake."""
    async with (
        aiohttp.ClientSession() as http,
        http.get(
            f"{server.url}/{query}",
            headers={
                "Connection": "Upgrade",
                "Upgrade": "websocket",
                "Sec-WebSocket-Version": "13",
                "Sec-WebSocket-Key": "MDEyMzQ1Njc4OWFiY2RlZg==",
                **headers,
            },
        ) as answer,
    ):
        body = await answer.json()
        return answer.status, body.get("message") or body["error"]


async def by_socketio(server: OpenServer, auth: Mapping[str, Any] | None = None, **headers: str) -> tuple[str, str]:
    """How Socket.IO refuses to connect: -> code and sentence"""
    told: list[Any] = []
    async with aiohttp.ClientSession() as http:
        client = Visitor(http)
        client.sio.on("connect_error", told.append)
        with pytest.raises(socketio.exceptions.ConnectionError):
            await client.connect(server.url, dict(auth or {}), headers=headers)
        await client.close()
    return told[0]["data"]["code"], told[0]["message"]


async def by_wyoming(server: OpenServer, event: Event) -> tuple[str, str]:
    """What is told of one event: -> code and sentence"""
    async with wyoming(server.wyoming_uri) as client:
        await client.write_event(event)
        error = await heard(client, "error")
        return error.data["code"], error.data["text"]


async def by_polling(http: httpx.AsyncClient, **headers: str) -> tuple[int, str]:
    answer = await http.get("/socket.io/?EIO=4&transport=polling", headers=headers)
    if answer.status_code == 200:
        sid = json.loads(answer.text[1:])["sid"]
        answer = await http.post(f"/socket.io/?EIO=4&transport=polling&sid={sid}", content="40", headers=headers)
    return answer.status_code, answer.json()["error"]


# Who may come in


async def test_without_a_token_or_with_a_wrong_one(server: OpenServer, http: httpx.AsyncClient) -> None:
    for given, sentence in (("", "this server wants a token"), ("wrong", "this token is not known here")):
        headers = bearer(given) if given else {}
        assert await by_socketio(server, {"token": given} if given else None) == ("unauthorized", sentence)
        assert by_rest(await http.post("/api/response", json={}, headers=headers)) == (401, sentence)
        assert by_rest(await http.get("/api/operations", headers=headers)) == (401, sentence)
        assert by_openai(await http.post(CHAT, json=turn("say x"), headers=headers)) == (401, sentence)
        assert await by_websocket(server, f"?token={given}" if given else "") == (401, sentence)


async def test_a_session_that_the_token_does_not_open(server: OpenServer, http: httpx.AsyncClient) -> None:
    sentence = "your token does not open the session 'secret'"
    assert await by_socketio(server, {"token": PERFORMER, "session": "secret"}) == ("forbidden", sentence)
    headers = bearer(PERFORMER)
    assert by_rest(await http.post("/api/response?session=secret", json={}, headers=headers)) == (403, sentence)
    assert by_openai(await http.post(CHAT, json=turn("say x", "secret"), headers=headers)) == (403, sentence)
    assert await by_websocket(server, f"?session=secret&token={PERFORMER}") == (403, sentence)


async def test_a_viewer_starts_no_turn_at_any_door(server: OpenServer, http: httpx.AsyncClient, owner: Visitor) -> None:
    """The same sentence, but for what was asked for. Wyoming has no tokens: whoever comes in is a performer."""
    before = await seq(owner)
    why = "needs the role performer; yours is viewer"
    async with visitor(server.url, session="main", token=VIEWER) as viewer:
        refused = await viewer.refused("response", text="say x")
        assert (refused["code"], refused["error"]) == ("forbidden", f"response {why}")
    headers = bearer(VIEWER)
    assert by_rest(await http.post("/api/response", json={}, headers=headers)) == (403, f"response {why}")
    status, sentence = by_openai(await http.post(CHAT, json=turn("say x"), headers=headers))
    assert status == 403 and sentence.endswith(why)
    assert await seq(owner) == before


async def test_everybody_above_a_viewer_may_talk(server: OpenServer, http: httpx.AsyncClient, owner: Visitor) -> None:
    for token in (PERFORMER, OWNER):
        async with visitor(server.url, session="main", token=token) as client:
            await client.run("response", text="say Here.", include_audio=False)
        job_id = (await http.post("/api/response", json={"include_audio": False}, headers=bearer(token))).json()
        await owner.finished(job_id["response"]["job_id"])
        answer = await http.post(CHAT, json=turn("say Here."), headers=bearer(token))
        assert answer.json()["choices"][0]["message"]["content"] == "Here. "
    async with wyoming(server.wyoming_uri) as client:
        await client.write_event(Transcript(text="say Here.").event())
        assert (await heard_until(client, "handled-stop"))[-2].type == "handled"


# From where


@pytest.mark.parametrize(
    ("headers", "sentence"),
    [
        (
            {"Origin": FOREIGN},
            f"pages of '{FOREIGN}' may not use this server; "
            "if they should, add it to server.allowed_origins in the configuration",
        ),
        (
            {"Host": "evil.example"},
            "this server does not go by the name 'evil.example'; "
            "if it should, add it to server.allowed_hosts in the configuration",
        ),
        ({"Sec-Fetch-Site": "cross-site"}, "another site's page may not use this server"),
    ],
    ids=["origin", "host", "cross-site"],
)
async def test_pages_and_names_are_refused_in_the_same_words(
    server: OpenServer, http: httpx.AsyncClient, headers: dict[str, str], sentence: str
) -> None:
    """Before any door sees the request; a token makes no difference. OpenAI's clients find it where they look."""

    def told(answer: httpx.Response, path: str) -> tuple[int, str]:
        error = answer.json()["error"]
        if path.startswith("/v1/"):
            assert (error["type"], error["code"]) == ("permission_error", "insufficient_permissions")
            error = error["message"]
        return answer.status_code, error

    known = {**bearer(OWNER), **headers}
    assert await by_socketio(server, {"token": OWNER}, **headers) == ("forbidden", sentence)
    assert await by_polling(http, **headers) == (403, sentence)
    assert await by_websocket(server, f"?token={OWNER}", **headers) == (403, sentence)
    for method, path in (("POST", "/api/response"), ("DELETE", "/api/job"), ("POST", CHAT), ("POST", "/v1/embeddings")):
        answer = await http.request(method, path, json={}, headers=known)
        assert told(answer, path) == (403, sentence), path
        assert answer.headers["x-content-type-options"] == "nosniff"
    if "Host" in headers:
        for path in ("/api/operations", "/openapi.json", "/v1/models", "/health", "/metrics", "/"):
            answer = await http.get(path, headers=known)
            assert told(answer, path) == (403, sentence), path


# How much


async def test_a_text_that_is_too_long(server: OpenServer, http: httpx.AsyncClient, owner: Visitor) -> None:
    before = await seq(owner)
    for text in ("x" * (TEXT_BYTES + 1), "é" * TEXT_BYTES, "x" * 70_000):
        short = len(text) <= 65_536
        bound = f"at most {TEXT_BYTES} bytes are taken"
        if not short:
            bound = "is 70000 characters long; at most 65536 are taken"
        refused = await owner.refused("response", text=text)
        assert refused["code"] == "too_large" and refused["error"] == f"response: text: {bound}"
        line = {"user": "Ana", "content": text}
        refused = await owner.refused("context_add", kind="chat", **line)
        assert refused["code"] == "too_large" and refused["error"].endswith(f"content: {bound}")
        status, sentence = by_rest(await http.post("/api/context/conversation/text", json=line, headers=bearer(OWNER)))
        assert status == 413 and sentence.endswith(f"content: {bound}")
        status, sentence = by_openai(await http.post(CHAT, json=turn(text), headers=bearer(OWNER)))
        assert status == 413
        assert sentence == f"messages[0].content: at most {TEXT_BYTES} bytes are taken"
        code, sentence = await by_wyoming(server, Transcript(text=text).event())
        assert (code, sentence) == ("too_large", f"response: text: {bound}")
    assert await seq(owner) == before


async def test_more_turns_than_may_wait(server: OpenServer, http: httpx.AsyncClient, owner: Visitor) -> None:
    sentence = f"{QUEUED} jobs are waiting in this session; try again when some have ended"
    first = await owner.job("response", text="hang", include_audio=False)
    await owner.seen(lambda told: told.name == "text_chunk" and told.job_id == first)
    waiting = [await owner.job("context_clear") for _ in range(QUEUED)]
    before = await seq(owner)
    refused = await owner.refused("response", text="say x")
    assert (refused["code"], refused["error"]) == ("busy", sentence)
    answer = await http.post("/api/response", json={}, headers=bearer(OWNER))
    assert by_rest(answer) == (503, sentence) and answer.headers["retry-after"]
    answer = await http.post(CHAT, json=turn("say x"), headers=bearer(OWNER))
    assert by_openai(answer) == (429, sentence) and answer.headers["retry-after"]
    streamed = await http.post(CHAT, json={**turn("say x"), "stream": True}, headers=bearer(OWNER))
    assert by_openai(streamed) == (429, sentence)
    assert await by_wyoming(server, Transcript(text="say x").event()) == ("busy", sentence)
    assert await seq(owner) == before
    await owner.done("cancel_job", job_id=first)
    for job_id in waiting:
        await owner.finished(job_id)


@pytest.mark.parametrize("body", [b"{", b"nonsense", b'{"a": }', b"\xff\xfe", b'"text"', b"[1, 2]", b"[" * 100_000])
async def test_what_is_no_json(server: OpenServer, http: httpx.AsyncClient, owner: Visitor, body: bytes) -> None:
    before = await seq(owner)
    headers = {**bearer(OWNER), "Content-Type": "application/json"}
    status, sentence = by_rest(await http.post("/api/context/request", content=body, headers=headers))
    assert status == (413 if len(body) > 1000 else 400) and sentence.startswith("the body ")
    status, sentence = by_openai(await http.post(CHAT, content=body, headers=headers))
    assert status == 400 and sentence.startswith("the body ")
    reader, writer = await asyncio.open_connection("127.0.0.1", server.wyoming_port)
    writer.write(body + b"\n")
    told = json.loads(await asyncio.wait_for(reader.readline(), 30))
    data = json.loads(await reader.readexactly(told["data_length"]))
    assert told["type"] == "error" and data["code"] in ("bad_request", "too_large")
    writer.close()
    assert await seq(owner) == before


@pytest.mark.parametrize(
    ("command", "rest", "chat"),
    [
        ({"content": ""}, {"content": ""}, {"messages": [{"role": "user", "content": ""}]}),
        ({"content": 7}, {"content": 7}, {"messages": [{"role": "user", "content": 7}]}),
        ({}, {}, {"messages": []}),
        ({"content": "x", "colour": "red"}, {"content": "x", "colour": "red"}, {"messages": "x"}),
    ],
)
async def test_a_malformed_request_reaches_no_session(
    server: OpenServer,
    http: httpx.AsyncClient,
    owner: Visitor,
    command: dict[str, Any],
    rest: dict[str, Any],
    chat: dict[str, Any],
) -> None:
    before = await seq(owner)
    refused = await owner.refused("context_add", kind="request", **command)
    assert refused["code"] == "bad_request"
    status, sentence = by_rest(await http.post("/api/context/request", json=rest, headers=bearer(OWNER)))
    assert status == 400
    # The same field, the same words; only the name of the job is each door's own.
    assert sentence.partition(": ")[2] == refused["error"].partition(": ")[2]
    status, _ = by_openai(await http.post(CHAT, json={"model": "greenroom", **in_main(chat)}, headers=bearer(OWNER)))
    assert status == 400
    async with wyoming(server.wyoming_uri) as client:
        await client.write_event(Event("transcript", {"text": 7}))
        assert (await heard(client, "error")).data["code"] == "bad_request"
    async with wyoming(server.wyoming_uri) as client:
        await client.write_event(Ping(text="still here").event())
        await heard(client, "pong")
    assert await seq(owner) == before


def in_main(chat: dict[str, Any]) -> dict[str, Any]:
    return {**chat, "metadata": {"session": "main"}}


async def test_a_cancellation_of_what_is_not_there(http: httpx.AsyncClient, owner: Visitor) -> None:
    refused = await owner.refused("cancel_job", job_id="nobody")
    gone = await http.request("DELETE", "/api/job", json={"job_id": "nobody"}, headers=bearer(OWNER))
    assert (refused["code"], by_rest(gone)) == ("not_found", (400, refused["error"]))


async def seq(client: Visitor) -> int:
    """The number of the last thing that happened in the client's session."""
    return int((await client.done("session_state"))["state"]["seq"])
