"""A fake of Azure's speech service that the real SDK talks to: its websocket protocol for speech and recognition, and
the list of voices over HTTP.

``async with FakeAzure(key="k") as fake:`` then ``host=fake.host``. A message is headers, an empty line and a body; a
binary one has the headers' length before it in two bytes. Speech is :func:`speech_pcm` of the text, piece by piece,
each word's time and mouth shapes before its sound. Recognition sends an interim result after half a second of sound,
ends a phrase at 600 ms of silence, and says ``transcript`` for it.
"""

import asyncio
import json
import math
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from html import unescape
from http import HTTPStatus
from typing import Any
from uuid import uuid4

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

SAMPLE_RATE = 24_000
WORD_MS = 200
_TICKS_A_MS = 10_000
_HEARD_BYTES_A_MS = 32
_HEARD_RATE = 16_000
_PAUSE_MS = 600
_LOUD = 300

VOICES = [
    {"ShortName": "en-US-AshleyNeural", "DisplayName": "Ashley", "Locale": "en-US", "Gender": "Female"},
    {"ShortName": "de-DE-KatjaNeural", "DisplayName": "Katja", "Locale": "de-DE", "Gender": "Female"},
]


@lru_cache(maxsize=256)
def word_pcm(word: str) -> bytes:
    """200 ms of a tone that depends on the word."""
    pitch = 200 + sum(map(ord, word)) % 400
    count = SAMPLE_RATE * WORD_MS // 1000
    return b"".join(
        struct.pack("<h", int(8000 * math.sin(2 * math.pi * pitch * at / SAMPLE_RATE))) for at in range(count)
    )


def speech_pcm(text: str) -> bytes:
    return b"".join(map(word_pcm, text.split()))


def text_of(ssml: str) -> str:
    return unescape(re.sub(r"<[^>]*>", "", ssml))


@dataclass(slots=True)
class Utterance:
    ssml: str
    connection: int
    output_format: str = ""
    is_whole: bool = False
    ended: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(slots=True)
class Hearing:
    path: str
    connection: int
    context: dict[str, Any] = field(default_factory=dict)
    pcm: bytearray = field(default_factory=bytearray)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    """the sound ended, or the client hung up"""


