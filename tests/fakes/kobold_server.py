"""A fake KoboldCPP that speaks its real wire: HTTP/1.0, one connection a request, its own and OpenAI's endpoints.

In the test's own loop: ``async with FakeKobold() as fake: fake.url``. As a program, started as KoboldCPP is:
``python -m fakes.kobold_server --quiet --config X --host 127.0.0.1 --port N`` (with ``tests`` on the path). As there,
a ``port_param`` in the settings file wins over ``--port`` unless it is 5001, and a password holds for POST alone.

A prompt that holds ``fail:<kind>`` fails in that way: ``401 404 500 503`` a status, ``busy`` 503 once, ``bad`` its
refusal of a payload, ``cut`` hangs up in mid-stream, ``stall`` goes silent after two tokens, ``slow`` never answers,
``html`` a web page, ``garbage`` no JSON, ``empty`` no text, ``hangup`` closes with no reply, ``crash`` ends the process
in mid-stream. ``call NAME {json}`` with tools on offer calls that tool; ``endless`` goes on until it is stopped.
``GET /_log`` lists what was asked.
"""

import argparse
import asyncio
import base64
import contextlib
import json
import os
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fakes.openai_script import chat_event, speech_pcm, wav_header
from fakes.raw_http import RawHttpServer, Reply, Request

TOKENS = ("Hello", " there.", " I", " am", " Kobold.")
MODEL = "koboldcpp/tiny-talker"
USAGE = {"prompt_tokens": 29, "completion_tokens": 6, "total_tokens": 35}
"""of every answer without tools: with them KoboldCPP tells none"""
SPEAKERS = ["kobo", "cheery", "sleepy"]
_FAILURE = re.compile(r"fail:([\w-]+)")
_TOOL = re.compile(r"call (\w+) (\{.*\})", re.DOTALL)


@dataclass(slots=True)
class Exchange:
    path: str
    body: dict[str, Any]
    authorization: str
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    lost: bool = False
    """the client hung up, or the answer was aborted, before it was complete"""


class FakeKobold:
    def __init__(self, port: int = 0, *, password: str = "", config: str = "") -> None:
        self.password = password
        self.config = config
        self.transcript = " Hello there."
        self.abilities = {"llm": True, "transcribe": True, "tts": True}
        self.exchanges: list[Exchange] = []
        self.asked = asyncio.Event()
        self.aborted: asyncio.Queue[str] = asyncio.Queue()
        self._running: dict[str, asyncio.Event] = {}
        self._http = RawHttpServer(self._handle, port)

    async def __aenter__(self) -> "FakeKobold":
        await self._http.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._http.__aexit__(*error)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.port}"

    def of(self, path: str) -> list[Exchange]:
        return [exchange for exchange in self.exchanges if exchange.path == path]

    async def _handle(self, request: Request, reply: Reply) -> None:
        locked = bool(self.password) and request.headers.get("authorization") != f"Bearer {self.password}"
        if locked and request.method == "POST":
            detail = {"error": "Unauthorized", "msg": "Authentication key is missing.", "type": "unauthorized"}
            _whole(reply, {"detail": detail}, 401)
            return
        match request.method, request.path:
            case "GET", "/api/v1/model":
                name = MODEL if self.abilities["llm"] else "koboldcpp/inactive"
                _whole(reply, {"result": "koboldcpp/protected-model" if locked else name})
            case "GET", "/api/extra/version":
                _whole(reply, {"result": "KoboldCpp", "version": "1.104", **self.abilities})
            case "GET", "/api/extra/speakers_list":
                _whole(reply, SPEAKERS)
            case "GET", "/_log":
                asked = [{"path": exchange.path, "body": exchange.body} for exchange in self.exchanges]
                _whole(reply, {"config": self.config, "pid": os.getpid(), "exchanges": asked})
            case "POST", "/api/extra/abort":
                key = str(request.json().get("genkey", ""))
                if key in self._running:
                    self._running[key].set()
                _whole(reply, {"success": "true" if key in self._running else "false", "done": "true"})
                self.aborted.put_nowait(key)
            case "POST", "/api/extra/tokencount":
                ids = [ord(character) for character in request.json()["prompt"]]
                _whole(reply, {"value": len(ids), "ids": ids})
            case "POST", "/api/extra/detokenize":
                _whole(reply, {"result": "".join(map(chr, request.json()["ids"])), "success": True})
            case "POST", path:
                await self._exchange(path, request, reply)
            case _:
                _raw(reply, b"Error: this endpoint does not exist.", "text/html", 404)

    async def _exchange(self, path: str, request: Request, reply: Reply) -> None:
        body = request.json()
        exchange = Exchange(path, body, request.headers.get("authorization", ""))
        self.exchanges.append(exchange)
        self.asked.set()
        text = _asked(body)
        failure = _FAILURE.search(text)
        kind = failure[1] if failure else ""
        try:
            if await self._fail(kind, path, reply):
                return
            match path:
                case "/v1/chat/completions" | "/api/extra/generate/stream":
                    await self._generate(exchange, text, kind, reply)
                case "/api/extra/transcribe":
                    base64.b64decode(body["audio_data"], validate=True)
                    _whole(reply, {"text": self.transcript})
                case "/api/extra/tts":
                    self._speak(text, kind, reply)
                case _:
                    _raw(reply, b"", "text/html", 404)
        except asyncio.CancelledError:
            exchange.lost = True
            raise
        finally:
            exchange.ended.set()

    async def _fail(self, kind: str, path: str, reply: Reply) -> bool:
        match kind:
            case "401" | "404" | "500" | "503":
                _whole(reply, {"detail": {"msg": "Out of memory.", "type": "server_error"}}, int(kind))
            case "busy" if len(self.of(path)) == 1:
                detail = {"msg": "Server is busy; please try again later.", "type": "service_unavailable"}
                _whole(reply, {"detail": detail}, 503)
            case "bad":
                _whole(reply, {"detail": {"msg": "Error parsing input.", "type": "bad_input"}}, 500)
            case "html":
                _raw(reply, b"<html><head><title>Log in</title></head></html>", "text/html", 200)
            case "slow":
                await asyncio.get_running_loop().create_future()
            case "hangup":
                reply.drop()
            case "json" | "list":
                _whole(reply, ["no", "answer"] if kind == "list" else {"error": {"message": "no memory"}})
            case _:
                return False
        return True

    async def _generate(self, exchange: Exchange, text: str, kind: str, reply: Reply) -> None:
        chat = exchange.path == "/v1/chat/completions"
        key = str(exchange.body.get("genkey", ""))
        stopped = self._running[key] = asyncio.Event()
        _head(reply, "text/event-stream")
        called = _TOOL.search(text)
        tokens = () if kind == "empty" or not self.abilities["llm"] else TOKENS
        try:
            if chat and called and exchange.body.get("tools"):
                _call_tool(reply, called[1], called[2])
                return
            for number, token in enumerate(tokens):
                if kind and number == 2 and await _break(kind, reply):
                    return
                reply.transport.write(_event(chat, token))
            while "endless" in text and not stopped.is_set():
                reply.transport.write(_event(chat, " word"))
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stopped.wait(), 0.01)
            exchange.lost = stopped.is_set()
            reply.transport.write(_event(chat, "", "stop"))
            if chat and (exchange.body.get("stream_options") or {}).get("include_usage"):
                reply.transport.write(b"data: " + json.dumps({"choices": [], "usage": USAGE}).encode() + b"\n\n")
            if chat:
                reply.transport.write(b"data: [DONE]\n\n")
            reply.drop()
        finally:
            del self._running[key]

    def _speak(self, text: str, kind: str, reply: Reply) -> None:
        if kind == "empty" or not self.abilities["tts"]:
            _raw(reply, b"", "audio/wav", 200)
            return
        pcm = speech_pcm(text)
        if kind == "cut":
            _head(reply, "audio/wav", len(pcm) + 44)
            reply.transport.write(wav_header(len(pcm)) + pcm[:4800])
            reply.drop()
            return
        _raw(reply, wav_header(len(pcm)) + pcm, "audio/wav", 200)


