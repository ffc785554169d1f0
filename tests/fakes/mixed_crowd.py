"""Clients of every door that keep accounts: whether anything was lost, came twice or in another order, and when.

A turn's text is ``<time> word word ...``: ``time.monotonic`` of the moment in which its first word was due, then words
that everybody knows, so many a second. What any client hears of it can thus be checked by that client alone.

    SocketAccount     seq without a gap; of each job one start, its text in order, one end
    FrameAccount      the frames of each job together: one start, its results, one end
    StreamClient      its own turn, whole and in order, over /v1/chat/completions
    LineClient        the same over Wyoming, and speech
"""

import asyncio
import base64
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

_ANSWER_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class Script:
    """What every answer says. ``words``: behind the time, each with the blank before it."""

    words: tuple[str, ...]
    per_s: float

    @classmethod
    def repeating(cls, sentence: tuple[str, ...], count: int, per_s: float) -> "Script":
        return cls(tuple(sentence[at % len(sentence)] for at in range(count)), per_s)

    def problem(self, text: str) -> str | None:
        """What is wrong with a whole answer, but for blanks at its end."""
        begin, _, _ = text.partition(" ")
        if text.strip() != begin + "".join(self.words):
            return f"the answer is {text[:60]!r} ..., {len(text.split())} words"
        return None


@dataclass(slots=True)
class Account:
    """What one client noticed. ``late_ms``: of each word that it heard, against when it was due."""

    script: Script
    wrong: list[str] = field(default_factory=list)
    late_ms: list[float] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    """jobs, in the order in which they ended"""
    events: int = 0
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def note(self, problem: str | None) -> None:
        if problem is not None:
            self.wrong.append(problem)

    def end(self, job_id: str) -> None:
        if job_id in self.ended[-50:]:
            self.note(f"{job_id} has ended twice")
        self.ended.append(job_id)
        self._news.set()

    async def until_ended(self, job_id: str) -> None:
        """:raises TimeoutError: it never was."""
        async with asyncio.timeout(_ANSWER_S):
            while job_id not in self.ended[-50:]:
                self._news.clear()
                await self._news.wait()


class Words:
    """One answer, as it comes in pieces."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self.text = ""
        self._count = 0

    def add(self, piece: str, at: float) -> None:
        self.text += piece
        begin = float(self.text.partition(" ")[0])
        count = len(self.text.split())
        due = begin + (count - 1) / self._account.script.per_s
        self._account.late_ms += [(at - due) * 1000] * (count - self._count)
        self._count = count

    def whole(self) -> None:
        self._account.note(self._account.script.problem(self.text))


class SocketAccount(Account):
    """Of a Socket.IO client."""

    __slots__ = ("_answers", "_index", "_seq")

    def __init__(self, script: Script) -> None:
        super().__init__(script)
        self._seq: int | None = None
        self._answers: dict[str, Words | None] = {}
        """jobs that have started; ``None``: no answer"""

    def heard(self, name: str, data: Mapping[str, Any], at: float) -> None:
        if "seq" not in data or "session" not in data:
            return
        self.events += 1
        seq: int = data["seq"]
        if name == "session_joined":
            self._seq = seq
            return
        if self._seq is not None and seq != self._seq + 1:
            self.note(f"{name} {seq} came after {self._seq}")
        self._seq = seq
        job_id = data.get("job_id")
        if name == "job_started":
            if job_id in self._answers:
                self.note(f"{job_id} has started twice")
            self._answers[str(job_id)] = Words(self) if data["job_type"] == "response" else None
        elif name in ("text_chunk", "sentence", "audio_chunk", "job_finished") and job_id not in self._answers:
            self.note(f"{name} of {job_id}, which has not started")
        elif name == "text_chunk" and (words := self._answers[str(job_id)]) is not None and data["type"] == 0:
            words.add(data["chunk"], at)
        elif name == "job_finished":
            answer = self._answers.pop(str(job_id))
            if not data["success"]:
                self.note(f"{data['job_type']} failed: {data['error']}")
            elif answer is not None:
                answer.whole()
            self.end(str(job_id))


class FrameAccount(Account):
    """Of a client of jaison's websocket."""

    __slots__ = ("_job", "_words", "sound_bytes")

    def __init__(self, script: Script) -> None:
        super().__init__(script)
        self._job = ""
        self._words: Words | None = None
        self.sound_bytes = 0
        """of the last answer"""

    def heard(self, text: str, at: float) -> None:
        self.events += 1
        envelope, _ = json.loads(text)
        response = envelope["response"]
        job_id = response["job_id"]
        if "start" in response:
            if self._job:
                self.note(f"{job_id} has started within {self._job}")
            self._job, self.sound_bytes = job_id, 0
            self._words = Words(self) if envelope["message"] == "response" else None
            return
        if job_id != self._job:
            # The first frames may be of a job that had started before the client came.
            self.note(f"a frame of {job_id} within {self._job or 'no job'}" if self.ended or self._job else None)
            return
        result = response.get("result", {})
        if response.get("finished"):
            if not response["success"]:
                self.note(f"{envelope['message']} failed: {result}")
            elif self._words is not None:
                self._words.whole()
            self._job = ""
            self.end(job_id)
        elif "audio_bytes" in result:
            self.sound_bytes += len(base64.b64decode(result["audio_bytes"]))
        elif "content" in result and self._words is not None:
            self._words.add(f" {result['content']}" if self._words.text else result["content"], at)


