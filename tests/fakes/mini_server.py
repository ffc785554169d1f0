"""A small Socket.IO server that follows the native protocol as far as a client can see it, made for tests of clients.

It answers every question with words that the test chooses, keeps a replay log, knows ``command_id``s, can stop in the
middle of a turn until told to go on, drop every connection, and come back as after a restart.
"""

import asyncio
import math
import struct
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import socketio
from aiohttp import web

from greenroom.protocol import events
from greenroom.protocol.events import Event, payload
from greenroom.session.replay import ReplayLog
from greenroom.values import new_id

RATE = 16_000
WORD_MS = 40


def tone(milliseconds: int, number: int = 0) -> bytes:
    """Mono PCM, 16 bit; another ``number`` sounds, and compares, differently."""
    frames = RATE * milliseconds // 1000
    pitch = 220.0 * (1 + number % 24)
    return struct.pack(f"<{frames}h", *(round(8000 * math.sin(6.2832 * pitch * i / RATE)) for i in range(frames)))


@dataclass
class _Client:
    sid: str
    auth: Mapping[str, Any]
    cursor: int = 0
    hears: bool = False
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    pump: asyncio.Task[None] | None = None


@dataclass
class _Job:
    id: str
    type: str
    args: dict[str, Any]
    cancelled: str | None = None
    interrupted: bool = False


GOOD_TOKEN = "open-sesame"  # noqa: S105 -- opens a fake only


