"""A fake OpenAI-compatible server that speaks the real wire protocol, with every delay and every failure settable.

In the test's own loop, ``async with FakeOpenAI(first_token_s=0) as fake: fake.base_url``; in a process of its own, so
that its work is not counted with the server's, ``async with fake_openai_process("--first-token", "0.15") as base_url``
or ``python -m fakes.openai_server --port 0`` (with ``tests`` on the path; prints its base URL as the first line).

What it answers: a text that asks for an ``answer of 60 tokens`` gets :func:`fakes.openai_script.scripted_answer`, one
that says ``call NAME {json}`` and offers tools gets that call, ``think first`` adds reasoning; anything else gets
``settings.answer``. A model whose name begins with ``fail:`` fails in that way, see :mod:`fakes.openai_failures`.
``GET /_log`` lists the exchanges with the time (``time.monotonic``, the same for every process of a machine) of every
token written and of a client that hung up; ``POST /_settings`` changes settings, ``POST /_clear`` empties the log.
"""

import argparse
import asyncio
import base64
import contextlib
import hashlib
import json
import os
import re
import struct
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from fakes.openai_failures import fail
from fakes.openai_script import Answer, answer_for, chat_event, content_event, speech_pcm, wav_header
from fakes.openai_strictness import problem
from fakes.raw_http import RawHttpServer, Reply, Request


@dataclass(slots=True)
class Settings:
    first_token_s: float = 0.15
    tokens_per_s: float = 30.0
    """0: as fast as it can"""
    speech_first_byte_s: float = 0.2
    speech_real_time: float = 0.15
    """seconds spent on a second of speech after its first byte; 0: as fast as it can"""
    speech_s_per_character: float = 0.06
    speech_piece_ms: int = 100
    transcribe_s: float = 0.3
    transcript: str = "hello there"
    answer: Answer = field(default_factory=Answer)
    models: tuple[str, ...] = ("fake-chat", "tts-fake", "whisper-fake", "embedding-fake")
    has_completions: bool = True
    """False: like a server that has chat alone"""
    stream_options: str = "counted"
    """what becomes of a wish for the usage: ``counted``, ``ignored``, ``refused``, ``refused namelessly``"""
    refusing: bool = True
    """False: a model named ``fail:400`` does well"""
    prompt_tokens: int = 42
    cached_tokens: int = 16

    def change(self, values: dict[str, Any]) -> None:
        """``tokens`` stands for an answer of these tokens; unknown names are refused. :raises ValueError:"""
        known = {item.name for item in fields(self)} - {"answer"}
        for name, value in values.items():
            if name == "tokens":
                self.answer = Answer(tuple(value))
            elif name in known:
                setattr(self, name, tuple(value) if isinstance(value, list) else value)
            else:
                raise ValueError(f"unknown setting {name}; known: tokens, {', '.join(sorted(known))}")


@dataclass(slots=True)
class Exchange:
    """One request and what became of it; times are ``time.monotonic`` seconds."""

    path: str
    body: dict[str, Any]
    authorization: str
    headers: dict[str, str]
    connection: int
    received: float
    file: bytes = b""
    written: list[float] = field(default_factory=list)
    """of every token, or piece of speech"""
    finished: float | None = None
    lost: float | None = None
    """when the client hung up before the answer was complete"""
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def model(self) -> str:
        return str(self.body.get("model", ""))

    def log(self) -> dict[str, Any]:
        return {
            "path": self.path,
            "model": self.model,
            "body": self.body,
            "connection": self.connection,
            "received": self.received,
            "written": self.written,
            "finished": self.finished,
            "lost": self.lost,
        }


