"""A fake of Anthropic's Messages API, version 2026-10-21, that speaks the real wire.

    async with FakeAnthropic() as fake: fake.base_url

A model named ``fail:<kind>`` fails in that way: ``401 403 404 413 429 500 529`` a status, ``flaky`` 529 once, ``soon``
429 once with a short wait, ``redirect``, ``html``, ``slow`` never answers, ``hangup`` closes with no reply once; in
mid-stream ``stall``, ``cut``, ``end`` (no ``message_stop``), ``overloaded``, ``garbage``, ``tool-json``, ``refusal``,
``context``, ``length``, ``empty``; ``first-overloaded`` an error before the first word, once.
``call NAME {json}`` with tools on offer calls that tool, as often as it stands
there, ``think first`` adds thinking, ``endless`` never stops.
A model named ``fixed-...`` takes neither sampling parameters nor a thinking budget. ``GET /_log`` lists what was asked.
"""

import asyncio
import contextlib
import itertools
import json
import re
from dataclasses import dataclass, field
from typing import Any

from fakes.raw_http import RawHttpServer, Reply, Request

TOKENS = ("Hello", " there.", " I", " am", " Claude.")
THOUGHTS = ("Let me", " think.")
SIGNATURE = "c2lnbmVk"
PROMPT_USAGE = {"input_tokens": 9, "cache_creation_input_tokens": 4, "cache_read_input_tokens": 16}
OUTPUT_USAGE = {"output_tokens": 25, "output_tokens_details": {"thinking_tokens": 7}}
"""of every answer"""
_TOOL = re.compile(r"call (\w+) (\{[^{}]*\})")
_ID = re.compile(r"[A-Za-z0-9_-]+")
_SAMPLING = ("temperature", "top_p", "top_k")
_STATUS = {
    "401": (401, "authentication_error", "invalid x-api-key sk-ant-secret-of-the-test"),
    "402": (402, "billing_error", "Your credit balance is too low"),
    "403": (403, "permission_error", "Not for this workspace"),
    "404": (404, "not_found_error", "model: fail:404"),
    "413": (413, "request_too_large", "Request exceeds the maximum size"),
    "429": (429, "rate_limit_error", "Too many requests"),
    "500": (500, "api_error", "Internal server error"),
    "529": (529, "overloaded_error", "Overloaded"),
}


@dataclass(slots=True)
class Exchange:
    body: dict[str, Any]
    headers: dict[str, str]
    lost: bool = False
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class FakeAnthropic:
    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []
        self.asked = asyncio.Event()
        self._http = RawHttpServer(self._handle)

    async def __aenter__(self) -> "FakeAnthropic":
        await self._http.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._http.__aexit__(*error)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._http.port}"

    @property
    def connection_count(self) -> int:
        return self._http.connection_count

    async def _handle(self, request: Request, reply: Reply) -> None:
        match request.method, request.path:
            case "GET", "/v1/models":
                models = [{"type": "model", "id": "claude-fake-1", "display_name": "Claude Fake 1"}]
                reply.json({"data": models, "has_more": False})
            case "POST", "/v1/messages":
                exchange = Exchange(request.json(), dict(request.headers))
                self.exchanges.append(exchange)
                self.asked.set()
                try:
                    await self._answer(exchange, reply)
                except asyncio.CancelledError:
                    exchange.lost = True
                    raise
                finally:
                    exchange.ended.set()
            case _:
                _error(reply, 404, "not_found_error", "Not found")

    async def _answer(self, exchange: Exchange, reply: Reply) -> None:
        body = exchange.body
        problem = _problem(body, exchange.headers.get("anthropic-version", ""))
        if problem:
            _error(reply, 400, "invalid_request_error", problem)
            return
        model = str(body["model"])
        kind = model.removeprefix("fail:") if model.startswith("fail:") else ""
        first = sum(other.body.get("model") == model for other in self.exchanges) == 1
        if kind in _STATUS:
            status, error_type, message = _STATUS[kind]
            _error(reply, status, error_type, message, **({"retry_after": "7"} if kind == "429" else {}))
        elif kind == "flaky" and first:
            _error(reply, 529, "overloaded_error", "Overloaded")
        elif kind == "soon" and first:
            _error(reply, 429, "rate_limit_error", "Too many requests", retry_after="0.01")
        elif kind == "redirect":
            reply.whole(b"", "text/html", 302, location="http://elsewhere.invalid/")
        elif kind == "html":
            reply.whole(b"<html><head><title>Log in</title></head></html>", "text/html")
        elif kind == "slow":
            await asyncio.get_running_loop().create_future()
        elif kind == "hangup" and first:
            reply.drop()
        else:
            await self._stream(body, kind, first, reply)

    async def _stream(self, body: dict[str, Any], kind: str, first: bool, reply: Reply) -> None:
        text = _asked(body)
        out = _Out(reply)
        message = {"id": "msg_1", "role": "assistant", "content": [], "usage": {**PROMPT_USAGE, "output_tokens": 1}}
        out.send({"type": "message_start", "message": message})
        out.send({"type": "ping"})
        if kind == "first-overloaded" and first:
            out.send({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})
            reply.end()
            return
        if "think first" in text or (body.get("thinking") or {}).get("type") in ("enabled", "adaptive"):
            deltas = [{"type": "thinking_delta", "thinking": thought} for thought in THOUGHTS]
            signature = {"type": "signature_delta", "signature": SIGNATURE}
            out.block({"type": "thinking", "thinking": "", "signature": ""}, [*deltas, signature])
        stop = "end_turn"
        called = [("f", '{"x": ')] if kind == "tool-json" else _TOOL.findall(text)
        if called and (kind == "tool-json" or body.get("tools")):
            for number, (name, arguments) in enumerate(called, 1):
                half = len(arguments) // 2
                cut = ("", arguments[:half], arguments[half:])
                parts = [{"type": "input_json_delta", "partial_json": part} for part in cut]
                out.block({"type": "tool_use", "id": f"toolu_{number}", "name": name, "input": {}}, parts)
            stop = "tool_use"
        elif kind not in ("empty", "length"):
            out.begin({"type": "text", "text": ""})
            for number, token in enumerate(TOKENS):
                if number == 2 and await _break(kind, out, reply):
                    return
                out.delta({"type": "text_delta", "text": token})
            while "endless" in text:
                out.delta({"type": "text_delta", "text": " word"})
                await asyncio.sleep(0.01)
            out.end()
        stop = {"refusal": "refusal", "context": "model_context_window_exceeded", "length": "max_tokens"}.get(
            kind, stop
        )
        details = {"type": "refusal", "category": "bio", "explanation": None} if kind == "refusal" else None
        out.send(
            {"type": "message_delta", "delta": {"stop_reason": stop, "stop_details": details}, "usage": OUTPUT_USAGE}
        )
        if kind != "end":
            out.send({"type": "message_stop"})
        reply.end()


