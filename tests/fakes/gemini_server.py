"""A fake of Gemini's API that speaks the real wire: ``POST /v1/models/<model>:streamGenerateContent?alt=sse``.

    async with FakeGemini() as fake: fake.base_url

A model named ``fail-<kind>`` fails in that way: ``key 401 403 404 413 429 500 503`` a status, ``flaky`` 503 once,
``soon`` and ``later`` 429 with a wait in the headers,
``redirect``, ``html``, ``slow`` never answers, ``hangup`` closes with no reply once; ``blocked`` the prompt; in
mid-stream ``stall``, ``cut``, ``end`` (no finish reason), ``error``, ``garbage``, ``safety``, ``other``, ``length``,
``empty``, ``malformed``. A model named ``plain-...`` refuses to be told how to think.
``call NAME {json}`` with tools on offer calls that tool, as often as it stands there,
``think first`` thinks, ``endless`` never stops.
"""

import asyncio
import base64
import json
import re
from dataclasses import dataclass, field
from typing import Any

from fakes.raw_http import RawHttpServer, Reply, Request

TOKENS = ("Hello", " there.", " I", " am", " Gemini.")
THOUGHTS = ("**Greeting** Let me", " think.")
USAGE = {
    "promptTokenCount": 29,
    "cachedContentTokenCount": 16,
    "candidatesTokenCount": 18,
    "thoughtsTokenCount": 7,
    "totalTokenCount": 54,
}
"""of every answer"""
SIGNATURE = base64.b64encode(b"signed").decode()
_PATH = re.compile(r"/v1/models/([^:/]+):streamGenerateContent")
UNSIGNED = base64.b64encode(b"skip_thought_signature_validator").decode()
_TOOL = re.compile(r"call (\w+) (\{[^{}]*\})")
_USERS_OWN = ("args", "response", "parametersJsonSchema")
_STATUS = {
    "key": (400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key."),
    "401": (401, "UNAUTHENTICATED", "Request had invalid authentication credentials."),
    "403": (403, "PERMISSION_DENIED", "Your project has been denied access."),
    "404": (404, "NOT_FOUND", "models/fail-404 is not found for API version v1"),
    "413": (413, "INVALID_ARGUMENT", "Request payload size exceeds the limit"),
    "429": (429, "RESOURCE_EXHAUSTED", "You exceeded your current quota"),
    "500": (500, "INTERNAL", "An internal error has occurred"),
    "503": (503, "UNAVAILABLE", "The model is overloaded."),
}


@dataclass(slots=True)
class Exchange:
    model: str
    body: dict[str, Any]
    headers: dict[str, str]
    lost: bool = False
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class FakeGemini:
    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []
        self.asked = asyncio.Event()
        self._http = RawHttpServer(self._handle)

    async def __aenter__(self) -> "FakeGemini":
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
        found = _PATH.fullmatch(request.path)
        if request.method == "GET" and request.path == "/v1/models":
            talker = {"name": "models/gemini-fake", "displayName": "Gemini Fake"}
            actions = [{"supportedGenerationMethods": ["generateContent"]}, {"supportedGenerationMethods": ["embed"]}]
            reply.json({"models": [talker | one | {"name": f"models/gemini-{k}"} for k, one in enumerate(actions)]})
        elif request.method == "POST" and found:
            exchange = Exchange(found[1], _camel(request.json()), dict(request.headers))
            self.exchanges.append(exchange)
            self.asked.set()
            try:
                await self._answer(exchange, reply)
            except asyncio.CancelledError:
                exchange.lost = True
                raise
            finally:
                exchange.ended.set()
        else:
            _error(reply, 404, "NOT_FOUND", "Requested entity was not found.")

    async def _answer(self, exchange: Exchange, reply: Reply) -> None:
        kind = exchange.model.removeprefix("fail-") if exchange.model.startswith("fail-") else ""
        first = sum(other.model == exchange.model for other in self.exchanges) == 1
        problem = _problem(exchange)
        if problem:
            _error(reply, 400, "INVALID_ARGUMENT", problem)
        elif kind in _STATUS:
            _error(reply, *_STATUS[kind])
        elif kind == "later" or (kind == "soon" and first):
            reply.json({"error": {"code": 429}}, 429, retry_after="60" if kind == "later" else "0.01")
        elif kind == "flaky" and first:
            _error(reply, *_STATUS["503"])
        elif kind == "redirect":
            reply.whole(b"", "text/html", 302, location="http://elsewhere.invalid/")
        elif kind == "html":
            reply.whole(b"<html><head><title>Log in</title></head></html>", "text/html")
        elif kind == "slow":
            await asyncio.get_running_loop().create_future()
        elif kind == "hangup" and first:
            reply.drop()
        else:
            await self._stream(exchange.body, kind, reply)

    async def _stream(self, body: dict[str, Any], kind: str, reply: Reply) -> None:
        text = _asked(body)
        reply.start("text/event-stream")
        if kind == "blocked":
            _send(reply, {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}})
            reply.end()
            return
        if "think first" in text:
            for thought in THOUGHTS:
                _send(reply, _candidate([{"text": thought, "thought": True}]))
        called = _TOOL.findall(text)
        if called and body.get("tools"):
            parts: list[dict[str, Any]] = [
                {"functionCall": {"name": name, "args": json.loads(given)}} for name, given in called
            ]
            parts[0]["thoughtSignature"] = SIGNATURE  # of calls at once the first one alone has it
            _send(reply, _candidate(parts))
        elif kind not in ("empty", "length", "malformed"):
            for number, token in enumerate(TOKENS):
                if number == 2 and await _break(kind, reply):
                    return
                _send(reply, _candidate([{"text": token}]))
            while "endless" in text:
                _send(reply, _candidate([{"text": " word"}]))
                await asyncio.sleep(0.01)
        reasons = {"safety": "SAFETY", "other": "OTHER", "length": "MAX_TOKENS", "malformed": "MALFORMED_FUNCTION_CALL"}
        if kind != "end":
            _send(reply, {**_candidate([{"text": ""}], reasons.get(kind, "STOP")), "usageMetadata": USAGE})
        reply.end()


