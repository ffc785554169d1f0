"""What the fake OpenAI server says: answers whose clauses end at known tokens, and a tone in place of a voice."""

import functools
import json
import math
import re
import struct
from dataclasses import dataclass
from typing import Any

SAMPLE_RATE = 24_000
_FIRST = ("Well", " hello", " there", " my", " friend.")
_CLAUSE_LENGTHS = (4, 6, 7, 5, 8)
_WORDS = ("the", "old", "stage", "light", "waits", "for", "a", "voice", "that", "carries", "far", "tonight")
_LENGTH_MARKER = re.compile(r"answer of (\d+) tokens")
_TOOL_MARKER = re.compile(r"call (\w+) (\{.*\})", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Answer:
    tokens: tuple[str, ...] = ("Hello", " there.", " I", " am", " a", " fake", " model.")
    thoughts: tuple[str, ...] = ()
    """sent before the tokens, as ``reasoning_content``"""
    tool_calls: tuple[tuple[str, str], ...] = ()
    """name and arguments as JSON text"""
    finish: str = "stop"


@functools.lru_cache(maxsize=64)
def scripted_answer(n_tokens: int) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """-> (tokens, indices of the tokens that end a clause).

    The first sentence has five tokens, so its last is sent ``first_token_s + 4 / tokens_per_s`` after the request and
    the next one proves that it ended. Clauses alternate between a comma and a full stop; the last token is a full stop.
    """
    tokens: list[str] = []
    ends: list[int] = []
    for at in range(min(n_tokens, len(_FIRST))):
        tokens.append(_FIRST[at])
    if tokens:
        tokens[-1] = tokens[-1].rstrip(".") + "."
        ends.append(len(tokens) - 1)
    clause = 0
    while len(tokens) < n_tokens:
        length = min(_CLAUSE_LENGTHS[clause % len(_CLAUSE_LENGTHS)], n_tokens - len(tokens))
        begins_sentence = tokens[-1].endswith(".")
        words = [_WORDS[(len(tokens) + k) % len(_WORDS)] for k in range(length)]
        if begins_sentence:
            words[0] = words[0].capitalize()
        stops = clause % 2 == 1 or len(tokens) + length == n_tokens
        words[-1] += "." if stops else ","
        tokens += [" " + word for word in words]
        ends.append(len(tokens) - 1)
        clause += 1
    return tuple(tokens), tuple(ends)


def _last_text(body: dict[str, Any]) -> tuple[str, str]:
    """-> (role, text) of what is asked."""
    if isinstance(body.get("prompt"), str):
        return "user", body["prompt"]
    messages = body.get("messages") or [{}]
    content = messages[-1].get("content") or ""
    if isinstance(content, list):
        content = "".join(part.get("text", "") for part in content)
    return messages[-1].get("role", "user"), content


def answer_for(body: dict[str, Any], otherwise: Answer) -> Answer:
    """``answer of N tokens``, ``think first`` and ``call NAME {json}`` in the last message choose the answer."""
    role, text = _last_text(body)
    tool = _TOOL_MARKER.search(text)
    if tool is not None and role == "user" and body.get("tools"):
        return Answer((), tool_calls=((tool[1], tool[2]),), finish="tool_calls")
    length = _LENGTH_MARKER.search(text)
    answer = Answer(scripted_answer(int(length[1]))[0]) if length is not None else otherwise
    if "think first" in text:
        answer = Answer(answer.tokens, ("Let", " me", " think."), answer.tool_calls, answer.finish)
    limit = body.get("max_tokens") or body.get("max_completion_tokens")
    if limit is not None and len(answer.tokens) >= limit:  # with no token left to end with
        answer = Answer(answer.tokens[:limit], answer.thoughts, answer.tool_calls, "length")
    return answer


@functools.lru_cache(maxsize=4096)
def chat_event(delta_json: str, finish: str | None = None) -> bytes:
    """One event of a chat stream."""
    return (
        b'data: {"id":"chatcmpl-fake","object":"chat.completion.chunk","created":1,"model":"fake","choices":'
        b'[{"index":0,"delta":%b,"finish_reason":%b}]}\n\n' % (delta_json.encode(), json.dumps(finish).encode())
    )


def content_event(token: str) -> bytes:
    return chat_event(json.dumps({"content": token}))


@functools.lru_cache(maxsize=1)
def _period() -> bytes:
    """One period of a 200 Hz tone: 120 samples."""
    samples = SAMPLE_RATE // 200
    return struct.pack(f"<{samples}h", *(round(8000 * math.sin(2 * math.pi * k / samples)) for k in range(samples)))


def speech_pcm(text: str, seconds_per_character: float = 0.06) -> bytes:
    """The sound of a text: 24 kHz, 16 bit, mono."""
    size = 2 * round(seconds_per_character * len(text) * SAMPLE_RATE)
    period = _period()
    return (period * (size // len(period) + 1))[:size]


def wav_header(data_bytes: int = 0xFFFFFFFF, sample_rate: int = SAMPLE_RATE) -> bytes:
    """As a server sends it that does not know the length yet; with a chunk between ``fmt`` and ``data``."""
    fmt = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, sample_rate, sample_rate * 2, 2, 16)
    listing = struct.pack("<4sI", b"LIST", 5) + b"INFOx\0"
    return b"RIFF\xff\xff\xff\xffWAVE" + fmt + listing + struct.pack("<4sI", b"data", data_bytes)