class FakeOpenAI:
    def __init__(self, port: int = 0, **settings: Any) -> None:
        self.settings = Settings()
        for name, value in settings.items():
            setattr(self.settings, name, value)
        self.exchanges: list[Exchange] = []
        self.asked = asyncio.Event()
        """set by the first request"""
        self._http = RawHttpServer(self._handle, port)
        self._routes = {
            "/chat/completions": self._chat,
            "/completions": self._chat,
            "/audio/speech": self._speech,
            "/audio/transcriptions": self._transcribe,
            "/embeddings": self._embed,
        }

    async def __aenter__(self) -> "FakeOpenAI":
        await self._http.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._http.__aexit__(*error)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._http.port}/v1"

    @property
    def connection_count(self) -> int:
        """How many connections were ever opened."""
        return self._http.connection_count

    def of(self, path: str) -> list[Exchange]:
        """The exchanges of one endpoint, such as ``/chat/completions``."""
        return [exchange for exchange in self.exchanges if exchange.path == path]

    async def _handle(self, request: Request, reply: Reply) -> None:
        path = request.path.removeprefix("/v1")
        match request.method, path:
            case "GET", "/models":
                self._note(request, path, {})
                reply.json({"object": "list", "data": [{"id": m, "object": "model"} for m in self.settings.models]})
            case "GET", "/_log":
                reply.json([exchange.log() for exchange in self.exchanges])
            case "POST", "/_clear":
                self.exchanges.clear()
                reply.json({})
            case "POST", "/_settings":
                try:
                    self.settings.change(request.json())
                except ValueError as error:
                    reply.json({"error": str(error)}, 400)
                else:
                    reply.json({})
            case "POST", _ if path in self._routes and (path != "/completions" or self.settings.has_completions):
                await self._exchange(request, reply, path)
            case _:
                reply.json({"error": {"message": f"no such path {request.path}", "type": "invalid_request_error"}}, 404)

    def _note(self, request: Request, path: str, body: dict[str, Any]) -> Exchange:
        exchange = Exchange(
            path,
            body,
            request.headers.get("authorization", ""),
            dict(request.headers),
            request.connection,
            time.monotonic(),
        )
        self.exchanges.append(exchange)
        self.asked.set()
        return exchange

    async def _exchange(self, request: Request, reply: Reply, path: str) -> None:
        if path == "/audio/transcriptions":
            body, file = _form(request)
        else:
            body, file = request.json(), b""
        exchange = self._note(request, path, body)
        exchange.file = file
        try:
            failure = exchange.model.removeprefix("fail:")
            well = failure == exchange.model or (failure == "400" and not self.settings.refusing)
            if well or not await fail(failure, exchange, self.exchanges, reply):
                await self._routes[path](exchange, reply)
            exchange.finished = time.monotonic()
        except asyncio.CancelledError:
            exchange.lost = time.monotonic()
            raise
        finally:
            exchange.ended.set()

    async def _chat(self, exchange: Exchange, reply: Reply) -> None:
        body = exchange.body
        if "stream_options" in body and self.settings.stream_options.startswith("refused"):
            _refuse_stream_options(reply, named=self.settings.stream_options == "refused")
            return
        if refused := problem(body):
            reply.json({"error": {"message": refused[0], "param": refused[1], "code": "unsupported_value"}}, 400)
            return
        answer = answer_for(body, self.settings.answer)
        raw = exchange.path == "/completions"
        if not body.get("stream"):
            await asyncio.sleep(self.settings.first_token_s)
            text = "".join(answer.tokens)
            choice = {"text": text} if raw else {"message": {"role": "assistant", "content": text}}
            choices = [{"index": 0, "finish_reason": answer.finish} | choice]
            reply.json({"id": "fake", "choices": choices, "usage": self._usage(answer)})
            return
        reply.start("text/event-stream; charset=utf-8")
        if raw:
            events = [_completion_event(token) for token in answer.tokens]
        else:
            reply.write(chat_event('{"role":"assistant","content":""}'))
            events = [chat_event(json.dumps({"reasoning_content": thought})) for thought in answer.thoughts]
            events += [content_event(token) for token in answer.tokens]
            events += _tool_events(answer)
        await self._pace(events, exchange, reply)
        reply.write(_completion_event("", answer.finish) if raw else chat_event("{}", answer.finish))
        if (body.get("stream_options") or {}).get("include_usage") and self.settings.stream_options == "counted":
            reply.write(_sse({"object": "chat.completion.chunk", "choices": [], "usage": self._usage(answer)}))
        reply.write(b"data: [DONE]\n\n")
        reply.end()

    def _usage(self, answer: Answer) -> dict[str, Any]:
        """A token for every delta of text and thought, five for a call."""
        reasoning = len(answer.thoughts)
        completion = len(answer.tokens) + reasoning + 5 * len(answer.tool_calls)
        return {
            "prompt_tokens": self.settings.prompt_tokens,
            "completion_tokens": completion,
            "total_tokens": self.settings.prompt_tokens + completion,
            "prompt_tokens_details": {"cached_tokens": self.settings.cached_tokens},
            "completion_tokens_details": {"reasoning_tokens": reasoning},
        }

    async def _pace(self, events: list[bytes], exchange: Exchange, reply: Reply) -> None:
        """Every event at its time, counted from the request, so that nothing adds up to a drift."""
        speed = self.settings.tokens_per_s
        begin = exchange.received + self.settings.first_token_s
        for index, event in enumerate(events):
            wait = begin + (index / speed if speed else 0.0) - time.monotonic()
            if wait > 0:
                await asyncio.sleep(wait)
            if not reply.room.is_set():
                await reply.room.wait()
            reply.write(event)
            exchange.written.append(time.monotonic())

    async def _speech(self, exchange: Exchange, reply: Reply) -> None:
        settings = self.settings
        pcm = speech_pcm(str(exchange.body.get("input", "")), settings.speech_s_per_character)
        as_wav = exchange.body.get("response_format") == "wav"
        piece_bytes = 48 * settings.speech_piece_ms
        await asyncio.sleep(settings.speech_first_byte_s)
        reply.start("audio/wav" if as_wav else "audio/pcm")
        if as_wav:
            reply.write(wav_header())
        begin = time.monotonic()
        for at in range(0, len(pcm), piece_bytes):
            wait = begin + at / 48_000 * settings.speech_real_time - time.monotonic()
            if wait > 0:
                await asyncio.sleep(wait)
            if not reply.room.is_set():
                await reply.room.wait()
            reply.write(pcm[at : at + piece_bytes])
            exchange.written.append(time.monotonic())
        reply.end()

    async def _transcribe(self, exchange: Exchange, reply: Reply) -> None:
        await asyncio.sleep(self.settings.transcribe_s)
        text = self.settings.transcript
        if exchange.body.get("stream") == "true":
            reply.start("text/event-stream")
            for word in text.split(" "):
                delta = word if not exchange.written else f" {word}"
                reply.write(_sse({"type": "transcript.text.delta", "delta": delta}))
                exchange.written.append(time.monotonic())
            reply.write(_sse({"type": "transcript.text.done", "text": text}))
            reply.end()
        elif exchange.body.get("response_format") == "text":
            reply.whole(f"{text}\n".encode(), "text/plain")
        else:
            reply.json({"text": text})

    async def _embed(self, exchange: Exchange, reply: Reply) -> None:
        given = exchange.body.get("input", "")
        texts = given if isinstance(given, list) else [given]
        dimensions = int(exchange.body.get("dimensions") or 8)
        as_base64 = exchange.body.get("encoding_format") == "base64"
        data: list[dict[str, Any]] = []
        for index, text in enumerate(texts):
            vector = embedding_of(text, dimensions)
            packed = base64.b64encode(struct.pack(f"<{dimensions}f", *vector)).decode()
            data.append({"object": "embedding", "index": index, "embedding": packed if as_base64 else vector})
        reply.json({"object": "list", "model": exchange.model, "data": data[::-1]})


