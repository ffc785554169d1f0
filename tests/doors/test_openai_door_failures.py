"""Everything that can be wrong with a request, and with a backend, in OpenAI's shape and with its status."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from fakes.openai_door import SCRIPTED_OPERATIONS, Served, owner, performer, served, viewer
from fakes.openai_server import FakeOpenAI

CHAT = "/v1/chat/completions"
HELLO: list[Any] = [{"role": "user", "content": "say hello"}]
BODY: dict[str, Any] = {"model": "scripted", "messages": HELLO}
SAY = {"role": "assistant", "content": None}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Served]:
    async with served(tmp_path, SCRIPTED_OPERATIONS) as running:
        yield running


@pytest.fixture
async def fake() -> AsyncIterator[FakeOpenAI]:
    async with FakeOpenAI(first_token_s=0, tokens_per_s=0) as backend:
        yield backend


def error_of(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"].startswith("req_")
    body = answer.json()
    assert set(body) == {"error"}
    error: dict[str, Any] = body["error"]
    assert set(error) == {"message", "type", "param", "code"} and error["message"]
    return error


@pytest.mark.parametrize(
    "body", [b"", b"{", b"null", b"[]", b'"x"', b"\xff\xfe", b'{"a":' * 5000, b'{"model": "\\ud800"}', b"NaN"]
)
@pytest.mark.parametrize("path", [CHAT, "/v1/completions", "/v1/audio/speech", "/v1/embeddings"])
async def test_a_body_that_is_no_json_object(server: Served, path: str, body: bytes) -> None:
    error = error_of(await server.http.post(path, content=body), 400)
    assert error["type"] == "invalid_request_error"


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"model": None}, "model"),
    ({"model": ""}, "model"),
    ({"model": 5}, "model"),
    ({"messages": "hello"}, "messages"),
    ({"messages": []}, "messages"),
    ({"messages": ["hello"]}, "messages[0]"),
    ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
    ({"messages": [*HELLO, {"role": "user"}]}, "messages[1].content"),
    ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
    ({"messages": [{"role": "user", "content": [{"type": "odd"}]}]}, "messages[0].content[0].type"),
    ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "messages[0].content[0].type"),
    (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "file:///x"}}]}]},
        "messages[0].content[0].image_url.url",
    ),
    ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
    ({"messages": [{**SAY, "tool_calls": 5}]}, "messages[0].tool_calls"),
    (
        {"messages": [{**SAY, "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "{"}}]}]},
        "messages[0].tool_calls[0].function.arguments",
    ),
    ({"messages": [{"role": "user", "content": "x", "name": 3}]}, "messages[0].name"),
    ({"temperature": "hot"}, "temperature"),
    ({"temperature": "0.5"}, "temperature"),
    ({"temperature": 3}, "temperature"),
    ({"top_p": -1}, "top_p"),
    ({"presence_penalty": 5}, "presence_penalty"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_tokens": True}, "max_tokens"),
    ({"max_completion_tokens": 1.5}, "max_completion_tokens"),
    ({"seed": "x"}, "seed"),
    ({"stream": "yes"}, "stream"),
    ({"stream_options": 1}, "stream_options"),
    ({"stop": 5}, "stop"),
    ({"stop": [1]}, "stop"),
    ({"n": 2}, "n"),
    ({"logprobs": True}, "logprobs"),
    ({"logit_bias": {"50256": -100}}, "logit_bias"),
    ({"logit_bias": []}, "logit_bias"),
    ({"reasoning_effort": 3}, "reasoning_effort"),
    ({"modalities": ["text", "audio"]}, "modalities"),
    ({"functions": [{"name": "f"}]}, "functions"),
    ({"tools": {}}, "tools"),
    ({"tools": [{"type": "function"}]}, "tools[0]"),
    ({"tools": [{"type": "function", "function": {"name": "no spaces"}}]}, "tools[0].function.name"),
    ({"tool_choice": "required"}, "tool_choice"),
    ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, "tool_choice"),
    ({"response_format": "json"}, "response_format"),
    ({"metadata": []}, "metadata"),
    ({"metadata": {"session": 5}}, "metadata.session"),
    ({"metadata": {"session": "main", "include_audio": "perhaps"}}, "metadata.include_audio"),
    ({"metadata": {"session": "main"}, "messages": [{"role": "assistant", "content": "x"}]}, "messages"),
]


@pytest.mark.parametrize(("change", "param"), WRONG, ids=lambda value: str(value)[:60])
async def test_what_is_wrong_is_named(server: Served, change: dict[str, Any], param: str) -> None:
    error = error_of(await server.http.post(CHAT, json={**BODY, **change}), 400)
    assert error["param"] == param
    assert error["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/completions", {"model": "scripted"}, "prompt"),
        ("/v1/completions", {"model": "scripted", "prompt": ""}, "prompt"),
        ("/v1/completions", {"model": "scripted", "prompt": [1, 2]}, "prompt"),
        ("/v1/completions", {"model": "scripted", "prompt": ["a", "b"]}, "prompt"),
        ("/v1/completions", {"model": "scripted", "prompt": "x", "suffix": "y"}, "suffix"),
        ("/v1/completions", {"model": "scripted", "prompt": "x", "best_of": 3}, "best_of"),
        ("/v1/completions", {"model": "scripted", "prompt": "x", "logprobs": 2}, "logprobs"),
        ("/v1/audio/speech", {"model": "tts-1"}, "input"),
        ("/v1/audio/speech", {"model": "tts-1", "input": ""}, "input"),
        ("/v1/audio/speech", {"model": "tts-1", "input": "*waves*"}, "input"),
        ("/v1/audio/speech", {"model": "tts-1", "input": "x", "voice": 5}, "voice"),
        ("/v1/audio/speech", {"model": "tts-1", "input": "x", "response_format": "midi"}, "response_format"),
        ("/v1/audio/speech", {"model": "tts-1", "input": "x", "speed": 9}, "speed"),
        ("/v1/audio/speech", {"model": "tts-1", "input": "x", "stream_format": "odd"}, "stream_format"),
        ("/v1/embeddings", {"model": "greenroom"}, "input"),
        ("/v1/embeddings", {"model": "greenroom", "input": []}, "input"),
        ("/v1/embeddings", {"model": "greenroom", "input": ["a", ""]}, "input[1]"),
        ("/v1/embeddings", {"model": "greenroom", "input": [[1, 2]]}, "input"),
        ("/v1/embeddings", {"model": "greenroom", "input": "a", "encoding_format": "hex"}, "encoding_format"),
        ("/v1/embeddings", {"model": "greenroom", "input": "a", "dimensions": 0}, "dimensions"),
    ],
)
async def test_other_endpoints_name_it_too(server: Served, path: str, body: dict[str, Any], param: str) -> None:
    assert error_of(await server.http.post(path, json=body), 400)["param"] == param


async def test_a_body_that_says_that_it_is_no_json(server: Served) -> None:
    for path in ("chat/completions", "completions", "embeddings", "audio/speech"):
        for kind in ("text/plain", "application/xml", "multipart/form-data; boundary=x"):
            answer = await server.http.post(f"/v1/{path}", content=b"{}", headers={"content-type": kind})
            assert error_of(answer, 415)["code"] == "unsupported_content_type"
    body = json.dumps(BODY).encode()
    for kind in ("application/json; charset=utf-8", "application/x-www-form-urlencoded", "Application/JSON"):
        assert (await server.http.post(CHAT, content=body, headers={"content-type": kind})).status_code == 200
    assert (await server.http.post(CHAT, content=body)).status_code == 200


async def test_members_that_mean_nothing_here_are_ignored(server: Served) -> None:
    more = {"logit_bias": {}, "store": True, "n": 1, "logprobs": False, "seed": None, "service_tier": "auto", "x": [1]}
    answer = await server.http.post(CHAT, json={**BODY, **more, "max_tokens": -1, "modalities": ["text"]})
    assert answer.json()["choices"][0]["message"]["content"] == "hello "


@pytest.mark.parametrize("model", ["gpt-4o", "scripted/none", "no/such/one", "../../etc", "espeak", "/etc/passwd"])
async def test_a_model_that_is_not_there(server: Served, model: str) -> None:
    error = error_of(await server.http.post(CHAT, json={**BODY, "model": model}), 404)
    assert (error["code"], error["param"]) == ("model_not_found", "model")


async def test_paths_and_methods_that_are_not_there(server: Served) -> None:
    error = error_of(await server.http.get("/v1/assistants"), 404)
    assert error["code"] == "unknown_url" and "/v1/chat/completions" in error["message"]
    assert error_of(await server.http.get("/v1/"), 404)["code"] == "unknown_url"
    for method, path, allowed in (
        ("GET", CHAT, "POST"),
        ("DELETE", "/v1/models", "GET"),
        ("PUT", "/v1/models/x", "GET"),
    ):
        answer = await server.http.request(method, path)
        assert error_of(answer, 405)["code"] == "method_not_allowed"
        assert answer.headers["allow"] == allowed
    translated = await server.http.post("/v1/audio/translations", files={"file": b"x"}, data={"model": "whisper-1"})
    assert error_of(translated, 400)["code"] == "unsupported_endpoint"


async def test_what_is_too_large(tmp_path: Path) -> None:
    limits = {"text_bytes": 1000, "audio_bytes": 2000, "audio_s": 1}
    async with served(tmp_path, SCRIPTED_OPERATIONS, limits=limits) as server:
        long = [*HELLO, {"role": "user", "content": "x" * 1001}]
        error = error_of(await server.http.post(CHAT, json={**BODY, "messages": long}), 413)
        assert (error["param"], error["code"]) == ("messages[1].content", "request_too_large")
        speech = {"model": "tts-1", "input": "x" * 1001}
        assert error_of(await server.http.post("/v1/audio/speech", json=speech), 413)["param"] == "input"
        files = {"file": b"x" * 2001}
        heard = await server.http.post("/v1/audio/transcriptions", files=files, data={"model": "whisper-1"})
        assert error_of(heard, 413)["param"] == "file"
        many = {"model": "greenroom", "input": ["x"] * 2049}
        assert error_of(await server.http.post("/v1/embeddings", json=many), 413)["param"] == "input"

        async def endless() -> AsyncIterator[bytes]:
            for _ in range(30):
                yield b" " * (1 << 20)

        assert error_of(await server.http.post(CHAT, content=endless()), 413)["code"] == "request_too_large"


async def test_who_may_do_what(tmp_path: Path) -> None:
    tokens = [owner("sk-own"), performer("sk-play"), viewer("sk-look"), performer("sk-side", "side")]
    async with served(tmp_path, SCRIPTED_OPERATIONS, tokens=tokens) as server:

        async def post(key: str, **change: Any) -> httpx.Response:
            return await server.http.post(CHAT, json={**BODY, **change}, headers={"authorization": f"Bearer {key}"})

        assert error_of(await post("wrong"), 401)["code"] == "invalid_api_key"
        assert error_of(await server.http.get("/v1/models"), 401)["code"] == "invalid_api_key"
        listed = await server.http.get("/v1/models", headers={"authorization": "Bearer sk-look"})
        assert listed.status_code == 200
        assert error_of(await post("sk-look"), 403)["type"] == "permission_error"
        assert (await post("sk-play")).status_code == 200
        assert (await post("sk-side")).status_code == 200, "on the backends of the session that it opens"
        assert error_of(await post("sk-side", metadata={"session": "main"}), 403)["code"] == "insufficient_permissions"
        async with server.client("wrong") as client:
            with pytest.raises(openai.AuthenticationError):
                await client.models.list()


async def test_a_page_of_an_allowed_origin_may_ask_and_others_may_not(server: Served) -> None:
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,x-stainless-os"}
    page = {"origin": "https://page.example.org"}
    preflight = await server.http.options(CHAT, headers={**page, **asked})
    assert preflight.is_success
    assert preflight.headers["access-control-allow-origin"] == page["origin"]
    assert "POST" in preflight.headers["access-control-allow-methods"]
    assert "x-stainless-os" in preflight.headers["access-control-allow-headers"]
    for answer in (
        await server.http.post(CHAT, json=BODY, headers=page),
        await server.http.post(CHAT, json={}, headers=page),
        await server.http.get("/v1/models", headers=page),
    ):
        assert answer.headers["access-control-allow-origin"] == page["origin"]
        assert "x-request-id" in answer.headers["access-control-expose-headers"]
    stranger = {"origin": "https://evil.example.org"}
    assert (await server.http.post(CHAT, json=BODY, headers=stranger)).status_code == 403
    refused = await server.http.options(CHAT, headers={**stranger, **asked})
    assert "access-control-allow-origin" not in refused.headers


async def test_too_many_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("greenroom.doors.openai.admission.PATIENCE_S", 0.05)
    async with served(tmp_path, SCRIPTED_OPERATIONS, generation={"max_parallel": 2}) as server:
        hang = {**BODY, "stream": True, "messages": [{"role": "user", "content": "hang"}]}
        async with AsyncExitStack() as running:
            for _ in range(2):
                answer = await running.enter_async_context(server.http.stream("POST", CHAT, json=hang))
                assert answer.status_code == 200
            answer = await server.http.post(CHAT, json=BODY)
            error = error_of(answer, 429)
            assert (error["type"], error["code"]) == ("rate_limit_error", "rate_limit_exceeded")
            assert int(answer.headers["retry-after"]) >= 1
        await server.door.until_clients(0)
        assert (await server.http.post(CHAT, json=BODY)).status_code == 200


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("401", 502, "binding_failed"),
        ("404", 502, "binding_failed"),
        ("429", 429, "rate_limit_exceeded"),
        ("quota", 502, "binding_failed"),
        ("500", 503, "binding_failed"),
        ("503", 503, "binding_failed"),
        ("html", 502, "binding_failed"),
        ("empty", 503, "binding_failed"),
        ("redirect", 502, "binding_failed"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_backend_that_fails_before_its_first_word(
    fake: FakeOpenAI, tmp_path: Path, kind: str, status: int, code: str, stream: bool
) -> None:
    """A stream has not begun then: the status says it."""
    operations = [{"role": "t2t", "id": "openai", "base_url": fake.base_url, "model": f"fail:{kind}", "max_retries": 0}]
    async with served(tmp_path, operations) as server:
        answer = await server.http.post(CHAT, json={"model": "greenroom", "messages": HELLO, "stream": stream})
        error = error_of(answer, status)
        assert error["code"] == code
        assert answer.headers.get("retry-after") == ("7" if kind == "429" else None)
        assert (answer.headers.get("x-should-retry") == "false") == (status == 502)


@pytest.mark.parametrize("kind", ["cut", "end", "error", "garbage", "not-an-event"])
@pytest.mark.parametrize("model", ["openai", "greenroom"])
async def test_a_backend_that_fails_in_the_middle(fake: FakeOpenAI, tmp_path: Path, kind: str, model: str) -> None:
    operations = [{"role": "t2t", "id": "openai", "base_url": fake.base_url, "model": f"fail:{kind}"}]
    async with served(tmp_path, operations) as server:
        answer = await server.http.post(CHAT, json={"model": model, "messages": HELLO, "stream": True})
        assert answer.status_code == 200
        events = [json.loads(event.removeprefix("data: ")) for event in answer.text.split("\n\n") if event]
        said = "".join(event["choices"][0]["delta"].get("content", "") for event in events[:-1])
        assert said == "Hello there."
        assert events[-1]["error"]["type"] == "server_error" and events[-1]["error"]["message"]
        assert "[DONE]" not in answer.text
        async with server.client() as client:
            stream = await client.chat.completions.create(model=model, messages=HELLO, stream=True)
            with pytest.raises(openai.APIError):
                async for _ in stream:
                    pass
        whole = await server.http.post(CHAT, json={"model": model, "messages": HELLO})
        assert error_of(whole, 502 if kind in ("garbage", "not-an-event") else 503)["code"] == "binding_failed"


async def test_a_backend_that_is_not_there(tmp_path: Path) -> None:
    operations = [{"role": "t2t", "id": "openai", "base_url": "http://127.0.0.1:9/v1", "model": "m"}]
    async with served(tmp_path, operations) as server:
        error = error_of(await server.http.post(CHAT, json={"model": "greenroom", "messages": HELLO}), 503)
        assert "cannot be reached" in error["message"]
        nothing = await server.http.post("/v1/embeddings", json={"model": "greenroom", "input": "a"})
        assert error_of(nothing, 503)["code"] == "unavailable"


async def test_a_backends_own_bug_is_told_without_its_insides(
    server: Served, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {**BODY, "messages": [{"role": "user", "content": "crash"}]}
    assert error_of(await server.http.post(CHAT, json=body), 502)["code"] == "binding_failed"

    def broken(*_: object) -> None:
        raise RuntimeError("a bug of ours with a secret")

    monkeypatch.setattr("greenroom.doors.openai.completing.tools_of", broken)
    answer = await server.http.post(CHAT, json=BODY)
    error = error_of(answer, 500)
    assert error["type"] == "server_error" and "secret" not in error["message"]
    assert answer.headers["x-request-id"] in error["message"] and "a bug of ours" in caplog.text


async def test_when_the_server_stops_a_stream_is_told(tmp_path: Path) -> None:
    async with served(tmp_path, SCRIPTED_OPERATIONS) as server:
        body = {**BODY, "stream": True, "messages": [{"role": "user", "content": "hang"}]}
        async with server.http.stream("POST", CHAT, json=body) as answer:
            lines = answer.aiter_lines()
            while "hanging" not in await anext(lines):
                pass
            assert server.door.clients == 1
            await server.door.close()
            assert server.door.clients == 0
            rest = [line async for line in lines if line]
        assert "shutting down" in json.loads(rest[-1].removeprefix("data: "))["error"]["message"]
