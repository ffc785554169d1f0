"""What OpenAI's door adds to a backend that speaks OpenAI's API itself: the same request to the one and to the other.

Twice: with a fake backend that answers at once, so that nobody sleeps, and with one that takes 20 ms to its first token
and then sends 200 a second, as models do. The client asks backend and server in turn, over connections that stay open,
so that a disturbance hits both alike.
"""

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from benchmarks.figures import Figure, Report, percentile, spread
from benchmarks.plan import Plan, default_filters
from benchmarks.serving import Backend, fake_backend, serving, temporary_home

LIMIT_MS = 1.5
_TOKENS = 20
_WARM_UP = 5
_CROWD = 30
_ANSWER_S = 30.0
_PACES: Final = {
    "answered at once": ("--first-token", "0", "--tokens-per-s", "0"),
    "first token after 20 ms": ("--first-token", "0.02", "--tokens-per-s", "200"),
}


class Caller:
    """One connection that stays open, and reads events as they come off the socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def to(cls, port: int) -> "Caller":
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def ask(self, model: str, text: str) -> tuple[float, list[float]]:
        """-> when the request was given to the socket, and when each token of the answer had been read."""
        body = json.dumps({"model": model, "stream": True, "messages": [{"role": "user", "content": text}]}).encode()
        head = (
            "POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\n\r\n"
        )
        asked = time.monotonic()
        self._writer.write(head.encode() + body)
        async with asyncio.timeout(_ANSWER_S):
            status = await self._reader.readuntil(b"\r\n\r\n")
            if not status.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"refused: {status[:100]!r}")
            return asked, await self._tokens()

    async def _tokens(self) -> list[float]:
        arrivals: list[float] = []
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            piece = await self._reader.readexactly(size + 2)
            at = time.monotonic()
            arrivals += [at for event in piece.split(b"\n\n") if _has_text(event)]
        await self._reader.readexactly(2)
        return arrivals

    async def close(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()


def _has_text(event: bytes) -> bool:
    if not event.startswith(b"data: {"):
        return False
    choices: list[dict[str, Any]] = json.loads(event[6:])["choices"]
    return bool(choices and choices[0]["delta"].get("content"))


@dataclass(slots=True)
class Samples:
    """Milliseconds from the request to the first and to the last token."""

    first: list[float] = field(default_factory=list)
    last: list[float] = field(default_factory=list)

    def add(self, asked: float, arrivals: Sequence[float]) -> None:
        self.first.append((arrivals[0] - asked) * 1000)
        self.last.append((arrivals[-1] - asked) * 1000)


async def run(plan: Plan) -> Report:
    report = Report()
    for pace, arguments in _PACES.items():
        async with fake_backend(*arguments) as backend:
            home = {
                "operations": [*backend.operations(), *default_filters()],
                "generation": {"max_parallel": 100},
                "limits": {"requests_per_s": 10_000, "requests_burst": 10_000},
            }
            with temporary_home(home) as folder:
                async with serving(folder) as server:
                    report.figures += await measured(backend, server.port, plan, pace)
    return report


async def measured(backend: Backend, port: int, plan: Plan, pace: str) -> list[Figure]:
    """Of a server that listens there with this backend."""
    backend_port = int(backend.base_url.split(":")[2].split("/")[0])
    ways = {
        "directly": (await Caller.to(backend_port), "fake-chat"),
        "a bare model": (await Caller.to(port), "openai/fake-chat"),
        "a character": (await Caller.to(port), "greenroom"),
    }
    found = {way: Samples() for way in ways}
    text = f"Give me an answer of {_TOKENS} tokens, please."
    for turn in range(_WARM_UP + plan.choose(200, 40)):
        for way, (caller, model) in ways.items():
            asked, arrivals = await caller.ask(model, text)
            if turn >= _WARM_UP:
                found[way].add(asked, arrivals)
    for caller, _ in ways.values():
        await caller.close()
    direct = found.pop("directly")
    figures = [spread("the backend asked directly: first token", "ms", direct.first, {}, note=pace)]
    for way, samples in found.items():
        figures += _compared(way, samples, direct, pace)
    figures.append(spread(*await _crowd(port), {}, note=f"{pace}, {_CROWD} streams at once"))
    return figures


def _compared(way: str, samples: Samples, direct: Samples, pace: str) -> list[Figure]:
    first, other = percentile(samples.first, 0.5), percentile(direct.first, 0.5)
    last, other_last = percentile(samples.last, 0.5), percentile(direct.last, 0.5)
    over = "over asking directly"
    return [
        Figure(f"{way}: first token, {over}", "ms", {"p50": first - other}, {"p50": LIMIT_MS}, note=pace),
        Figure(f"{way}: last token, {over}", "ms", {"p50": last - other_last}, note=pace),
        Figure(f"{way}: first token, against asking directly", "times", {"p50": first / other}, note=pace),
    ]


async def _crowd(port: int) -> tuple[str, str, list[float]]:
    callers = [await Caller.to(port) for _ in range(_CROWD)]
    text = f"Give me an answer of {_TOKENS} tokens, please."
    answers = await asyncio.gather(*(caller.ask("openai/fake-chat", text) for caller in callers))
    for caller in callers:
        await caller.close()
    return "a bare model: first token", "ms", [(arrivals[0] - asked) * 1000 for asked, arrivals in answers]
