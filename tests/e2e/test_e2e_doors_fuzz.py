"""Nonsense at every door but Socket.IO's (which has a test of its own): the server answers or hangs up, nothing breaks,
and in another session a conversation goes on undisturbed."""

import asyncio
import json
import random
import struct
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import psutil
import pytest
import pytest_asyncio
from websockets.asyncio.client import connect

from e2e.promises import check_numbers, check_turn
from e2e.visitor import PATIENCE_S, text_of, visitor
from fakes.every_door import OpenServer, open_server
from fakes.jaison_clients import Frames
from fakes.wyoming_client import Ping, heard, wyoming
from greenroom.doors.openai.door import ENDPOINTS as OPENAI_ENDPOINTS
from greenroom.doors.rest.bodies import members
from greenroom.doors.rest.endpoints import CANCEL, ENDPOINTS

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]

CONFIG = """
turn: {audio_lead_ms: 0}
operations: [{role: t2t, id: eliza}, {role: tts, id: scripted}, {role: stt, id: scripted}]
session: {history_length: 10, replay_log_bytes: 65536}
wyoming: {session: fuzzed}
limits: {requests_per_s: 100000, requests_burst: 1000000}
"""
AT_ONCE = 16
HALF_DONE_S = 0.5
"""what is not answered by then is a request that has not come to its end"""
GROWTH_BYTES = 16 << 20
SENTENCE = "say It is quite calm in here, thank you."
REFUSED = frozenset({400, 403, 404, 405, 409, 411, 413, 414, 415, 422, 429, 431, 501, 502, 503})
"""every status that is an answer; 500 would be a bug"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[OpenServer, None]:
    async with open_server(tmp_path_factory.mktemp("fuzzed-doors"), CONFIG) as running:
        yield running


@asynccontextmanager
async def talking(server: OpenServer) -> AsyncGenerator[None, None]:
    """Two clients of another session, by Socket.IO and on the websocket, who must not notice anything."""
    over = asyncio.Event()
    async with (
        visitor(server.url, session="quiet") as ana,
        Frames.open(server.ws_url, session="quiet") as frames,
    ):

        async def talks() -> int:
            turns = 0
            await ana.done("select_binding", binding_name="scripted")
            while not over.is_set():
                told = await ana.run("response", text=SENTENCE)
                check_turn(told)
                assert text_of(told).strip() == SENTENCE.removeprefix("say ")
                job_id = told[0].job_id
                assert job_id is not None and (await frames.job(job_id))[-1]["success"] is True
                frames.heard.clear()
                frames.texts.clear()
                turns += 1
            return turns

        turns = asyncio.create_task(talks())
        try:
            yield
        finally:
            over.set()
            assert await turns > 0
            check_numbers(ana)


async def unharmed(server: OpenServer, fuzz: Callable[[int], Awaitable[None]]) -> None:
    """The same twice: what the first leaves in memory, the second must not add again."""
    process = psutil.Process(server.process.pid)
    resident: list[int] = []
    async with talking(server):
        for seed in range(2):
            await fuzz(seed)
            resident.append(process.memory_info().rss)
    log = server.process.logged()
    assert broken(log) == []
    assert resident[1] - resident[0] < GROWTH_BYTES, resident


def broken(log: str) -> list[str]:
    """Every error in a log, with its traceback; but for uvicorn's, of a websocket's text that is none."""
    lines = log.splitlines()
    starts = [
        at for at, line in enumerate(lines) if " ERROR " in line and "Invalid UTF-8 sequence received" not in line
    ]
    starts += [at for at, line in enumerate(lines) if line.startswith("Traceback") and " ERROR " not in lines[at - 1]]
    return ["\n".join(lines[at : at + 40]) for at in starts]


async def each(things: list[Any], work: Callable[[Any], Awaitable[None]]) -> None:
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(thing: Any) -> None:
        async with slots, asyncio.timeout(PATIENCE_S):
            await work(thing)

    async with asyncio.TaskGroup() as group:
        for thing in things:
            group.create_task(one(thing))


# Values and requests


def nested(depth: int) -> Any:
    value: Any = "deep"
    for level in range(depth):
        value = [value] if level % 2 else {"a": value}
    return value


VALUES: tuple[Any, ...] = (
    *(None, True, 0, -1, 1.5, 2**53, 10**30, -1e308, float("nan"), float("inf")),
    *("", " ", "\0", "x" * 300, "y" * 70_000, "../../etc/passwd", "{{date}}", "\ud800", "你好", "0"),
    *([], [None], [[]], [0] * 2000, {}, {"a": 1}, {"": {"": {}}}, nested(20), nested(200)),
)
CHAT = {"model": "greenroom", "messages": [{"role": "user", "content": "say x"}], "stream": True, "n": 1, "stop": "y"}
BODIES: dict[str, dict[str, Any]] = {
    "chat/completions": {
        **CHAT,
        "metadata": {"session": "fuzzed"},
        "tools": [],
        "stream_options": {},
        "temperature": 1,
    },
    "completions": {"model": "scripted", "prompt": "say x", "max_tokens": 3, "seed": 1},
    "embeddings": {"model": "x", "input": "x", "dimensions": 3, "encoding_format": "float"},
    "audio/speech": {"model": "tts-1", "voice": "alloy", "input": "x", "response_format": "wav", "speed": 1},
    "audio/transcriptions": {"model": "whisper-1"},
    "audio/translations": {"model": "whisper-1"},
}
METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "PROPFIND", "get", "X" * 40)
STRANGE_PATHS = (
    *("/api", "/api/", "/api//", "/api/%00", "/api/../v1", "/api/response/", "/api/response/x", "/api/" + "x" * 5000),
    *("/v1", "/v1/", "/v1/models/", "/v1/models/%2e%2e%2f", "/v1/models/" + "a/" * 500, "/v1/%ff%fe", "/v1/\u00e9"),
    *("/openapi.json", "//", "/..", "/%", "/?" + "a=b&" * 1000, "*", "http://evil.example/api/response", "/api;x"),
    *("/api/response?session=%00", "/api/response?session=../x", "/api/response?session=" + "x" * 300),
)
CONTENT_TYPES = (
    *("application/json", "text/plain", "", "application/json; charset=utf-16", "multipart/form-data", "a" * 3000),
    *("multipart/form-data; boundary=x", "application/x-www-form-urlencoded", "application/problem+json"),
)
HEADERS = (
    *("X-Greenroom-Session: \x01", "X-Greenroom-Session: " + "s" * 300, "Authorization: Bearer", "Authorization: \xff"),
    *(
        "Cookie: " + "c" * 60_000,
        "Expect: 100-continue",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Range: bytes=5-",
    ),
    *("Content-Encoding: gzip", "X-Forwarded-For: evil", "X-Forwarded-Prefix: /x", "Host: a\r\nHost: b", "no colon"),
    *("Transfer-Encoding: gzip", "Origin: null", "Accept: " + "*/*," * 900, "X-Api-Key: \x7f", ": empty"),
)


def request(
    method: str,
    path: str,
    body: bytes = b"",
    *,
    kind: str = "application/json",
    length: str | None = None,
    headers: tuple[str, ...] = (),
) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "Connection: close", *headers]
    if kind:
        lines.append(f"Content-Type: {kind}")
    if length is None:
        length = str(len(body))
    if length != "none":
        lines.append(f"Content-Length: {length}")
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n" + body


def endpoints() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Method, path and a body that would do."""
    for endpoint in (*ENDPOINTS, CANCEL):
        yield endpoint.method, f"/api/{endpoint.path}", members(endpoint.example)
    for path, methods in OPENAI_ENDPOINTS.items():
        for method in methods:
            yield method, f"/v1/{path}", BODIES.get(path, {})