class MiniServer:
    """:param token: if set, what ``auth.token`` must be."""

    def __init__(self, *, token: str | None = None, log_bytes: int = 8_000_000) -> None:
        self.token = token
        self.log_bytes = log_bytes
        self.url = ""
        self.reply: Callable[[str], str] = lambda asked: f"You said: {asked} Fine."
        self.go = asyncio.Event()
        """cleared: a turn stops after its second word until this is set"""
        self.go.set()
        self.reached = asyncio.Event()
        """set when a turn stands there"""
        self.open = asyncio.Event()
        """cleared: connections wait at the door until this is set"""
        self.open.set()
        self.fail_with: dict[str, Any] | None = None
        """the error of the next turn"""
        self.swallow: set[str] = set()
        """events that are carried out, but whose next acknowledgement is lost with the connection"""
        self.seen: list[tuple[str, dict[str, Any]]] = []
        """every event that came, in order"""
        self.auths: list[dict[str, Any]] = []
        self.lines: list[dict[str, Any]] = []
        self.selected: dict[str, Any] = {"binding": "fake", "model": "words", "personality": "Fake"}
        self._answers: dict[str, dict[str, Any]] = {}
        self._clients: dict[str, _Client] = {}
        self._jobs: asyncio.Queue[_Job] = asyncio.Queue()
        self._known: dict[str, _Job] = {}
        self._running: _Job | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        self.log = ReplayLog(log_bytes)
        self._worker: asyncio.Task[None] | None = None
        self._runner: web.AppRunner | None = None
        self._port = 0

    async def idle(self) -> None:
        """Returns when every job has ended."""
        await self._idle.wait()

    # Life

    async def start(self) -> None:
        self._sio = socketio.AsyncServer(async_mode="aiohttp", async_handlers=False, cors_allowed_origins="*")
        self._sio.on("connect", self._connect)
        self._sio.on("disconnect", self._disconnect)
        self._sio.on("*", self._any)
        app = web.Application()
        self._sio.attach(app)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port)
        await site.start()
        server: Any = site._server
        self._port = server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"
        self._worker = asyncio.create_task(self._work())

    async def stop(self) -> None:
        """As a shutdown: every client is told, then dropped."""
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)
        for sid in list(self._clients):
            await self._sio.emit("closing", {"code": "shutdown", "message": "the server stops"}, to=sid)
        await self.cut()
        if self._sio.eio.service_task_handle is not None:  # else engine.io 4.15 stumbles over its own shutdown
            await self._sio.shutdown()
        if self._runner is not None:
            await self._runner.cleanup()

    async def cut(self) -> None:
        """Drop every connection, as a network does."""
        for client in list(self._clients.values()):
            await self._sio.eio.disconnect(self._sio.manager.eio_sid_from_sid(client.sid, "/"))

    async def restart(self) -> None:
        """The same place, another epoch, nothing of the running jobs left but the lines."""
        await self.stop()
        self.log = ReplayLog(self.log_bytes)
        self._known.clear()
        self._running = None
        self._jobs = asyncio.Queue()
        await self.start()

    # Connections

    async def _connect(self, sid: str, _environ: object, auth: dict[str, Any] | None) -> None:
        auth = auth or {}
        await self.open.wait()
        self.auths.append(auth)
        if self.token is not None and auth.get("token") != self.token:
            data = {"code": "unauthorized", "message": "this token opens nothing here"}
            raise socketio.exceptions.ConnectionRefusedError(data["message"], data)
        client = self._clients[sid] = _Client(sid, auth)
        client.pump = asyncio.create_task(self._pump(client))
        if "session" in auth:
            self._join(client, auth.get("epoch"), auth.get("last_seq"))

    async def _disconnect(self, sid: str, *_reason: object) -> None:
        client = self._clients.pop(sid, None)
        if client is not None and client.pump is not None:
            client.pump.cancel()

    def _join(self, client: _Client, epoch: object, last_seq: object) -> None:
        resumed = epoch == self.log.epoch and isinstance(last_seq, int) and self.log.reaches(last_seq)
        client.cursor = last_seq if resumed and isinstance(last_seq, int) else self.log.seq
        client.hears = False
        client.wake.set()
        joined = events.SessionJoined(
            session="main",
            role="owner",
            epoch=self.log.epoch,
            seq=client.cursor,
            resumed=resumed,
            missed=self.log.seq - client.cursor,
            server={"name": "mini", "version": "0", "protocol": 1},
            state=self._state(),
        )
        self._greeting = asyncio.create_task(self._greet(client, joined))

    async def _greet(self, client: _Client, joined: events.SessionJoined) -> None:
        await self._sio.emit(joined.name, payload(joined), to=client.sid)
        client.hears = True
        client.wake.set()

    async def _pump(self, client: _Client) -> None:
        while True:
            if not self.log.reaches(client.cursor):
                self._join(client, None, None)
            item = self.log.after(client.cursor) if client.hears else None
            if item is None:
                client.wake.clear()
                await client.wake.wait()
            elif isinstance(item, events.AudioDropped):
                client.cursor = item.to_seq
                await self._sio.emit(item.name, {**payload(item), "session": "main"}, to=client.sid)
            elif item.event is not None:
                wire = {**payload(item.event), "session": "main", "seq": item.seq, "from_the_future": True}
                client.cursor = item.seq
                await self._sio.emit(item.event.name, wire, to=client.sid)

    def publish(self, event: Event) -> None:
        self.log.append(event)
        for client in self._clients.values():
            client.wake.set()

    def skip_one(self) -> None:
        """Every client misses the next event: what a gap looks like."""
        for client in self._clients.values():
            client.cursor += 1

    # Requests

    async def _any(self, event: str, sid: str, data: Any = None) -> dict[str, Any]:
        members: dict[str, Any] = data if isinstance(data, dict) else {}
        self.seen.append((event, members))
        command_id = members.get("command_id")
        if command_id in self._answers:
            return self._answers[command_id]
        handler = getattr(self, f"_on_{event}", None)
        if handler is None:
            return {"success": False, "error": f"there is no event {event!r}", "code": "not_found"}
        answer: dict[str, Any] = handler(self._clients[sid], **{k: v for k, v in members.items() if k != "command_id"})
        if command_id is not None:
            self._answers[command_id] = answer
        if event in self.swallow:
            self.swallow.discard(event)
            await self.cut()
        return answer

    def _state(self) -> dict[str, Any]:
        running, queued = None, []
        for job in self._known.values():
            told = {"job_id": job.id, "job_type": job.type}
            if job is self._running:
                running = told
            else:
                queued.append(told)
        return {**self.selected, "jobs": {"running": running, "queued": queued}}

    def _on_session_state(self, _client: _Client) -> dict[str, Any]:
        return {"success": True, "state": self._state()}

    def _on_session_join(
        self, client: _Client, session: str = "main", epoch: str = "", last_seq: int | None = None, plays: bool = False
    ) -> dict[str, Any]:
        self._join(client, epoch, last_seq)
        return {"success": True, "session": session}

    def _on_history_get(self, _client: _Client, limit: int = 100, before: str | None = None) -> dict[str, Any]:
        return {"success": True, "lines": self.lines[-limit:]}

    def _on_list_available_bindings(self, _client: _Client) -> dict[str, Any]:
        entry = {"name": "fake", "card": {"name": "Fake", "description": "says words"}, "models": []}
        return {"success": True, "bindings": [{**entry, "status": "ready", "roles": ["t2t", "tts"]}]}

    def _on_list_available_models(self, _client: _Client, binding: str | None = None) -> dict[str, Any]:
        model = {"title": "words", "description": "a few words", "isInstalled": True, "filesize": 0}
        voice = {"title": "sounds", "description": "reads aloud", "roles": ["tts"]}
        return {"success": True, "available_models": [model, voice]}

    def _on_list_voices(self, _client: _Client, binding: str = "fake") -> dict[str, Any]:
        amy = {"id": "amy", "name": "Amy", "language": "en-US", "gender": "female"}
        return {"success": True, "binding": binding, "voices": [amy]}

    def _on_list_available_personalities(self, _client: _Client) -> dict[str, Any]:
        fake = {"folder": "fake", "name": "Fake", "description": "a fake", "author": "tests", "version": "1"}
        return {"success": True, "personalities": {"english": {"tests": [fake]}}}

    def _on_list_active_personalities(self, _client: _Client) -> dict[str, Any]:
        return {"success": True, "personalities": [self.selected["personality"]]}

    def _on_list_operations(self, _client: _Client) -> dict[str, Any]:
        return {"success": True, "operations": {"t2t": "fake", "tts": "fake", "filter_text": []}}

    def _on_select_binding(
        self, _client: _Client, binding_name: str, options: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        if binding_name != "fake":
            return {"success": False, "error": f"there is no binding {binding_name!r}", "code": "not_found"}
        self.selected["binding"] = binding_name
        return {"success": True, "binding_name": binding_name}

    def _on_select_model(self, _client: _Client, model_name: str) -> dict[str, Any]:
        self.selected["model"] = model_name
        return {"success": True, "model_name": model_name}

    def _on_add_personality(self, _client: _Client, path: str) -> dict[str, Any]:
        if path != "english/tests/fake":
            return {"success": False, "error": f"there is no personality {path!r}", "code": "not_found"}
        return {"success": True, "name": "Fake", "id": 0}

    def _on_activate_personality(self, _client: _Client, id: int | str) -> dict[str, Any]:
        self.selected["personality"] = "Fake"
        return {"success": True, "name": "Fake", "id": id}

    def _on_cancel_job(self, _client: _Client, job_id: str, reason: str = "") -> dict[str, Any]:
        job = self._known.get(job_id)
        if job is None:
            return {"success": False, "error": "there is no such job", "code": "not_found"}
        job.cancelled = reason or "no reason"
        self.go.set()
        return {"success": True}

    def _on_interrupt(
        self, _client: _Client, job_id: str | None = None, heard_ms: float | None = None, heard_text: str | None = None
    ) -> dict[str, Any]:
        if self._running is not None:
            self._running.interrupted = True
            self.go.set()
        return {"success": True}

    def _on_audio_heard(self, _client: _Client, job_id: str, index: int, ms: float) -> dict[str, Any]:
        return {"success": True}

    def _on_generate_text(self, client: _Client, prompt: str, **_more: object) -> dict[str, Any]:
        request_id = new_id()
        self._generating = asyncio.create_task(self._generate(client.sid, request_id, prompt))
        return {"success": True, "request_id": request_id}

    def _on_cancel_generation(self, _client: _Client) -> dict[str, Any]:
        self.go.set()
        return {"success": True}

    # Jobs

    def _queue(self, job_type: str, args: dict[str, Any]) -> dict[str, Any]:
        job = _Job(new_id(), job_type, args)
        self._known[job.id] = job
        self._idle.clear()
        self._jobs.put_nowait(job)
        return {"success": True, "job_id": job.id}

    def _on_response(self, _client: _Client, **args: Any) -> dict[str, Any]:
        return self._queue("response", args)

    def _on_say(self, _client: _Client, **args: Any) -> dict[str, Any]:
        return self._queue("say", args)

    def _on_context_add(self, _client: _Client, **args: Any) -> dict[str, Any]:
        return self._queue("context_add", args)

    def _on_context_clear(self, _client: _Client) -> dict[str, Any]:
        self.lines.clear()
        return self._queue("context_clear", {})

    def _on_operation_configure(self, _client: _Client, ops: list[dict[str, Any]]) -> dict[str, Any]:
        return self._queue("operation_configure", {"ops": ops})

    def _on_operation_use(self, _client: _Client, **args: Any) -> dict[str, Any]:
        return self._queue("operation_use", args)

    async def _work(self) -> None:
        while True:
            job = self._running = await self._jobs.get()
            shown = {key: True if isinstance(value, bytes) else value for key, value in job.args.items()}
            self.publish(events.JobStarted(job_id=job.id, job_type=job.type, args=shown))
            error = None if job.cancelled is None else _cancelled(job)
            if error is None:
                error = await self._perform(job)
            self._known.pop(job.id, None)
            done = events.JobFinished(
                job_id=job.id,
                job_type=job.type,
                success=error is None,
                error=error,
                timing={"total_ms": 1.0} if error is None else None,
            )
            self.publish(done)
            self._running = None
            if not self._known:
                self._idle.set()

    async def _perform(self, job: _Job) -> dict[str, Any] | None:
        if self.fail_with is not None:
            error, self.fail_with = self.fail_with, None
            return error
        match job.type:
            case "response":
                return await self._respond(job)
            case "say":
                return await self._speak(job, job.args["text"])
            case "context_add":
                return self._add(job)
            case "operation_use":
                self.publish(events.JobProgress(job_id=job.id, result={"content": str(job.args["payload"])}))
        return None

    def _add(self, job: _Job) -> dict[str, Any] | None:
        content = job.args.get("content")
        if content is None:
            content = f"{len(job.args['audio'])} bytes of sound"
            self.publish(events.Transcript(job_id=job.id, user="user", content=content, final=True))
        self._line(job, job.args.get("user", "user"), content)
        return None

    def _line(self, job: _Job, user: str, content: str) -> None:
        number = len(self.lines) + 1
        line = {"line_id": f"line-{number}", "kind": "chat", "user": user, "timestamp": 1.0 * number}
        self.lines.append({**line, "content": content, "line": f"[{user}]: {content}"})
        added = events.ContextAdded(
            job_id=job.id,
            line_id=f"line-{number}",
            kind="chat",
            user=user,
            timestamp=1.0 * number,
            content=content,
            line=f"[{user}]: {content}",
        )
        self.publish(added)

    async def _respond(self, job: _Job) -> dict[str, Any] | None:
        text = job.args.get("text")
        if text is not None:
            self._line(job, job.args.get("user", "user"), text)
        asked = self.lines[-1]["content"] if self.lines else ""
        return await self._speak(job, self.reply(asked))

    async def _speak(self, job: _Job, text: str) -> dict[str, Any] | None:
        words = [f"{word} " for word in text.split(" ")]
        words[-1] = words[-1].rstrip(" ")
        said = ""
        for number, word in enumerate(words):
            if number == 2:
                self.reached.set()
                await self.go.wait()
            if job.interrupted or job.cancelled is not None:
                break
            said += word
            await asyncio.sleep(0)
            self.publish(events.TextChunk(job_id=job.id, chunk=word, index=0))
            if job.args.get("include_audio", True):
                self._sound(job, number)
        if job.cancelled is not None:
            return _cancelled(job)
        self._line(job, "Fake", said)
        if job.interrupted:
            self.publish(events.Interrupted(job_id=job.id, heard=said, unheard=text[len(said) :]))
            return {"code": "cancelled", "type": "job_cancelled", "reason": "interrupted"}
        mood = {"emotion": "joy"}
        self.publish(events.Sentence(job_id=job.id, index=0, text=text, speech=text, extras=mood))
        self.publish(events.TextGenerated(job_id=job.id, text=said))
        return None

    def _sound(self, job: _Job, number: int) -> None:
        chunk = events.AudioChunk(
            job_id=job.id,
            index=0,
            part=number,
            audio=tone(WORD_MS, number),
            sr=RATE,
            sw=2,
            ch=1,
            t_ms=float(WORD_MS * number),
            duration_ms=float(WORD_MS),
            volumes=[0.5, 0.5],
        )
        self.publish(chunk)

    async def _generate(self, sid: str, request_id: str, prompt: str) -> None:
        said, n = "", 0
        for number, word in enumerate(self.reply(prompt).split(" ")):
            if number == 2:
                self.reached.set()
                await self.go.wait()
            said, n = f"{said}{word} ", n + 1
            wire = {"chunk": f"{word} ", "type": 0, "request_id": request_id, "n": n}
            await self._sio.emit("text_chunk", wire, to=sid)
        await self._sio.emit("text_generated", {"text": said, "request_id": request_id, "n": n + 1}, to=sid)


def _cancelled(job: _Job) -> dict[str, Any]:
    reason = f"Setting job {job.id} to cancel because {job.cancelled}"
    return {"code": "cancelled", "type": "job_cancelled", "reason": reason}


@asynccontextmanager
async def mini_server(**options: Any) -> AsyncIterator[MiniServer]:
    server = MiniServer(**options)
    await server.start()
    try:
        yield server
    finally:
        server.go.set()
        await server.stop()


class ThreadedServer:
    """The same in a thread of its own, for programs that block, such as a command line."""

    def __init__(self, server: MiniServer, loop: asyncio.AbstractEventLoop) -> None:
        self.server = server
        self.loop = loop

    @property
    def url(self) -> str:
        return self.server.url

    def hold(self) -> None:
        self.loop.call_soon_threadsafe(self.server.go.clear)


@contextmanager
def threaded_server(**options: Any) -> Iterator[ThreadedServer]:
    ready = threading.Event()
    running: list[ThreadedServer] = []
    leave: list[asyncio.Event] = []

    async def serve() -> None:
        async with mini_server(**options) as server:
            running.append(ThreadedServer(server, asyncio.get_running_loop()))
            leave.append(asyncio.Event())
            ready.set()
            await leave[0].wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
    thread.start()
    if not ready.wait(30):
        raise RuntimeError("the fake server did not start")
    try:
        yield running[0]
    finally:
        running[0].loop.call_soon_threadsafe(leave[0].set)
        thread.join(30)
