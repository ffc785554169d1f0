"""Applications as they were written for jaison: a Discord voice bot and a monitor of a Twitch chat.

They do what their originals do, with the same requests, and are as strict where those are: a frame that the original
would stumble over is an assertion here.
"""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Self
from urllib.parse import urlencode

import httpx
from websockets.asyncio.client import ClientConnection, connect

MAX_FRAME = 1 << 20
"""the incoming limit of the library that the originals use"""


class Frames:
    """A websocket at ``/``, and everything that it hears."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.texts: list[str] = []
        self.heard: list[dict[str, Any]] = []
        """``{"message": ..., **response}``"""
        self._read = 0

    @classmethod
    @asynccontextmanager
    async def open(cls, ws_url: str, **query: str) -> AsyncIterator[Self]:
        url = f"{ws_url}/?{urlencode(query)}" if query else f"{ws_url}/"
        async with connect(url, max_size=MAX_FRAME) as socket:
            yield cls(socket)

    async def next(self) -> dict[str, Any]:
        async with asyncio.timeout(20):
            text = await self.socket.recv()
        assert isinstance(text, str)
        frame = json.loads(text)
        assert isinstance(frame, list) and len(frame) == 2 and frame[1] == 200
        envelope = frame[0]
        assert list(envelope) == ["status", "message", "response"] and envelope["status"] == 200
        assert text == json.dumps(frame), "separators and escapes are Python's own"
        self.texts.append(text)
        self.heard.append({"message": envelope["message"], **envelope["response"]})
        return self.heard[-1]

    async def until(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        while not wanted(event := await self.next()):
            pass
        return event

    async def job(self, job_id: str) -> list[dict[str, Any]]:
        """Every event of a job, once it has ended."""
        if not any(one["job_id"] == job_id and one.get("finished") for one in self.heard):
            await self.until(lambda one: one["job_id"] == job_id and one.get("finished") is True)
        found = [one for one in self.heard if one["job_id"] == job_id]
        assert "start" in found[0] and "finished" not in found[0]
        assert [one for one in found if one.get("finished")] == [found[-1]], "exactly one terminal event, the last"
        return found


def results(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one["result"] for one in events if one.get("finished") is False]


def kinds(events: list[dict[str, Any]]) -> list[str]:
    """What each progress event is known by, repeats in a row counted once."""
    found: list[str] = []
    for result in results(events):
        kind = next(iter(result))
        if not found or found[-1] != kind:
            found.append(kind)
    return found


class Rest:
    """Synchronous requests, as both originals make them: their loop stands still meanwhile, the server's does not."""

    def __init__(self, url: str, headers: dict[str, str] | None = None) -> None:
        self.http = httpx.Client(base_url=url, timeout=60, headers=headers)

    async def __call__(self, method: str, path: str, body: Any = None, **more: Any) -> httpx.Response:
        """:param body: sent as JSON; ``None``: no body and no content type."""
        if body is not None:
            more["json"] = body
        return await asyncio.to_thread(self.http.request, method, f"/api/{path}", **more)

    async def job(self, method: str, path: str, body: Any = None, **more: Any) -> str:
        answer = await self(method, path, body, **more)
        assert answer.status_code == 200, answer.text
        assert answer.json()["status"] == 200
        return str(answer.json()["response"]["job_id"])

    def close(self) -> None:
        self.http.close()