class StreamClient:
    """One connection to OpenAI's door that stays open. ``session``: its requests are turns there."""

    def __init__(
        self, account: Account, session: str | None, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.account = account
        self._session = session
        self._reader = reader
        self._writer = writer

    @classmethod
    async def to(cls, port: int, account: Account, session: str | None = None) -> "StreamClient":
        return cls(account, session, *await asyncio.open_connection("127.0.0.1", port))

    async def ask(self, text: str) -> None:
        asked: dict[str, Any] = {
            "model": "greenroom",
            "stream": True,
            "messages": [{"role": "user", "content": text}],
        }
        if self._session is not None:
            asked["metadata"] = {"session": self._session, "include_audio": "false"}
        body = json.dumps(asked).encode()
        head = (
            "POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\n\r\n"
        )
        self._writer.write(head.encode() + body)
        async with asyncio.timeout(_ANSWER_S):
            status = await self._reader.readuntil(b"\r\n\r\n")
            if not status.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"refused: {status[:100]!r}")
            await self._take()

    async def _take(self) -> None:
        words = Words(self.account)
        last = ""
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            piece = (await self._reader.readexactly(size + 2))[:-2]
            at = time.monotonic()
            for event in piece.decode().split("\n\n"):
                if event.startswith("data: {"):
                    self.account.events += 1
                    told = json.loads(event[6:])
                    if "error" in told:
                        self.account.note(f"a stream failed: {told['error']}")
                    elif told["choices"] and (content := told["choices"][0]["delta"].get("content")):
                        words.add(content, at)
                last = event or last
        await self._reader.readexactly(2)
        self.account.note(None if last == "data: [DONE]" else f"a stream ended with {last[:80]!r}")
        words.whole()

    def close(self) -> None:
        self._writer.transport.abort()


class LineClient:
    """One Wyoming connection."""

    def __init__(self, account: Account, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.account = account
        self._reader = reader
        self._writer = writer

    @classmethod
    async def to(cls, port: int, account: Account) -> "LineClient":
        return cls(account, *await asyncio.open_connection("127.0.0.1", port))

    async def ask(self, text: str) -> None:
        """A turn of the door's session."""
        words = Words(self.account)
        kinds: list[str] = []
        async with asyncio.timeout(_ANSWER_S):
            self._write("transcript", {"text": text})
            while not kinds or kinds[-1] != "handled-stop":
                kind, data, _ = await self._event()
                kinds.append(kind)
                if kind == "handled-chunk":
                    words.add(data["text"], time.monotonic())
                elif kind == "handled":
                    self.account.note(None if data["text"] == words.text else "the whole is not what came in pieces")
        if (kinds[0], kinds[-2]) != ("handled-start", "handled") or set(kinds[1:-2]) != {"handled-chunk"}:
            self.account.note(f"a turn was told as {sorted(set(kinds))}")
        words.whole()

    async def speak(self, text: str) -> None:
        """Speech: it begins, has sound, and ends."""
        kinds: list[str] = []
        async with asyncio.timeout(_ANSWER_S):
            self._write("synthesize", {"text": text})
            while not kinds or kinds[-1] != "audio-stop":
                kind, _, payload = await self._event()
                kinds.append(kind)
                if kind == "audio-chunk" and not payload:
                    self.account.note("a chunk of sound is empty")
        if kinds[0] != "audio-start" or set(kinds[1:-1]) != {"audio-chunk"}:
            self.account.note(f"speech was told as {sorted(set(kinds))}")

    def _write(self, kind: str, data: Mapping[str, Any]) -> None:
        self._writer.write(json.dumps({"type": kind, "data": data}).encode() + b"\n")

    async def _event(self) -> tuple[str, dict[str, Any], bytes]:
        self.account.events += 1
        header = json.loads(await self._reader.readline())
        data = json.loads(await self._reader.readexactly(header.get("data_length") or 0) or b"{}")
        payload = await self._reader.readexactly(header.get("payload_length") or 0)
        if header["type"] == "error":
            self.account.note(f"told: {data}")
        return header["type"], data, payload

    def close(self) -> None:
        self._writer.transport.abort()


def same_order(accounts: list[Account]) -> list[str]:
    """Where listeners of one session differ in the jobs that they heard, but for those before one of them came."""
    longest = max((account.ended for account in accounts), key=len)
    return [
        f"one heard {len(account.ended)} jobs, another {len(longest)}, or others"
        for account in accounts
        if account.ended != longest[len(longest) - len(account.ended) :]
    ]