def wrong_bodies() -> Iterator[bytes]:
    """Each member of each body with each value, of which JSON as Python writes it has some that are no JSON."""
    for method, path, body in endpoints():
        path = f"{path}?session=fuzzed"
        for value in VALUES:
            yield request(method, path, json.dumps(value).encode())
            for name in body:
                yield request(method, path, json.dumps({**body, name: value}).encode())
        yield request(method, path, json.dumps({**body, "something": "else"}).encode())


def wrong_requests(seed: int) -> Iterator[bytes]:
    chance = random.Random(seed)
    known = list(endpoints())
    for path in (*STRANGE_PATHS, *(path for _, path, _ in known)):
        for method in METHODS:
            yield request(method, path, b"{}")
    for method, path, body in known:
        data = json.dumps(body).encode()
        for kind in CONTENT_TYPES:
            yield request(method, path, data, kind=kind)
        for length in ("0", "1", "-1", "+5", "5, 5", "x", "", "9" * 30, str(1 << 40), "none"):
            yield request(method, path, data, length=length)
        for header in HEADERS:
            yield request(method, path, data, headers=(header,))
        chunked = ("Transfer-Encoding: chunked",)
        for pieces in (
            b"2\r\n{}\r\n0\r\n\r\n",
            b"zz\r\n{}\r\n0\r\n\r\n",
            b"-1\r\n{}\r\n",
            b"ffffffffffffffffff\r\n{}\r\n",
            b"2\r\n{}0\r\n\r\n",
            b"2;" + b"x" * 9000 + b"\r\n{}\r\n0\r\n\r\n",
        ):
            yield request(method, path, pieces, length="none", headers=chunked)
        yield request(method, path, pieces, length="2", headers=chunked)
        for depth in (100, 10_000, 200_000):
            yield request(method, path, b'{"a":' * depth)
            yield request(method, path, b"[" * depth + b"]" * depth)
        for _ in range(10):
            yield request(method, path, chance.randbytes(chance.randrange(1, 400)))
    for _ in range(200):
        good = request(*known[chance.randrange(len(known))][:2], b"{}")
        at, size = chance.randrange(len(good)), chance.randrange(1, 8)
        yield good[:at] + chance.randbytes(size) + good[at + size :]
        yield chance.randbytes(chance.randrange(1, 2000))