def _asked(body: dict[str, Any]) -> str:
    if "messages" in body:
        content = body["messages"][-1]["content"]
        if isinstance(content, list):
            content = " ".join(part.get("text", "") for part in content)
        return str(content)
    if "audio_data" in body:
        return str(body.get("prompt", ""))
    return str(body.get("prompt") or body.get("input") or "")


def _event(chat: bool, token: str, finish: str | None = None) -> bytes:
    if chat:
        return chat_event(json.dumps({"role": "assistant", "content": token}), finish)
    return b"event: message\ndata: " + json.dumps({"token": token, "finish_reason": finish}).encode() + b"\n\n"


def _call_tool(reply: Reply, name: str, arguments: str) -> None:
    """As it does: worked out whole, and sent as if it had been streamed."""
    head = {"index": 0, "id": "call_12345", "type": "function", "function": {"name": name, "arguments": ""}}
    for delta in ({"role": "assistant"}, {"tool_calls": [head]}):
        reply.transport.write(chat_event(json.dumps(delta)))
    reply.transport.write(chat_event(json.dumps({"tool_calls": [{"index": 0, "function": {"arguments": arguments}}]})))
    reply.transport.write(chat_event("{}", "tool_calls") + b"data: [DONE]\n\n")
    reply.drop()


async def _break(kind: str, reply: Reply) -> bool:
    """In mid-stream. False: it goes on."""
    match kind:
        case "cut":
            reply.drop()
        case "garbage":
            reply.transport.write(b"data: {this is no JSON\n\n")
        case "error":
            reply.transport.write(b'data: {"error": {"message": "out of memory"}}\n\n')
        case "stall":
            await asyncio.get_running_loop().create_future()
        case "crash":
            print("the model is too large", flush=True)
            os._exit(3)
        case _:
            return False
    return True


def _head(reply: Reply, content_type: str, length: int | None = None, status: int = 200) -> None:
    more = "" if length is None else f"content-length: {length}\r\n"
    reply.transport.write(f"HTTP/1.0 {status} Reason\r\ncontent-type: {content_type}\r\n{more}\r\n".encode())


def _raw(reply: Reply, body: bytes, content_type: str, status: int) -> None:
    _head(reply, content_type, len(body), status)
    reply.transport.write(body)
    reply.drop()


def _whole(reply: Reply, value: Any, status: int = 200) -> None:
    _raw(reply, json.dumps(value).encode(), "application/json", status)


def kobold_command() -> str:
    """What to set as ``kobold_filepath``; needs ``PYTHONPATH`` to hold the tests' folder."""
    return f'"{sys.executable}" -m fakes.kobold_server'


TESTS = str(Path(__file__).parents[1])


async def _serve(port: int, config: str) -> None:
    settings = json.loads(Path(config).read_text("utf-8")) if config else {}
    if settings.get("broken"):
        print("Unknown model architecture", flush=True)
        raise SystemExit(2)
    chosen = settings.get("port_param", 5001)
    port = port if chosen == 5001 else chosen
    async with FakeKobold(port, config=config, password=(settings.get("password") or "").strip()):
        await asyncio.get_running_loop().create_future()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quiet", action="store_true")
    parser.add_argument("--config", default="")
    parser.add_argument("--host", default="")
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(arguments.port, arguments.config))


if __name__ == "__main__":
    main()