def embedding_of(text: str, dimensions: int) -> list[float]:
    """A vector that only the text decides, each value exact in 32 bits."""
    digest = hashlib.sha256(text.encode()).digest()
    return [digest[k % len(digest)] / 256 for k in range(dimensions)]


def _sse(value: Any) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def _refuse_stream_options(reply: Reply, *, named: bool) -> None:
    """As OpenAI's own servers refuse what they do not know, and as those do that check a request by its model."""
    if named:
        error = {"message": "Unrecognized request argument supplied: stream_options", "type": "invalid_request_error"}
        reply.json({"error": error}, 400)
    else:
        detail = {"type": "extra_forbidden", "loc": ["body", "stream_options"], "msg": "Extra inputs are not permitted"}
        reply.json({"detail": [detail]}, 422)


def _completion_event(text: str, finish: str | None = None) -> bytes:
    return _sse({"object": "text_completion", "choices": [{"index": 0, "text": text, "finish_reason": finish}]})


def _tool_events(answer: Answer) -> list[bytes]:
    """Each call in four deltas: its name, then its arguments in three parts."""
    events: list[bytes] = []
    for index, (name, arguments) in enumerate(answer.tool_calls):
        head = {"index": index, "id": f"call_{index}", "type": "function", "function": {"name": name, "arguments": ""}}
        events.append(chat_event(json.dumps({"tool_calls": [head]})))
        third = len(arguments) // 3
        for part in (arguments[:third], arguments[third : 2 * third], arguments[2 * third :]):
            delta = {"tool_calls": [{"index": index, "function": {"arguments": part}}]}
            events.append(chat_event(json.dumps(delta)))
    return events