def form(parts: bytes, boundary: str = "x") -> bytes:
    path = "/v1/audio/transcriptions"
    return request("POST", path, parts, kind=f"multipart/form-data; boundary={boundary}")


def wrong_forms(seed: int) -> Iterator[bytes]:
    chance = random.Random(seed)
    file = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    model = b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n'
    wav = (
        b"RIFF\x24\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x40\x1f\x00\x00\x80\x3e\x00\x00\x02\x00\x10\x00"
    )
    for sound in (
        b"",
        b"RIFF",
        wav,
        wav + b"data\xff\xff\xff\xff",
        b"ID3" + bytes(500),
        b"OggS" + bytes(90),
        b"\0" * 9999,
    ):
        yield form(model + file + sound + b"\r\n--x--\r\n")
    for _ in range(40):
        broken = bytearray(wav + b"data\x10\x00\x00\x00" + bytes(16))
        for _ in range(3):
            broken[chance.randrange(len(broken))] = chance.randrange(256)
        yield form(model + file + bytes(broken) + b"\r\n--x--\r\n")
    yield from (form(model * 3000), form(file), form(b""), form(b"--x"), form(b"--x--"), form(model, "y" * 500))
    yield from (form(b"--x\r\n" + b"A: b\r\n" * 9000), form(b"--x\r\nContent-Disposition: form-data\r\n\r\n1\r\n--x--"))


class Asking:
    def __init__(self, server: OpenServer) -> None:
        self._port = server.port
        self.statuses: Counter[int] = Counter()
        self.wrong: list[tuple[bytes, bytes]] = []

    async def send(self, raw: bytes) -> None:
        """Everything is answered or hung up on; where the server waits for more, we hang up."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        answer = b""
        try:
            writer.write(raw)
            answer = await asyncio.wait_for(reader.read(1), HALF_DONE_S)
            answer += await reader.read()
        except (OSError, TimeoutError):
            pass
        finally:
            writer.transport.abort()
        status = int(answer[9:12]) if answer.startswith(b"HTTP/1.1 ") else 0
        self.statuses[status] += 1
        if status not in (0, *range(100, 300), *REFUSED) or (status >= 300 and not is_an_answer(answer)):
            self.wrong.append((raw[:300], answer[:600]))


def is_an_answer(answer: bytes) -> bool:
    """Of a door, which says what is wrong in its shape; or of the HTTP server, which does it in a line."""
    head, _, body = answer.partition(b"\r\n\r\n")
    if b"application/json" not in head:
        return len(body) < 200 and b"Traceback" not in body
    if not body:
        return True  # to HEAD
    told = json.loads(body)
    return bool(told.get("message") or (told["error"]["message"] if isinstance(told["error"], dict) else told["error"]))


async def test_http(server: OpenServer) -> None:
    asking = Asking(server)

    async def fuzz(seed: int) -> None:
        await each([*wrong_requests(seed), *wrong_forms(seed)], asking.send)

    await unharmed(server, fuzz)
    assert asking.wrong == []
    assert {400, 404, 405, 413} <= set(asking.statuses), asking.statuses


async def test_bodies(server: OpenServer) -> None:
    asking = Asking(server)

    async def fuzz(_: int) -> None:
        await each(list(wrong_bodies()), asking.send)

    await unharmed(server, fuzz)
    assert asking.wrong == []
    assert asking.statuses[400] > asking.statuses.total() / 2, asking.statuses


# Websocket


def frame(opcode: int, payload: bytes, *, final: bool = True, masked: bool = True, reserved: int = 0) -> bytes:
    size = len(payload)
    head = bytes([(0x80 if final else 0) | reserved << 4 | opcode])
    mask = 0x80 if masked else 0
    if size < 126:
        head += bytes([mask | size])
    else:
        head += bytes([mask | 126]) + struct.pack(">H", size)
    return head + (b"\0\0\0\0" if masked else b"") + payload


UPGRADE = (
    b"GET /?session=quiet HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
)


async def test_websocket(server: OpenServer) -> None:
    """What a client says on jaison's websocket is read past, whatever it is; what is no frame ends that connection."""

    async def break_off(seed: int) -> None:
        chance = random.Random(seed)
        pieces = [
            *(frame(opcode, b"x") for opcode in range(16)),
            *(frame(1, b"\xff"), frame(1, b"x", masked=False), frame(1, b"x", reserved=7), frame(9, b"x" * 200)),
            *(frame(0, b"x"), frame(8, b"\x00"), frame(8, b"\x03\xe8bye"), b"\x81\xff" + b"\xff" * 8, b""),
            *(chance.randbytes(50) for _ in range(30)),
        ]

        async def speak(piece: bytes) -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(UPGRADE)
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
            writer.write(piece)
            writer.transport.abort()

        await each(pieces, speak)

    async def fuzz(seed: int) -> None:
        await break_off(seed)
        async with connect(f"{server.ws_url}/?session=heard") as socket, visitor(server.url, session="heard") as ana:
            frames = Frames(socket)
            for value in VALUES:
                await socket.send(json.dumps(value))
                await socket.send(json.dumps({"type": "response", "message": value}))
            await socket.send(b"\0" * 200_000)
            await socket.send("y" * 2_000_000)
            await socket.send(["in ", "three ", "pieces"])
            await (await socket.ping(b"are you there"))
            job_id = await ana.job("response", text="say Still here.")
            assert (await frames.job(job_id))[-1]["success"] is True

    await unharmed(server, fuzz)