class DiscordBot:
    """One lasting websocket; text is answered as text, speech as speech."""

    def __init__(self, url: str, frames: Frames) -> None:
        self.rest = Rest(url)
        self.frames = frames
        self.response_job: str | None = None

    @classmethod
    @asynccontextmanager
    async def running(cls, url: str, ws_url: str) -> AsyncIterator[Self]:
        async with Frames.open(ws_url) as frames:
            bot = cls(url, frames)
            try:
                yield bot
            finally:
                bot.rest.close()

    async def message(self, user: str, content: str) -> str:
        """A text message in a channel -> what the bot posts there."""
        await self.rest.job(
            "POST",
            "context/conversation/text",
            {"user": user, "timestamp": int(time.time()), "content": content},
        )
        job_id = await self.rest.job("POST", "response", {"include_audio": False})
        events = await self.frames.job(job_id)
        assert events[-1]["success"]
        return " ".join(result["content"] for result in results(events) if "content" in result)

    async def packet(self) -> int | None:
        """A packet from a microphone: whatever is being prepared is no longer wanted."""
        if self.response_job is None:
            return None
        body = {"job_id": self.response_job, "reason": "Preventing interruption in conversation"}
        return (await self.rest("DELETE", "job", body)).status_code

    async def spoke(self, user: str, pcm: bytes) -> str:
        """The end of what somebody said: 48 kHz stereo, which the bot calls 96 kHz mono."""
        return await self.rest.job(
            "POST",
            "context/conversation/audio",
            {
                "user": user,
                "timestamp": int(time.time()),
                "audio_bytes": base64.b64encode(pcm).decode(),
                "sr": 96_000,
                "sw": 2,
                "ch": 1,
            },
        )

    async def silence(self) -> str:
        """Nobody has spoken for a while: the character may."""
        await self.packet()
        self.response_job = await self.rest.job("POST", "response", {"include_audio": True})
        return self.response_job

    async def play(self, job_id: str) -> list[tuple[str, bytes]]:
        """What is heard in the channel: each content with the sound that follows it."""
        events = await self.frames.job(job_id)
        assert events[0]["start"]["include_audio"] is True
        played: list[tuple[str, bytes]] = []
        for result in results(events):
            if "content" in result:
                played.append((result["content"], b""))
            elif "audio_bytes" in result:
                assert list(result) == ["audio_bytes", "sr", "sw", "ch"]
                assert len(result["audio_bytes"]) <= 4096 and result["sw"] in (1, 2, 4)
                piece = base64.b64decode(result["audio_bytes"], validate=True)
                assert piece and len(piece) % (result["sw"] * result["ch"]) == 0, "decodes alone, whole frames"
                content, sound = played[-1]
                played[-1] = content, sound + piece
        return played


class TwitchMonitor:
    """A fresh websocket for every summary."""

    CONTEXT = "twitch-chat-monitor-lcc"

    def __init__(self, url: str, ws_url: str) -> None:
        self.rest = Rest(url)
        self._ws_url = ws_url

    async def chat(self, user: str, content: str) -> None:
        await self.rest.job(
            "POST", "context/conversation/text", {"user": user, "timestamp": time.time(), "content": content}
        )

    async def follow(self, content: str) -> None:
        await self.rest.job("POST", "context/request", {"content": content})

    async def summary(self, chat: str) -> str:
        """:raises RuntimeError: it failed; the chat is kept for the next time."""
        async with Frames.open(self._ws_url) as frames:
            answer = await self.rest(
                "POST",
                "operations/use",
                {
                    "role": "mcp",
                    "payload": {
                        "instruction_prompt": "Sum up this chat.",
                        "messages": [{"type": "raw", "message": chat}],
                    },
                },
            )
            if answer.json()["status"] == 500:
                raise RuntimeError(answer.json()["message"])
            job_id, found = answer.json()["response"]["job_id"], ""
            while True:
                event = await frames.next()
                if event["job_id"] != job_id:
                    continue
                if event.get("finished") is False:
                    found += event["result"]["content"]
                elif "finished" in event:
                    if not event["success"]:
                        raise RuntimeError(event["result"]["reason"])
                    return found

    async def publish(self, summary: str) -> bool:
        """Whether it was added; if not, the context has been registered for the next one."""
        async with Frames.open(self._ws_url) as frames:
            job_id = await self.rest.job(
                "POST",
                "context/custom",
                {"context_id": self.CONTEXT, "context_contents": summary, "timestamp": time.time()},
            )
            event = await frames.until(lambda one: one["job_id"] == job_id and "success" in one)
            if not event["success"]:
                await self.rest.job(
                    "PUT",
                    "context/custom",
                    {
                        "context_id": self.CONTEXT,
                        "context_name": "Twitch Chat Summary",
                        "context_description": "what the chat has talked about",
                    },
                )
            return bool(event["success"])

    def close(self) -> None:
        self.rest.close()