def _form(request: Request) -> tuple[dict[str, Any], bytes]:
    """-> (fields of a multipart form, the file's bytes)."""
    boundary = request.headers["content-type"].partition("boundary=")[2].strip('"').encode()
    values: dict[str, Any] = {}
    file = b""
    for part in request.body.split(b"--" + boundary)[1:-1]:
        head, _, content = part.partition(b"\r\n\r\n")
        content = content.removesuffix(b"\r\n")
        parameters = dict(re.findall(r'(\w+)="([^"]*)"', head.decode()))
        if "filename" in parameters:
            file = content
            values["filename"] = parameters["filename"]
        else:
            values[parameters["name"]] = content.decode()
    return values, file


@contextlib.asynccontextmanager
async def fake_openai_process(*arguments: str) -> AsyncIterator[str]:
    """The fake in a process of its own; yields its base URL. Arguments as on the command line."""
    tests = str(Path(__file__).parents[1])
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "fakes.openai_server",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        cwd=tests,
        env=os.environ | {"PYTHONPATH": tests},
    )
    assert process.stdout is not None
    try:
        line = await process.stdout.readline()
        if not line:
            raise RuntimeError("the fake OpenAI server did not start")
        yield line.decode().strip()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def _serve(arguments: argparse.Namespace) -> None:
    settings = {name: value for name, value in vars(arguments).items() if value is not None and name != "port"}
    async with FakeOpenAI(arguments.port, **settings) as fake:
        print(fake.base_url, flush=True)
        await asyncio.get_running_loop().create_future()


def main() -> None:
    parser = argparse.ArgumentParser(description="A fake OpenAI-compatible server with settable delays.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--first-token", type=float, dest="first_token_s", help="seconds")
    parser.add_argument("--tokens-per-s", type=float, help="0: as fast as it can")
    parser.add_argument("--speech-first-byte", type=float, dest="speech_first_byte_s", help="seconds")
    parser.add_argument("--speech-real-time", type=float, help="seconds for each second of speech")
    parser.add_argument("--speech-s-per-character", type=float)
    parser.add_argument("--speech-piece-ms", type=int)
    parser.add_argument("--transcribe", type=float, dest="transcribe_s", help="seconds")
    parser.add_argument("--transcript")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(parser.parse_args()))


if __name__ == "__main__":
    main()
