"""jaison's doors on the rig of jaison's own baseline: what its clients wait for, against what they waited for there.

The baseline is the original server's on the same stand-in services (0.15 s to the first token, 30 tokens a second; a
voice with 0.2 s to its first byte and then 0.15 s for each second of sound) with its sentence chunker, seconds from
``POST /api/response``.
"""

import asyncio
import json
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect

from benchmarks.figures import Figure, Report, percentile, spread
from benchmarks.plan import Plan, default_filters
from benchmarks.serving import fake_backend, serving, temporary_home

BASELINE_S = {
    30: {"start": 0.011, "first text": 1.15, "first audio": 1.52, "finish": 3.85},
    60: {"start": 0.010, "first text": 2.14, "first audio": 2.52, "finish": 7.46},
    120: {"start": 0.14, "first text": 4.29, "first audio": 4.67, "finish": 14.96},
}
"""by tokens of the answer"""
FIRST_AUDIO_S = 0.57
"""what a streaming server can do on this rig (0.52 s), and 50 ms"""
_REPLY_MS = 9.0
_WARM_UP = 1


@dataclass(slots=True)
class Heard:
    """Seconds from the POST, by what was waited for."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    frames: int = 0


async def run(plan: Plan) -> Report:
    turns = plan.choose(5, 2)
    lengths = plan.choose((30, 60, 120), (30, 60))
    by_length: dict[int, Heard] = defaultdict(Heard)
    replies: dict[str, list[float]] = defaultdict(list)
    async with fake_backend() as backend:
        with temporary_home({"operations": [*backend.operations(), *default_filters()]}) as home:
            async with serving(home) as server:
                url = f"127.0.0.1:{server.port}"
                async with connect(f"ws://{url}/") as socket, httpx.AsyncClient(base_url=f"http://{url}") as http:
                    for turn in range(_WARM_UP + turns):
                        for tokens in lengths:
                            await _turn(http, socket, tokens, by_length[tokens] if turn >= _WARM_UP else Heard())
                    for _ in range(plan.choose(500, 100)):
                        replies["POST /api/context/request"].append(
                            await _timed(http, "POST", "/api/context/request", {"content": "Be kind."})
                        )
                        replies["DELETE /api/job"].append(
                            await _timed(http, "DELETE", "/api/job", {"job_id": "one that has ended"})
                        )
    return _report(by_length, replies)


async def _timed(http: httpx.AsyncClient, method: str, path: str, body: dict[str, Any]) -> float:
    begin = time.monotonic()
    await http.request(method, path, json=body)
    return (time.monotonic() - begin) * 1000


async def _turn(http: httpx.AsyncClient, socket: ClientConnection, tokens: int, heard: Heard) -> None:
    await http.delete("/api/context")
    text = {"user": "User", "content": f"Give me an answer of {tokens} tokens, please.", "timestamp": time.time()}
    await http.post("/api/context/conversation/text", json=text)
    begin = time.monotonic()
    asking = asyncio.create_task(http.post("/api/response", json={"include_audio": True}))
    first: dict[str, float] = {}
    heard.frames = 0
    while "finish" not in first:
        frame = json.loads(await socket.recv())[0]
        if frame["message"] != "response":
            continue
        heard.frames += 1
        at, response = time.monotonic() - begin, frame["response"]
        for name, found in (
            ("start", "start" in response),
            ("first text", "content" in response.get("result", {})),
            ("first audio", "audio_bytes" in response.get("result", {})),
            ("finish", response.get("finished") is True),
        ):
            if found:
                first.setdefault(name, at)
        if response.get("success") is False:
            raise RuntimeError(f"the turn failed: {response['result']}")
    await asking
    for name, at in first.items():
        heard.seconds[name].append(at)


def _report(by_length: dict[int, Heard], replies: dict[str, list[float]]) -> Report:
    report = Report()
    for name, values in replies.items():
        report.figures.append(spread(f"{name}, the reply", "ms", values, {"p50": _REPLY_MS}))
    for tokens, heard in sorted(by_length.items()):
        for name, baseline in BASELINE_S[tokens].items():
            limit = FIRST_AUDIO_S if name == "first audio" else baseline
            p50 = percentile(heard.seconds[name], 0.5)
            note = f"{baseline / p50:.1f} times faster than there" if name != "start" else ""
            report.figures.append(Figure(f"{name}, {tokens} tokens", "s", {"p50": p50}, {"p50": limit}, note=note))
        report.notes.append(f"{tokens} tokens: {heard.frames} frames")
    return report