class _Out:
    def __init__(self, reply: Reply) -> None:
        reply.start("text/event-stream; charset=utf-8")
        self._reply = reply
        self._index = -1

    def send(self, event: dict[str, Any]) -> None:
        self._reply.write(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())

    def begin(self, block: dict[str, Any]) -> None:
        self._index += 1
        self.send({"type": "content_block_start", "index": self._index, "content_block": block})

    def delta(self, delta: dict[str, Any]) -> None:
        self.send({"type": "content_block_delta", "index": self._index, "delta": delta})

    def end(self) -> None:
        self.send({"type": "content_block_stop", "index": self._index})

    def block(self, block: dict[str, Any], deltas: list[dict[str, Any]]) -> None:
        self.begin(block)
        for delta in deltas:
            self.delta(delta)
        self.end()


def _problem(body: dict[str, Any], version: str) -> str:
    """What the real API objects to, in its words."""
    given = [name for name in _SAMPLING if name in body]
    if given and version != "2023-06-01":
        return f"{given[0]}: Extra inputs are not permitted"
    if given and str(body["model"]).startswith("fixed"):
        return f"`{given[0]}` is deprecated for this model."
    if "temperature" in body and "top_p" in body:
        return "`temperature` and `top_p` cannot both be specified for this model. Please use only one."
    if (body.get("thinking") or {}).get("type") == "enabled" and str(body["model"]).startswith("fixed"):
        return '"thinking.type.enabled" is not supported for this model.'
    messages = body.get("messages") or []
    if not messages or messages[0]["role"] != "user" or messages[-1]["role"] != "user":
        return "messages: the first and the last must use the user role"
    if any(one["role"] == other["role"] for one, other in itertools.pairwise(messages)):
        return "messages: roles must alternate"
    blocks = [block for message in messages for block in message["content"]]
    if any(block["type"] == "text" and not block["text"] for block in blocks):
        return "messages: text content blocks must be non-empty"
    for message, after in itertools.pairwise([{"content": []}, *messages, {"content": []}]):
        kinds = [block["type"] for block in after["content"]]
        if "tool_result" in kinds[kinds.count("tool_result") :]:
            return "messages: tool_result blocks must come first in the content"
        used = {block["id"] for block in message["content"] if block["type"] == "tool_use"}
        if used - {block.get("tool_use_id") for block in after["content"]}:
            return "messages: tool_use ids were found without tool_result blocks"
        answered = {block["tool_use_id"] for block in after["content"] if block["type"] == "tool_result"}
        if answered - used:
            return "messages: unexpected `tool_use_id` found in `tool_result` blocks"
        if not all(map(_ID.fullmatch, used)):
            return "messages: tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'"
        first = (message["content"] or [{}])[0]
        if used and body.get("thinking") and first["type"] != "thinking":
            return "messages.1.content.0.type: Expected `thinking` or `redacted_thinking`, but found `tool_use`."
        if first.get("type") == "thinking" and str(body["model"]).startswith("other"):
            return "messages.1.content.0: Invalid `signature` in `thinking` block"
    return ""


def _asked(body: dict[str, Any]) -> str:
    content = body["messages"][-1]["content"]
    return " ".join(block.get("text", "") for block in content)


async def _break(kind: str, out: _Out, reply: Reply) -> bool:
    match kind:
        case "cut":
            reply.drop()
        case "stall":
            await asyncio.get_running_loop().create_future()
        case "overloaded":
            out.send({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})
        case "garbage":
            reply.write(b"event: x\ndata: {this is no JSON\n\n")
        case _:
            return False
    return True


def _error(reply: Reply, status: int, kind: str, message: str, **headers: str) -> None:
    error = {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}
    with contextlib.suppress(RuntimeError):
        reply.json(error, status, **headers)