def _camel(value: Any) -> Any:
    """Google's servers take names in either spelling; what users named themselves stays as it is."""
    if isinstance(value, list):
        return [_camel(item) for item in value]
    if not isinstance(value, dict):
        return value
    names = {name: re.sub(r"_(\w)", lambda found: found[1].upper(), name) for name in value}
    return {names[name]: item if names[name] in _USERS_OWN else _camel(item) for name, item in value.items()}


def _problem(exchange: Exchange) -> str:
    body = exchange.body
    thinking = body.get("generationConfig", {}).get("thinkingConfig")
    if thinking and exchange.model.startswith("plain-"):
        return "Thinking is not enabled for this model"
    contents = body.get("contents") or []
    if not contents or contents[0]["role"] != "user" or contents[-1]["role"] != "user":
        return "Please ensure that the conversation begins and ends with a user turn."
    if any(part.get("text", "some") == "" or not part for content in contents for part in content["parts"]):
        return "Unable to submit request because it must have a text parameter."
    for before, content, after in zip([{}, *contents], contents, [*contents[1:], {}], strict=False):
        calls = [part for part in content["parts"] if "functionCall" in part]
        answered = [part for part in after.get("parts", ()) if "functionResponse" in part]
        if len(calls) != len(answered) or (calls and content["role"] != "model"):
            return "Please ensure that the number of function response parts is equal to that of function call parts."
        if any("functionResponse" in part for part in content["parts"]) and before.get("role") != "model":
            return "Please ensure that function response turn comes immediately after a function call turn."
        if calls and not exchange.model.startswith("gemini-2"):
            if "thoughtSignature" not in calls[0]:
                return "Function call is missing a thought_signature in functionCall parts."
            known = (UNSIGNED,) if exchange.model == "gemini-other" else (SIGNATURE, UNSIGNED)
            if calls[0]["thoughtSignature"] not in known:
                return "Corrupted thought signature."
    return ""


def _asked(body: dict[str, Any]) -> str:
    return " ".join(part.get("text", "") for part in body["contents"][-1]["parts"])


def _candidate(parts: list[dict[str, Any]], finish: str | None = None) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": parts}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    return {"candidates": [candidate], "modelVersion": "gemini-fake", "responseId": "r1"}


def _send(reply: Reply, chunk: dict[str, Any]) -> None:
    reply.write(b"data: " + json.dumps(chunk).encode() + b"\r\n\r\n")


async def _break(kind: str, reply: Reply) -> bool:
    match kind:
        case "cut":
            reply.drop()
        case "stall":
            await asyncio.get_running_loop().create_future()
        case "error":
            _send(reply, {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}})
        case "garbage":
            reply.write(b"data: {this is no JSON\r\n\r\n")
        case _:
            return False
    return True


def _error(reply: Reply, status: int, name: str, message: str) -> None:
    details: list[dict[str, Any]] = []
    if status == 429:
        details.append({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "7s"})
    reply.json({"error": {"code": status, "message": message, "status": name, "details": details}}, status)
