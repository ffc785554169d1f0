"""The client as a program uses it: one session of one server."""

from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from greenroom.client.connection import Connection, ConnectOptions
from greenroom.client.mailbox import Mailbox
from greenroom.client.received import Received
from greenroom.client.router import Router
from greenroom.client.turn import Generation, Request, Turn
from greenroom.client.wav import read_wav
from greenroom.errors import Unavailable
from greenroom.protocol.events import SessionJoined
from greenroom.values import Audio

Members = dict[str, Any]
_ENVELOPE = ("success", "request_id", "n")


class Room:
    """Enter it with ``async with``. Every method may raise the :mod:`greenroom.errors` class that the server names.

    While the connection is away, what is asked waits; what was asked is asked again and done once.
    """

    def __init__(self, options: ConnectOptions) -> None:
        self.options = options
        self._router = Router()
        self._connection = Connection(options, self._router)

    async def __aenter__(self) -> Self:
        await self._connection.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._connection.close()

    @property
    def joined(self) -> SessionJoined:
        """What the server said when this client joined last: its version, this client's role, the session's state."""
        if self._connection.joined is None:
            raise Unavailable("this room has not been entered: use it in an async with")
        return self._connection.joined

    # Talking

    def ask(self, text: str, *, user: str | None = None, voice: bool = True) -> Turn:
        """Say something and hear the answer."""
        return self._turn(Request.change("response", text=text, user=user, include_audio=voice))

    def ask_audio(self, audio: Audio | str | Path, *, user: str = "user", voice: bool = True) -> Turn:
        """The same by speech: PCM, or the path of a WAV file. The turn begins with its ``transcript``.

        :raises BadRequest: if the file is no PCM WAV file. :raises OSError: as reading does.
        """
        sound = audio if isinstance(audio, Audio) else read_wav(audio)
        heard = Request.change(
            "context_add",
            kind="audio",
            user=user,
            audio=sound.pcm,
            sr=sound.sample_rate,
            sw=sound.sample_width,
            ch=sound.channels,
        )
        return self._turn(heard, Request.change("response", include_audio=voice))

    def respond(self, *, voice: bool = True) -> Turn:
        """Answer what stands in the context."""
        return self._turn(Request.change("response", include_audio=voice))

    def say(self, text: str, *, voice: bool = True) -> Turn:
        """The character speaks this text; no model is asked."""
        return self._turn(Request.change("say", text=text, include_audio=voice))

    def generate_text(
        self,
        prompt: str,
        *,
        personality: int | str = -1,
        n_predicts: int | None = None,
        parameters: Mapping[str, Any] | None = None,
    ) -> Generation:
        """Text for this client alone, outside the conversation, as lollms clients ask for it."""
        request = Request.change(
            "generate_text",
            prompt=prompt,
            personality=personality,
            n_predicts=n_predicts,
            parameters=dict(parameters) if parameters is not None else None,
        )
        return Generation(self._connection, self._router, [request])

    async def interrupt(
        self, heard_ms: float | None = None, *, heard_text: str | None = None, job_id: str | None = None
    ) -> Members:
        """End the running turn, or the playback of one that has ended; what was heard stays in the context."""
        return await self.change("interrupt", heard_ms=heard_ms, heard_text=heard_text, job_id=job_id)

    async def heard(self, job_id: str, index: int, ms: float) -> None:
        """As the session's player: so much of sentence ``index`` has been heard."""
        await self.query("audio_heard", job_id=job_id, index=index, ms=ms)

    async def cancel(self, job_id: str, reason: str = "") -> None:
        """Its own end event follows."""
        await self.query("cancel_job", job_id=job_id, reason=reason)

    # The conversation

    async def history(self, limit: int = 100, before: str | None = None) -> list[Members]:
        """Lines, oldest first; ``before``: a ``line_id``."""
        return _members((await self.query("history_get", limit=limit, before=before)).get("lines"))

    def add_line(self, user: str, content: str, timestamp: float | None = None) -> Turn:
        """Somebody said something; nobody answers yet."""
        return self.job("context_add", kind="chat", user=user, content=content, timestamp=timestamp)

    def add_request(self, content: str) -> Turn:
        """Tell the character what to do."""
        return self.job("context_add", kind="request", content=content)

    def clear(self) -> Turn:
        return self.job("context_clear")

    # Choosing

    async def bindings(self) -> list[Members]:
        return _members((await self.query("list_available_bindings")).get("bindings"))

    async def models(self, binding: str | None = None) -> list[Members]:
        return _members((await self.query("list_available_models", binding=binding)).get("available_models"))

    async def personalities(self) -> dict[str, dict[str, list[Members]]]:
        """By language and category."""
        told = (await self.query("list_available_personalities")).get("personalities")
        return told if isinstance(told, dict) else {}

    async def active_personalities(self) -> list[str]:
        told = (await self.query("list_active_personalities")).get("personalities")
        return [str(name) for name in told] if isinstance(told, list) else []

    async def select_binding(self, name: str, options: Mapping[str, Any] | None = None) -> Members:
        return await self.change("select_binding", binding_name=name, options=dict(options) if options else None)

    async def select_model(self, name: str) -> Members:
        return await self.change("select_model", model_name=name)

    async def select_personality(self, path: str) -> Members:
        """``language/category/name``: bring the character in and let it speak from now on."""
        added = await self.change("add_personality", path=path)
        return await self.change("activate_personality", id=added.get("id", path))

    async def remove_personality(self, name: int | str) -> Members:
        return await self.change("remove_personality", id=name)

    async def operations(self) -> Members:
        return await self.query("list_operations")

    def load_operations(self, *ops: Mapping[str, Any]) -> Turn:
        """``{role, id, config?}`` each."""
        return self.job("operation_load", ops=[dict(op) for op in ops])

    def unload_operations(self, *ops: Mapping[str, Any]) -> Turn:
        """``{role, id?}`` each."""
        return self.job("operation_unload", ops=[dict(op) for op in ops])

    def configure_operations(self, *ops: Mapping[str, Any]) -> Turn:
        """``{role, id?, config}`` each."""
        return self.job("operation_configure", ops=[dict(op) for op in ops])

    def use_operation(self, role: str, payload: Mapping[str, Any], id: str | None = None) -> Turn:
        """One input through one operation; what it yields stands in ``Answer.results``."""
        return self.job("operation_use", role=role, id=id, payload=dict(payload))

    # Looking

    async def state(self) -> Members:
        told = (await self.query("session_state")).get("state")
        return told if isinstance(told, dict) else {}

    async def sessions(self) -> list[Members]:
        return _members((await self.query("session_list")).get("sessions"))

    async def config(self) -> Members:
        told = (await self.query("config_get")).get("config")
        return told if isinstance(told, dict) else {}

    def events(self) -> "EventStream":
        """Everything that happens in the session from this call on, other clients' turns too.

        ``session_joined`` with ``resumed`` false among them says that something was missed: read the history again.
        """
        return EventStream(self._router.watch())

    # Whatever else the protocol has

    def job(self, event: str, **data: Any) -> Turn:
        """Any event that is a job; arguments that are ``None`` are left out."""
        return self._turn(Request.change(event, **data))

    async def query(self, event: str, **data: Any) -> Members:
        """Any event that changes nothing. -> the acknowledgement, without ``success``."""
        members = {key: value for key, value in data.items() if value is not None}
        return _bare(await self._connection.request(event, members))

    async def change(self, event: str, **data: Any) -> Members:
        """Any event that changes something and is no job. -> the acknowledgement, without ``success``."""
        request = Request.change(event, **data)
        return _bare(await self._connection.request(request.event, request.data))

    def _turn(self, *requests: Request) -> Turn:
        return Turn(self._connection, self._router, requests)


class EventStream:
    """Iterate over it. What waits is bounded: drop it when it is no longer read."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox

    def __aiter__(self) -> AsyncIterator[Received]:
        return self

    async def __anext__(self) -> Received:
        return await self._mailbox.get()


def _bare(answer: Mapping[str, Any]) -> Members:
    return {key: value for key, value in answer.items() if key not in _ENVELOPE}


def _members(told: object) -> list[Members]:
    if not isinstance(told, Sequence):
        return []
    return [item for item in told if isinstance(item, dict)]
