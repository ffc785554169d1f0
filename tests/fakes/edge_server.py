"""A fake of the service behind Edge's "read aloud": its websocket and the list of voices, as edge-tts talks to them.

``async with FakeEdge() as fake:`` then ``base_url=fake.base_url``. It speaks :func:`speech_mp3` of the text in pieces
of a few frames, each word's time before its sound. ``fail`` says how it fails.
"""

import asyncio
import json
import math
import re
import struct
from dataclasses import dataclass, field
from functools import lru_cache
from html import unescape
from typing import Any

import av
from aiohttp import WSMsgType, web

from fakes.web_app import Handler, WebApp

SAMPLE_RATE = 24_000
WORD_MS = 240
"""ten frames"""
_FRAME_BYTES = 144
_PIECE_BYTES = 5 * _FRAME_BYTES
_TICKS_A_MS = 10_000
_PATH = "/consumer/speech/synthesize/readaloud"

VOICES = [
    {
        "Name": "Microsoft Server Speech Text to Speech Voice (en-US, EmmaMultilingualNeural)",
        "ShortName": "en-US-EmmaMultilingualNeural",
        "Gender": "Female",
        "Locale": "en-US",
        "SuggestedCodec": "audio-24khz-48kbitrate-mono-mp3",
        "FriendlyName": "Microsoft EmmaMultilingual Online (Natural) - English (United States)",
        "Status": "GA",
    }
]


@lru_cache(maxsize=64)
def speech_mp3(text: str) -> bytes:
    """A tone a word, 48 kbit/s at 24 kHz."""
    encoder: Any = av.CodecContext.create("libmp3lame", "w")
    encoder.sample_rate, encoder.layout, encoder.format, encoder.bit_rate = SAMPLE_RATE, "mono", "s16p", 48_000
    made = bytearray()
    pcm = b"".join(map(_tone, text.split()))
    for at in range(0, len(pcm), 2 * 576):
        frame = av.AudioFrame(format="s16p", layout="mono", samples=576)
        frame.sample_rate = SAMPLE_RATE
        data = pcm[at : at + 2 * 576]
        frame.planes[0].update(data + bytes(frame.planes[0].buffer_size - len(data)))
        for packet in encoder.encode(frame):
            made += bytes(packet)
    for packet in encoder.encode(None):
        made += bytes(packet)
    return bytes(made)


def _tone(word: str) -> bytes:
    pitch = 200 + sum(map(ord, word)) % 400
    count = SAMPLE_RATE * WORD_MS // 1000
    return b"".join(
        struct.pack("<h", int(8000 * math.sin(2 * math.pi * pitch * at / SAMPLE_RATE))) for at in range(count)
    )


def decoded(mp3: bytes) -> bytes:
    """All at once, as 16 bit mono."""
    decoder: Any = av.CodecContext.create("mp3", "r")
    resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
    frames = [frame for packet in (*decoder.parse(mp3), *decoder.parse(), None) for frame in decoder.decode(packet)]
    return b"".join(
        bytes(plain.planes[0])[: plain.samples * 2] for frame in frames for plain in resampler.resample(frame)
    )


@dataclass(slots=True)
class Reading:
    """One text that was read aloud."""

    ssml: str
    config: dict[str, Any]
    whole: bool = False
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def text(self) -> str:
        return unescape(re.sub(r"<[^>]*>", "", self.ssml))


class FakeEdge(WebApp):
    """``fail``: ``mute``, ``silent``, ``garbage``, ``nomp3``, ``early``, ``cut``. ``status``: in place of any answer.

    ``hold``: speech waits for it after its first piece.
    """

    def __init__(self) -> None:
        super().__init__()
        self.fail = ""
        self.status = 0
        self.statuses: list[int] = []
        """of the next requests, before ``status``"""
        self.hold: asyncio.Event | None = None
        self.readings: list[Reading] = []

    @property
    def base_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    def routes(self) -> list[tuple[str, str, Handler]]:
        return [("GET", f"{_PATH}/edge/v1", self._read), ("GET", f"{_PATH}/voices/list", self._voices)]

    def _refusal(self, request: web.Request) -> web.Response | None:
        status = self.statuses.pop(0) if self.statuses else self.status
        return web.Response(status=status) if status else None

    async def _voices(self, request: web.Request) -> web.StreamResponse:
        return self._refusal(request) or web.json_response(VOICES)

    async def _read(self, request: web.Request) -> web.StreamResponse:
        if refusal := self._refusal(request):
            return refusal
        assert request.query["Sec-MS-GEC"] and request.query["ConnectionId"]
        socket = await self.websocket(request)
        config: dict[str, Any] = {}
        reading: Reading | None = None
        speaking: asyncio.Task[None] | None = None
        try:
            async for message in socket:
                if message.type is not WSMsgType.TEXT:
                    continue
                head, _, body = message.data.partition("\r\n\r\n")
                if "Path:speech.config" in head:
                    config = json.loads(body)["context"]["synthesis"]["audio"]
                elif "Path:ssml" in head:
                    reading = Reading(body, config)
                    self.readings.append(reading)
                    speaking = asyncio.create_task(self._speak(socket, reading))
                self.news.set()
        finally:
            if reading is not None:
                reading.ended.set()
            self.ended(socket)
            if speaking is not None:
                speaking.cancel()
                await asyncio.gather(speaking, return_exceptions=True)
        return socket

    async def _speak(self, socket: web.WebSocketResponse, reading: Reading) -> None:
        await socket.send_str(_text("turn.start", {"context": {"serviceTag": "t"}}))
        await socket.send_str(_text("response", {"audio": {"type": "inline", "streamId": "s"}}))
        match self.fail:
            case "silent":
                return
            case "garbage":
                await socket.send_str("X-RequestId:r\r\nPath:what\r\n\r\n{}")
                return
            case "early":
                await socket.close()
                return
        words = [] if self.fail == "mute" else reading.text.split()
        mp3 = speech_mp3(reading.text) if words else b""
        at = 0
        for number, word in enumerate(words):
            await socket.send_str(_text("audio.metadata", {"Metadata": [_boundary(number * WORD_MS, word)]}))
            end = len(mp3) if number + 1 == len(words) else (number + 1) * WORD_MS // 24 * _FRAME_BYTES
            while at < end:
                piece = mp3[at : min(end, at + _PIECE_BYTES)]
                await socket.send_bytes(_binary(bytes(len(piece)) if self.fail == "nomp3" else piece))
                at += len(piece)
                if self.fail == "cut":
                    await socket.close()
                    return
                if self.hold is not None:
                    await self.hold.wait()
        await socket.send_bytes(_binary(b""))
        await socket.send_str(_text("turn.end", {}))
        reading.whole = True


def _text(path: str, body: dict[str, Any]) -> str:
    return f"X-RequestId:r\r\nContent-Type:application/json; charset=utf-8\r\nPath:{path}\r\n\r\n{json.dumps(body)}"


def _binary(data: bytes) -> bytes:
    kind = b"Content-Type:audio/mpeg\r\n" if data else b""
    head = b"X-RequestId:r\r\n" + kind + b"X-StreamId:s\r\nPath:audio\r\n"
    return struct.pack(">H", len(head)) + head + data


def _boundary(start_ms: int, word: str) -> dict[str, Any]:
    bare = word.strip(".,!?") or word
    return {
        "Type": "WordBoundary",
        "Data": {
            "Offset": start_ms * _TICKS_A_MS,
            "Duration": (WORD_MS - 40) * _TICKS_A_MS,
            "text": {"Text": bare, "Length": len(bare), "BoundaryType": "WordBoundary"},
        },
    }
