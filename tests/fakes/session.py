"""Sessions in memory with a real replay log: what a door needs of them, and nothing behind it."""

import asyncio
from collections.abc import Mapping
from typing import Any

from greenroom.errors import BadRequest, Busy, Forbidden, NotFound, Unavailable
from greenroom.protocol import commands, events
from greenroom.protocol.commands import Command, Kind
from greenroom.session.handle import Caller, Reply
from greenroom.session.replay import ReplayLog
from greenroom.values import new_id

PIECES = ("Hello ", "there, ", "you.")
PERSONALITIES = {"english": {"tests": [{"folder": "mara", "name": "Mara"}]}}


class FakeSession:
    """``response`` answers with PIECES in text and voice; ``select_model`` of ``crash`` fails as code does, of
    ``wait`` waits until ``released``."""

    def __init__(self, name: str, log_bytes: int = 1 << 20) -> None:
        self._name = name
        self._log = ReplayLog(log_bytes)
        self.executed: list[Command] = []
        self.callers: dict[str, Caller] = {}
        self.forgotten: asyncio.Queue[str] = asyncio.Queue()
        self.players: list[str] = []
        self.waiting = asyncio.Event()
        self.released = asyncio.Event()
        self.private: dict[str, asyncio.Task[None]] = {}
        self.busy = False

    @property
    def name(self) -> str:
        return self._name

    @property
    def log(self) -> ReplayLog:
        return self._log

    async def execute(self, command: Command, caller: Caller) -> Reply:
        try:
            caller.grant.require_session(self._name)
            command.permit(caller.grant)
        except Forbidden:
            raise AssertionError("the door should have seen to this") from None
        self.executed.append(command)
        if command.kind_of is Kind.JOB:
            return self._job(command, caller)
        match command:
            case commands.GenerateText():
                return self._generate(command, caller)
            case commands.CancelGeneration():
                if (task := self.private.pop(caller.client_id, None)) is not None:
                    task.cancel()
                return {}
            case commands.SelectBinding():
                if command.binding_name != "eliza":
                    raise NotFound(f"there is no binding {command.binding_name!r}")
                return {"success": True, "binding_name": command.binding_name}
            case commands.SelectModel():
                return await self._select_model(command)
            case commands.AddPersonality() if command.path != "english/tests/mara":
                raise NotFound("The provided path does not exist.")
            case commands.ActivatePersonality():
                if command.id not in (0, "Mara"):
                    raise BadRequest("Personality ID not valid")
                return {"success": True, "name": "Mara", "id": command.id}
            case commands.ListAvailablePersonalities():
                return {"success": True, "personalities": PERSONALITIES}
            case commands.ListAvailableModels():
                raise Unavailable("No binding selected")
            case commands.Tokenize():
                return {"success": True, "tokens": command.prompt.split()}
            case commands.InstallBinding() if command.name == "wait":
                await self.released.wait()
            case commands.Interrupt():
                self.released.set()
        return {"success": True}

    async def _select_model(self, command: commands.SelectModel) -> Reply:
        if command.model_name == "crash":
            raise RuntimeError("a secret of the traceback")
        if command.model_name == "wait":
            self.waiting.set()
            await self.released.wait()
        return {"success": True, "model_name": command.model_name}

    def _job(self, command: Command, caller: Caller) -> Reply:
        job_id = new_id()
        reply = {"success": True, "job_id": job_id}
        caller.accept(reply)
        self._log.append(events.JobStarted(job_id=job_id, job_type=command.event, args=command.args()))
        if isinstance(command, commands.Response):
            self.speak(job_id)
        self._log.append(events.JobFinished(job_id=job_id, job_type=command.event, success=True, timing={}))
        return reply

    def speak(self, job_id: str, pieces: tuple[str, ...] = PIECES, pcm_bytes: int = 960) -> None:
        for index, piece in enumerate(pieces):
            self._log.append(events.TextChunk(job_id=job_id, chunk=piece, index=index))
            self._log.append(
                events.AudioChunk(
                    job_id=job_id,
                    index=index,
                    part=0,
                    audio=bytes([index % 256]) * pcm_bytes,
                    sr=24_000,
                    sw=2,
                    ch=1,
                    t_ms=20.0 * index,
                    duration_ms=20.0,
                    volumes=[0.5],
                    last=True,
                )
            )
        self._log.append(events.TextGenerated(job_id=job_id, text="".join(pieces)))

    def _generate(self, command: commands.GenerateText, caller: Caller) -> Reply:
        if self.busy:
            raise Busy("all places are taken")
        request_id = new_id()
        reply = {"success": True, "request_id": request_id}
        caller.accept(reply)
        self.private[caller.client_id] = asyncio.create_task(self._stream(command.prompt, caller, request_id))
        return reply

    async def _stream(self, prompt: str, caller: Caller, request_id: str) -> None:
        sent = ""
        try:
            for piece in prompt.split():
                caller.send(events.TextChunk(chunk=piece), request_id)
                sent += piece
                if piece == "hang":
                    await asyncio.Event().wait()
                await asyncio.sleep(0)
        finally:
            caller.send(events.TextGenerated(text=sent), request_id)

    async def state(self) -> Mapping[str, Any]:
        return {"session": self._name, "personality": "Mara"}

    def join(self, caller: Caller, *, plays: bool) -> None:
        self.callers[caller.client_id] = caller
        if plays:
            self.players.append(caller.client_id)

    def leave(self, client_id: str) -> None:
        self.callers.pop(client_id, None)

    def forget(self, client_id: str) -> None:
        self.leave(client_id)
        self.forgotten.put_nowait(client_id)
        if (task := self.private.pop(client_id, None)) is not None:
            task.cancel()


class FakeSessions:
    def __init__(self, log_bytes: int = 1 << 20) -> None:
        self._log_bytes = log_bytes
        self.known: dict[str, FakeSession] = {}

    async def get(self, name: str) -> FakeSession:
        if name == "crash":
            raise RuntimeError("the disk is on fire")
        return self.known.setdefault(name, FakeSession(name, self._log_bytes))

    async def listing(self) -> list[dict[str, Any]]:
        return [
            {"name": name, "clients": len(session.callers), "jobs": 0, "personality": "Mara"}
            for name, session in self.known.items()
        ]

    @property
    def main(self) -> FakeSession:
        return self.known.setdefault("main", FakeSession("main", self._log_bytes))
