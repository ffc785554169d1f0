"""The ways in which the fake OpenAI server fails: a model named ``fail:<key>`` chooses one.

``400``: a refusal that names no parameter; ``401 403 404 429 quota 500 503``: an error status; ``parameter``: a refused
``temperature``; ``redirect``; ``html``: a web page; ``slow``: never answers; ``stall``: two tokens, then silence;
``cut``: hangs up in mid-stream; ``end``: a stream that ends without saying so; ``error``: an error object in
mid-stream; ``garbage``: no JSON; ``not-an-event``: another JSON; ``empty``: no text; ``length`` and ``filter``: finish
reasons; ``tool-json``: broken tool arguments; ``flaky``: 500, then well; ``json``: one whole reply although a stream
was asked for; ``refusal``: the model's own; ``odd``: a valid stream, oddly framed; ``hangup``: closes with no reply,
once; ``done-open``: a complete stream whose connection then stays open; ``uncounted``: one that ends and is silent
before it tells its usage.
Speech: ``odd-bytes``: pieces that cut samples apart; ``mp3``: another format; ``silent``: nothing; ``wav-anyway``.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Protocol

from fakes.openai_script import chat_event, content_event, speech_pcm, wav_header
from fakes.raw_http import Reply


class _Exchange(Protocol):
    path: str
    body: dict[str, Any]
    written: list[float]

    @property
    def model(self) -> str: ...


_STATUS: dict[str, tuple[int, str, str, dict[str, str]]] = {
    "400": (400, "The prompt is longer than the context", "", {}),
    "401": (401, "Incorrect API key provided: sk-secret-of-the-test.", "invalid_api_key", {}),
    "403": (403, "Country, region, or territory not supported", "unsupported_country", {}),
    "404": (404, "The model `fail:404` does not exist", "model_not_found", {}),
    "429": (429, "Rate limit reached", "rate_limit_exceeded", {"retry_after": "7"}),
    "quota": (429, "You exceeded your current quota", "insufficient_quota", {}),
    "500": (500, "The server had an error", "server_error", {}),
    "503": (503, "Overloaded", "overloaded", {}),
}


async def fail(kind: str, exchange: _Exchange, all_exchanges: Sequence[_Exchange], reply: Reply) -> bool:
    """Fail as asked; False: this request is to be served well."""
    if kind in _STATUS:
        status, message, code, headers = _STATUS[kind]
        reply.json({"error": {"message": message, "code": code}}, status, **headers)
        return True
    first_time = sum(other.model == exchange.model for other in all_exchanges) == 1
    if exchange.path == "/audio/speech" and kind in ("odd-bytes", "mp3", "silent", "wav-anyway", "cut"):
        await _speech(kind, str(exchange.body.get("input", "")), reply)
        return True
    match kind:
        case "parameter":
            return _refuse_temperature(exchange, reply)
        case "flaky":
            if first_time:
                reply.json({"error": {"message": "try again"}}, 500)
            return first_time
        case "hangup":
            if first_time:
                reply.drop()
            return first_time
        case "redirect":
            reply.whole(b"", "text/html", 302, location="http://elsewhere.invalid/v1")
        case "html":
            reply.whole(b"<html><head><title>Log in</title></head><body>Welcome</body></html>", "text/html")
        case "json":
            reply.json({"choices": [{"message": {"content": "All at once."}, "finish_reason": "stop"}]})
        case "slow":
            await asyncio.get_running_loop().create_future()
        case _:
            await _stream(kind, exchange, reply)
    return True


def _refuse_temperature(exchange: _Exchange, reply: Reply) -> bool:
    if "temperature" not in exchange.body:
        return False
    error = {"message": "Unsupported value: 'temperature'", "param": "temperature", "code": "unsupported_value"}
    reply.json({"error": error}, 400)
    return True


async def _stream(kind: str, exchange: _Exchange, reply: Reply) -> None:
    reply.start("text/event-stream")
    if kind == "odd":
        await _odd_frames(reply)
        return
    if kind not in ("empty", "tool-json", "refusal"):
        for token in ("Hello", " there."):
            reply.write(content_event(token))
            exchange.written.append(time.monotonic())
    match kind:
        case "stall":
            await asyncio.get_running_loop().create_future()
        case "cut":
            reply.drop()
            return
        case "error":
            reply.write(b'data: {"error":{"message":"the backend ran out of memory","code":500}}\n\n')
        case "garbage":
            reply.write(b"data: {this is no JSON\n\n")
        case "not-an-event":
            reply.write(b"data: [1, 2]\n\n")
        case "empty":
            reply.write(chat_event("{}", "stop"))
        case "length":
            reply.write(chat_event("{}", "length"))
        case "filter":
            reply.write(chat_event("{}", "content_filter"))
        case "refusal":
            reply.write(chat_event('{"refusal":"I will not."}'))
            reply.write(chat_event("{}", "stop"))
        case "tool-json":
            call = '{"index":0,"id":"a","function":{"name":"f","arguments":"{\\"x\\": "}}'
            reply.write(chat_event(f'{{"tool_calls":[{call}]}}'))
            reply.write(chat_event("{}", "tool_calls"))
        case "uncounted":
            reply.write(chat_event("{}", "stop"))
            await asyncio.get_running_loop().create_future()
        case "done-open":
            reply.write(chat_event("{}", "stop"))
            reply.write(b"data: [DONE]\n\n")
            await asyncio.get_running_loop().create_future()
    if kind not in ("end", "error", "garbage", "not-an-event"):
        reply.write(b"data: [DONE]\n\n")
    reply.end()


async def _odd_frames(reply: Reply) -> None:
    """CRLF, comments, other fields, an event in two data lines, an empty choice list, cut at every third byte."""
    stream = (
        b": keep-alive\r\n\r\n"
        b'event: message\r\nid: 1\r\ndata:{"choices":[{"delta":\r\ndata: {"content":"H\xc3\xa9llo"}}]}\r\n\r\n'
        b'data: {"choices":[],"usage":{"total_tokens":3}}\r\n\r\nretry: 10\r\n\r\n'
        + content_event(" th\u00e9re.").replace(b"\n", b"\r\n")
        + b": ping\n\n"
        + chat_event("{}", "stop")
        + b"data: [DONE]"
    )
    for at in range(0, len(stream), 3):
        reply.write(stream[at : at + 3])
        await asyncio.sleep(0)
    reply.end()


async def _speech(kind: str, text: str, reply: Reply) -> None:
    pcm = speech_pcm(text)
    if kind == "mp3":
        reply.whole(b"\xff\xfb" + bytes(400), "audio/mpeg")
        return
    reply.start("application/octet-stream" if kind == "wav-anyway" else "audio/pcm")
    if kind == "wav-anyway":
        reply.write(wav_header(len(pcm)) + pcm + b"LIST\4\0\0\0more")
    elif kind == "cut":
        reply.write(pcm[:4800])
        reply.drop()
        return
    elif kind == "odd-bytes":
        for at in range(0, len(pcm), 333):
            reply.write(pcm[at : at + 333])
            await asyncio.sleep(0)
    reply.end()