class FakeAzure:
    """``fail``: ``drop`` after the first sound, ``refuse`` the voice, ``silent``, ``empty``, ``nomatch``.

    ``status``: with what the websocket's opening is answered in place of 101. ``hold``: speech waits for it after its
    first word.
    """

    def __init__(self, *, key: str = "", transcript: str | Callable[[bytes], str] = "Hello there.") -> None:
        self.key = key
        self.transcript = transcript
        self.fail = ""
        self.status = 0
        self.hold: asyncio.Event | None = None
        self.utterances: list[Utterance] = []
        self.hearings: list[Hearing] = []
        self.opened = 0
        """websockets that ever were"""
        self.news = asyncio.Event()
        """set by every new utterance, hearing, connection and end of one"""
        self._open: set[ServerConnection] = set()
        self._server: Server | None = None

    async def __aenter__(self) -> "FakeAzure":
        self._server = await serve(
            self._handle,
            "127.0.0.1",
            0,
            max_size=None,
            compression=None,
            process_request=self._answer,
            subprotocols=["USP"],  # type: ignore[list-item]
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(next(iter(self._server.sockets)).getsockname()[1])

    @property
    def host(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    @property
    def open_count(self) -> int:
        return len(self._open)

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not true():
                self.news.clear()
                await self.news.wait()

    async def hang_up(self) -> None:
        """Close what is open, as the service does with connections that were long idle."""
        await asyncio.gather(*(one.close(1000, "idle") for one in list(self._open)))

    def _answer(self, connection: ServerConnection, request: Request) -> Response | None:
        sent = request.headers.get("Ocp-Apim-Subscription-Key", "")
        if self.status:
            return connection.respond(HTTPStatus(self.status), "no\n")
        if self.key and sent != self.key:
            return connection.respond(HTTPStatus.UNAUTHORIZED, "no\n")
        if request.path.startswith("/cognitiveservices/voices/list"):
            body = json.dumps(VOICES).encode()
            head = Headers({"Content-Type": "application/json", "Content-Length": str(len(body))})
            return Response(200, "OK", head, body)
        return None

    async def _handle(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        self.opened += 1
        self._open.add(connection)
        self.news.set()
        path = connection.request.path
        hears = "/speech/" in path
        conversation = _Listening(self, connection, path) if hears else _Speaking(self, connection)
        try:
            async for message in connection:
                await conversation.take(message)
        except ConnectionClosed:
            pass
        finally:
            conversation.end()
            self._open.discard(connection)
            self.news.set()


class _Speaking:
    def __init__(self, fake: FakeAzure, connection: ServerConnection) -> None:
        self._fake = fake
        self._connection = connection
        self._number = fake.opened
        self._format = ""
        self._task: asyncio.Task[None] | None = None
        self._utterance: Utterance | None = None

    async def take(self, message: str | bytes) -> None:
        if isinstance(message, bytes):
            return
        headers, body = _parse(message)
        match headers.get("path"):
            case "synthesis.context":
                self._format = json.loads(body)["synthesis"]["audio"]["outputFormat"]
            case "ssml":
                self._utterance = Utterance(body, self._number, self._format)
                self._fake.utterances.append(self._utterance)
                self._fake.news.set()
                self._task = asyncio.create_task(self._speak(self._utterance, headers["x-requestid"]))
                self._task.add_done_callback(self._finished)
            case "synthesis.control" if self._task is not None:
                self._task.cancel()

    def end(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _finished(self, task: "asyncio.Task[None]") -> None:
        assert self._utterance is not None
        if not task.cancelled() and not isinstance(task.exception(), ConnectionClosed | None):
            raise AssertionError from task.exception()
        self._utterance.ended.set()

    async def _speak(self, utterance: Utterance, request_id: str) -> None:
        fake, send = self._fake, self._connection.send
        if fake.fail == "silent":
            return
        if fake.fail == "refuse":
            await self._connection.close(1007, "Unsupported voice nobody.")
            return
        stream_id = uuid4().hex.upper()
        await send(_text("turn.start", request_id, {"context": {"serviceTag": uuid4().hex}}))
        audio = {"type": "inline", "streamId": stream_id}
        await send(_text("response", request_id, {"context": {"serviceTag": uuid4().hex}, "audio": audio}))
        words = [] if fake.fail == "empty" else text_of(utterance.ssml).split()
        for at, word in enumerate(words):
            for entry in _metadata(at * WORD_MS, word):
                await send(_text("audio.metadata", request_id, {"Metadata": [entry]}))
            pcm = word_pcm(word)
            cut = len(pcm) // 2 + 1  # in the middle of a sample
            for piece in (pcm[:cut], pcm[cut:]):
                await send(_binary("audio", request_id, piece, stream_id))
            if fake.fail == "drop":
                await self._connection.close(1011, "internal error")
                return
            if fake.hold is not None:
                await fake.hold.wait()
        await send(_binary("audio", request_id, b"", stream_id))
        await send(_text("turn.end", request_id, {}))
        utterance.is_whole = True


class _Listening:
    def __init__(self, fake: FakeAzure, connection: ServerConnection, path: str) -> None:
        self._fake = fake
        self._connection = connection
        self._hearing = Hearing(path, fake.opened)
        self._request_id = ""
        self._phrase = bytearray()
        self._begin = 0
        """ticks, exactly: the SDK sends again what it thinks was not heard"""
        self._quiet_ms = 0.0
        self._has_sound = self._has_hinted = False

    async def take(self, message: str | bytes) -> None:
        if isinstance(message, str):
            headers, body = _parse(message)
            if headers.get("path") == "speech.context":
                self._hearing.context = json.loads(body)
            return
        length = struct.unpack_from(">H", message)[0]
        headers, _ = _parse(message[2 : 2 + length].decode() + "\r\n\r\n")
        data = message[2 + length :]
        if headers.get("path") != "audio" or self._hearing.ended.is_set():
            return
        if not self._request_id:
            self._request_id = headers["x-requestid"]
            self._fake.hearings.append(self._hearing)
            self._fake.news.set()
            await self._tell("turn.start", {"context": {"serviceTag": uuid4().hex}})
            await self._tell("speech.startDetected", {"Offset": 1_000_000})
        if data[:4] == b"RIFF":
            return
        if data:
            await self._hear(data)
        else:
            await self._finish()

    def end(self) -> None:
        self._hearing.ended.set()

    async def _tell(self, path: str, body: dict[str, Any]) -> None:
        await self._connection.send(_text(path, self._request_id, body))

    async def _hear(self, pcm: bytes) -> None:
        self._hearing.pcm += pcm
        self._phrase += pcm
        samples = struct.unpack(f"<{len(pcm) // 2}h", pcm[: len(pcm) // 2 * 2])
        if max(map(abs, samples), default=0) > _LOUD:
            self._has_sound, self._quiet_ms = True, 0.0
        else:
            self._quiet_ms += len(pcm) / _HEARD_BYTES_A_MS
        if self._fake.fail == "drop":
            await self._connection.close(1011, "internal error")
        elif self._has_sound and not self._has_hinted and len(self._phrase) > 500 * _HEARD_BYTES_A_MS:
            self._has_hinted = True
            interim = {"Id": uuid4().hex, "Text": self._said().split(" ")[0].lower(), "Duration": 3_000_000}
            await self._tell("speech.hypothesis", {**interim, "Offset": self._begin, "Channel": 0})
        if self._has_sound and self._quiet_ms >= _PAUSE_MS:
            await self._settle()

    def _said(self) -> str:
        say = self._fake.transcript
        return say if isinstance(say, str) else say(bytes(self._phrase))

    async def _settle(self) -> None:
        duration = len(self._phrase) // 2 * 10_000_000 // _HEARD_RATE
        phrase: dict[str, Any] = {
            "Id": uuid4().hex,
            "Offset": self._begin,
            "Duration": duration,
            "Channel": 0,
        }
        if self._fake.fail == "nomatch":
            await self._tell("speech.phrase", {**phrase, "RecognitionStatus": "NoMatch"})
        else:
            await self._tell("speech.phrase", {**phrase, "RecognitionStatus": "Success", "DisplayText": self._said()})
        self._begin += duration
        self._phrase.clear()
        self._has_sound = self._has_hinted = False
        self._quiet_ms = 0.0

    async def _finish(self) -> None:
        self._hearing.ended.set()
        if self._fake.fail == "silent":
            return
        if self._has_sound:
            await self._settle()
        end = {"Offset": self._begin + len(self._phrase) // 2 * 10_000_000 // _HEARD_RATE}
        await self._tell("speech.endDetected", end)
        last = {"Id": uuid4().hex, "RecognitionStatus": "EndOfDictation", "Text": "", "Duration": 0, "Channel": 0}
        await self._tell("speech.phrase", {**last, **end})
        await self._tell("turn.end", {})


def _parse(message: str) -> tuple[dict[str, str], str]:
    head, _, body = message.partition("\r\n\r\n")
    lines = (line.partition(":") for line in head.split("\r\n"))
    return {name.strip().lower(): value.strip() for name, found, value in lines if found}, body


def _text(path: str, request_id: str, body: dict[str, Any]) -> str:
    kind = "application/json; charset=utf-8"
    return f"X-RequestId:{request_id}\r\nContent-Type:{kind}\r\nPath:{path}\r\n\r\n{json.dumps(body)}"


def _binary(path: str, request_id: str, data: bytes, stream_id: str) -> bytes:
    head = f"X-RequestId:{request_id}\r\nX-StreamId:{stream_id}\r\nPath:{path}\r\n".encode()
    return struct.pack(">H", len(head)) + head + data


def _metadata(start_ms: int, word: str) -> list[dict[str, Any]]:
    """The word's time without its punctuation, that of the punctuation, and two mouth shapes."""
    bare = word.strip(".,!?\"'()") or word
    entries = [_boundary(start_ms, WORD_MS - 50, bare, "WordBoundary")]
    if bare != word:
        entries.append(_boundary(start_ms + WORD_MS - 50, 50, word[-1], "PunctuationBoundary"))
    for at_ms, shape in ((0, 1 + len(word) % 21), (100, 0)):
        entries.append(
            {
                "Type": "Viseme",
                "Data": {
                    "Offset": (start_ms + at_ms) * _TICKS_A_MS,
                    "VisemeId": shape,
                },
            }
        )
    return entries


def _boundary(start_ms: int, duration_ms: int, text: str, kind: str) -> dict[str, Any]:
    return {
        "Type": "WordBoundary",
        "Data": {
            "Offset": start_ms * _TICKS_A_MS,
            "Duration": duration_ms * _TICKS_A_MS,
            "text": {"Text": text, "Length": len(text), "BoundaryType": kind},
        },
    }
