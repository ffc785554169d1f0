"""A fake of ElevenLabs: the websocket that is fed with text, and the lists of voices and models.

``async with FakeEleven(key="k") as fake:`` then ``base_url=fake.base_url``. It speaks :func:`speech_pcm` of what it was
told, at a flush and at the end, in pieces cut anywhere; each piece's alignment counts from its own start. A voice
``fail-WAY``, padded with ``0`` to an id's 20 characters without the dash, fails in that way.
"""

import asyncio
import base64
import json
import math
import struct
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from aiohttp import WSMsgType, web

from fakes.web_app import Handler, WebApp

MS_A_CHARACTER = 10
_PIECE = 7
"""characters of one message"""

VOICES = [
    {"voice_id": "JBFqnCBsd6RMkjVDRZzb", "name": "George - Warm", "labels": {"language": "en", "gender": "male"}},
    {"voice_id": "abcdefghij0123456789", "name": "Mine", "labels": {"language": "de", "gender": "female"}},
]


def failing_voice(way: str) -> str:
    return f"fail{way}".ljust(20, "0")


@lru_cache(maxsize=4096)
def _tone(character: str, rate: int) -> bytes:
    pitch = 200 + ord(character) % 500
    count = rate * MS_A_CHARACTER // 1000
    return b"".join(struct.pack("<h", int(8000 * math.sin(2 * math.pi * pitch * at / rate))) for at in range(count))


def speech_pcm(text: str, rate: int = 24_000) -> bytes:
    """White space is not heard."""
    return b"".join(_tone(character, rate) for character in text if not character.isspace())


@dataclass(slots=True)
class Stream:
    """One conversation over the websocket."""

    voice: str
    query: dict[str, str]
    settings: dict[str, Any] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)
    spoken: str = ""
    finished: bool = False
    """its text was whole"""
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def way(self) -> str:
        return self.voice.removeprefix("fail").rstrip("0") if self.voice.startswith("fail") else ""


class FakeEleven(WebApp):
    """``status``: answers every request with it. ``hold``: speech waits for it after its first piece."""

    def __init__(self, *, key: str = "") -> None:
        super().__init__()
        self.key = key
        self.status = 0
        self.retry_after = ""
        """header of every refusal"""
        self.refused = 0
        self.spelling = "charDurationsMs"
        """of an alignment's durations; the service's own documents know charsDurationsMs, too"""
        self.hold: asyncio.Event | None = None
        self.streams: list[Stream] = []
        self.lists = 0

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def routes(self) -> list[tuple[str, str, Handler]]:
        return [
            ("GET", "/v1/text-to-speech/{voice}/stream-input", self._live),
            ("GET", "/v2/voices", self._voices),
            ("GET", "/v1/models", self._models),
        ]

    def _refusal(self, request: web.Request) -> web.Response | None:
        sent = request.headers.get("xi-api-key", "")
        status = self.status or (401 if self.key and sent != self.key else 0)
        if not status:
            return None
        self.refused += 1
        said = {"detail": {"status": "refused", "message": f"refused {sent}"}}
        return web.json_response(said, status=status, headers={"Retry-After": self.retry_after})

    async def _voices(self, request: web.Request) -> web.StreamResponse:
        self.lists += 1
        if refusal := self._refusal(request):
            return refusal
        at = int(request.query.get("next_page_token") or 0)
        more = at + 1 < len(VOICES)
        page = {"voices": VOICES[at : at + 1], "has_more": more, "total_count": len(VOICES)}
        return web.json_response({**page, "next_page_token": str(at + 1) if more else None})

    async def _models(self, request: web.Request) -> web.StreamResponse:
        if refusal := self._refusal(request):
            return refusal
        return web.json_response(
            [
                {"model_id": "eleven_flash_v2_5", "name": "Flash", "can_do_text_to_speech": True},
                {"model_id": "eleven_sts", "name": "Other", "can_do_text_to_speech": False},
            ]
        )

    async def _live(self, request: web.Request) -> web.StreamResponse:
        if refusal := self._refusal(request):
            return refusal
        socket = await self.websocket(request)
        stream = Stream(request.match_info["voice"], dict(request.query))
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    await self._told(socket, stream, json.loads(message.data))
                self.news.set()
        except ConnectionResetError:
            pass
        finally:
            stream.ended.set()
            self.ended(socket)
        return socket

    async def _told(self, socket: web.WebSocketResponse, stream: Stream, message: dict[str, Any]) -> None:
        text = message["text"]
        if "voice_settings" in message:
            assert text == " ", "the first message is a space"
            stream.settings = message["voice_settings"]
            self.streams.append(stream)
        elif text:
            assert text.endswith(" "), "every text ends with a space"
            stream.texts.append(text)
            if message.get("flush"):
                await self._speak(socket, stream)
        else:
            stream.finished = True
            await self._speak(socket, stream)
            if not socket.closed:
                await socket.send_json({"isFinal": True})
                await socket.close()

    async def _speak(self, socket: web.WebSocketResponse, stream: Stream) -> None:
        rest = "".join(stream.texts)[len(stream.spoken) :]
        stream.spoken += rest
        match stream.way:
            case "mute":
                return
            case "silent":
                await asyncio.Event().wait()
            case "quota":
                await socket.send_json({"message": "You have 3 credits.", "error": "quota_exceeded", "code": 1008})
                return
            case "key":
                await socket.send_json({"message": "Invalid key", "error": "invalid_api_key", "code": 1008})
                return
            case "other":
                await socket.send_json({"message": "Something odd", "error": "odd", "code": 1011})
                return
            case "garbage":
                await socket.send_str("<html>")
                return
            case "early":
                await socket.close()
                return
            case "dropped":
                await socket.close(code=1008, message=b"Too slow")
                return
        rate = int(stream.query["output_format"].removeprefix("pcm_"))
        pcm = speech_pcm(rest, rate)
        at = 0
        for begin in range(0, len(rest), _PIECE):
            chars = rest[begin : begin + _PIECE]
            size = len(speech_pcm(chars, rate)) + (1 if begin == 0 else 0)  # the first ends within a sample
            await socket.send_json(
                {
                    "audio": base64.b64encode(pcm[at : at + size]).decode(),
                    "isFinal": None,
                    "normalizedAlignment": _alignment(chars, self.spelling),
                    "alignment": None,
                }
            )
            at += size
            if stream.way == "cut":
                await socket.close(code=1011, message=b"internal error")
                return
            if self.hold is not None:
                await self.hold.wait()


def _alignment(chars: str, spelling: str) -> dict[str, Any]:
    starts, at = [], 0
    durations = [0 if char.isspace() else MS_A_CHARACTER for char in chars]
    for duration in durations:
        starts.append(at)
        at += duration
    return {"chars": list(chars), "charStartTimesMs": starts, spelling: durations}