# Wyoming

WYOMING: dict[str, dict[str, Any]] = {
    "describe": {},
    "ping": {"text": "x"},
    "select-program": {"name": "Robin"},
    "transcribe": {"name": "x", "language": "en", "transcript_names": ["x"], "transcript_terms": ["x"]},
    "audio-start": {"rate": 16000, "width": 2, "channels": 1},
    "audio-chunk": {"rate": 16000, "width": 2, "channels": 1},
    "audio-stop": {},
    "synthesize": {"text": "x", "voice": {"name": "x"}},
    "synthesize-start": {"voice": {"name": "x"}},
    "synthesize-chunk": {"text": "x"},
    "synthesize-stop": {},
    "transcript": {"text": "say x", "context": {"a": 1}},
    "run-satellite": {},
}


def wrong_lines(seed: int) -> Iterator[bytes]:
    chance = random.Random(seed)
    for kind, data in WYOMING.items():
        for value in VALUES:
            yield json.dumps({"type": kind, "data": value}).encode() + b"\n"
            for name in data:
                yield json.dumps({"type": kind, "data": {**data, name: value}}).encode() + b"\n"
            for name in ("data_length", "payload_length", "version"):
                yield json.dumps({"type": kind, "data": data, name: value}).encode() + b"\n"
        yield json.dumps({"type": kind, "data_length": 5}).encode() + b'\n{"a":'
        yield json.dumps({"type": kind, "data": data, "payload_length": 7}).encode() + b"\n1234567"
        yield json.dumps({"type": kind, "data": data, "payload_length": 70}).encode() + b"\n1234567"
    for value in VALUES:
        yield json.dumps(value).encode() + b"\n"
        yield json.dumps({"type": value}).encode() + b"\n"
    for _ in range(100):
        kinds = chance.choices(list(WYOMING), k=6)
        lines = [json.dumps({"type": kind, "data": WYOMING[kind]}).encode() + b"\n" for kind in kinds]
        yield b"".join(lines)
        yield chance.randbytes(chance.randrange(1, 300)) + b"\n"


async def test_wyoming(server: OpenServer) -> None:
    """Told of it, passed over or answered, and at our end of the connection it is over."""
    codes: Counter[str] = Counter()

    async def say(raw: bytes) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.wyoming_port)
        try:
            writer.write(raw)
            if writer.can_write_eof():
                writer.write_eof()
            while line := await reader.readline():
                header = json.loads(line)
                data = json.loads(await reader.readexactly(header.get("data_length") or 0) or b"{}")
                await reader.readexactly(header.get("payload_length") or 0)
                if header["type"] == "error":
                    assert data["text"], data
                    codes[data["code"]] += 1
        except OSError:
            codes["hung up"] += 1
        finally:
            writer.transport.abort()

    async def fuzz(seed: int) -> None:
        async with wyoming(server.wyoming_uri) as client:
            await each(list(wrong_lines(seed)), say)
            await client.write_event(Ping(text="still here").event())
            assert (await heard(client, "pong")).data["text"] == "still here"

    await unharmed(server, fuzz)
    assert "internal" not in codes and codes["bad_request"] > 100, codes
