"""A fake of Fish Audio: the live websocket (msgpack), recognition and the list of voices.

``async with FakeFish(key="k") as fake:`` then ``base_url=fake.base_url``. It speaks :func:`speech_pcm` of what it was
told, in pieces cut anywhere, when a sentence ends, at a flush and at the stop. ``reference_id`` ``fail:WAY`` fails.
"""

import asyncio
import math
import struct
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import ormsgpack
from aiohttp import WSMsgType, web

from fakes.web_app import Handler, WebApp

SAMPLE_RATE = 44_100
_MS_A_CHARACTER = 10
_PIECE_BYTES = 4097

VOICES = {
    "true": [{"_id": "mine", "title": "My voice", "languages": ["de"]}],
    "false": [{"_id": "popular", "title": "Somebody", "languages": ["en", "zh"]}],
}


@lru_cache(maxsize=4096)
def _tone(character: str) -> bytes:
    pitch = 200 + ord(character) % 500
    count = SAMPLE_RATE * _MS_A_CHARACTER // 1000
    return b"".join(
        struct.pack("<h", int(8000 * math.sin(2 * math.pi * pitch * at / SAMPLE_RATE))) for at in range(count)
    )


def speech_pcm(text: str) -> bytes:
    return b"".join(map(_tone, text))


@dataclass(slots=True)
class LiveTalk:
    """One conversation over the live websocket."""

    model: str | None
    request: dict[str, Any]
    texts: list[str] = field(default_factory=list)
    spoken: str = ""
    stopped: bool = False
    """its text was whole"""
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class FakeFish(WebApp):
    """``status``: answers every request with it. ``hold``: speech waits for it after its first piece."""

    def __init__(self, *, key: str = "", transcript: str = "hello there") -> None:
        super().__init__()
        self.key = key
        self.transcript = transcript
        self.status = 0
        self.statuses: list[int] = []
        """answers of the next requests, before ``status``; 0: as it should"""
        self.retry_after = ""
        """header of every refusal"""
        self.refused = 0
        self.asr_answer: bytes | None = None
        self.asr_hold: asyncio.Event | None = None
        self.hold: asyncio.Event | None = None
        self.talks: list[LiveTalk] = []
        self.heard: list[dict[str, Any]] = []
        self.lost = 0
        """requests whose client hung up before the answer"""

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def routes(self) -> list[tuple[str, str, Handler]]:
        return [
            ("GET", "/v1/tts/live", self._live),
            ("POST", "/v1/asr", self._asr),
            ("GET", "/model", self._voices),
        ]

    def _refusal(self, request: web.Request) -> web.Response | None:
        status = self.statuses.pop(0) if self.statuses else self.status
        if not status and self.key and request.headers.get("Authorization") != f"Bearer {self.key}":
            status = 401
        if not status:
            return None
        self.refused += 1
        said = {"status": status, "message": f"refused {request.headers.get('Authorization', '')}"}
        return web.json_response(said, status=status, headers={"Retry-After": self.retry_after})

    async def _voices(self, request: web.Request) -> web.StreamResponse:
        if refusal := self._refusal(request):
            return refusal
        base = {
            "type": "tts",
            "description": "",
            "cover_image": "",
            "train_mode": "fast",
            "state": "trained",
            "tags": [],
            "samples": [],
            "created_at": "2025-01-01T00:00:00Z",
            "updated_at": "2025-01-01T00:00:00Z",
            "visibility": "public",
            "lock_visibility": False,
            "like_count": 0,
            "mark_count": 0,
            "shared_count": 0,
            "task_count": 0,
            "author": {"_id": "a", "nickname": "A", "avatar": ""},
        }
        items = [{**base, **voice} for voice in VOICES[request.query.get("self", "false").lower()]]
        return web.json_response({"total": len(items), "items": items})

    async def _asr(self, request: web.Request) -> web.StreamResponse:
        if refusal := self._refusal(request):
            return refusal
        self.heard.append(ormsgpack.unpackb(await request.read()))
        self.news.set()
        if self.asr_hold is not None:
            try:
                await self.asr_hold.wait()
            except asyncio.CancelledError:
                self.lost += 1
                self.news.set()
                raise
        if self.asr_answer is not None:
            return web.Response(body=self.asr_answer, content_type="text/html")
        segment = {"text": self.transcript, "start": 0.0, "end": 1.0}
        return web.json_response({"text": self.transcript, "duration": 1000.0, "segments": [segment]})

    async def _live(self, request: web.Request) -> web.StreamResponse:
        if refusal := self._refusal(request):
            return refusal
        socket = await self.websocket(request)
        talk: LiveTalk | None = None
        try:
            async for message in socket:
                if message.type is not WSMsgType.BINARY:
                    continue
                event = ormsgpack.unpackb(message.data)
                if event["event"] == "start":
                    talk = LiveTalk(request.headers.get("model"), event["request"])
                    self.talks.append(talk)
                elif talk is not None:
                    await self._told(socket, talk, event)
                self.news.set()
        except ConnectionResetError:
            pass
        finally:
            if talk is not None:
                talk.ended.set()
            self.ended(socket)
        return socket

    async def _told(self, socket: web.WebSocketResponse, talk: LiveTalk, event: dict[str, Any]) -> None:
        match event["event"]:
            case "text":
                talk.texts.append(event["text"])
                if event["text"].rstrip().endswith((".", "!", "?")):
                    await self._speak(socket, talk)
            case "flush":
                await self._speak(socket, talk)
            case "stop":
                talk.stopped = True
                await self._speak(socket, talk)
                await self._send(socket, {"event": "finish", "reason": "stop"})
                await socket.close()

    async def _speak(self, socket: web.WebSocketResponse, talk: LiveTalk) -> None:
        rest = "".join(talk.texts)[len(talk.spoken) :]
        way = (talk.request["reference_id"] or "").removeprefix("fail_")
        talk.spoken += rest
        match way:
            case "mute":
                return
            case "silent":
                await asyncio.Event().wait()
            case "error":
                await self._send(socket, {"event": "finish", "reason": "error", "message": "bad voice"})
                return
            case "garbage":
                await socket.send_str("hello")
                return
            case "early":
                await socket.close()
                return
            case "dropped":
                await socket.close(code=1011, message=b"out of memory")
                return
        pcm = speech_pcm(rest)
        for at in range(0, len(pcm), _PIECE_BYTES):
            await self._send(socket, {"event": "audio", "audio": pcm[at : at + _PIECE_BYTES], "time": 1.0})
            if way == "cut":
                await socket.close(code=1011, message=b"out of memory")
                return
            if self.hold is not None:
                await self.hold.wait()

    async def _send(self, socket: web.WebSocketResponse, event: dict[str, Any]) -> None:
        await socket.send_bytes(ormsgpack.packb(event))
