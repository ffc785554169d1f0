"""The desk for operations: loading, unloading, configuring and using them, as jobs in jaison's shape."""

import base64
import binascii
from collections.abc import AsyncGenerator, Awaitable, Mapping
from contextlib import aclosing
from typing import Any, TypeVar

from greenroom.bindings.engines import LoadedOperation
from greenroom.bindings.guard import guarded
from greenroom.bindings.roles import (
    AnyOperation,
    AudioFilter,
    Embedding,
    SpeechToText,
    TextFilter,
    TextToSpeech,
    TextToText,
)
from greenroom.errors import BadRequest, NotFound, TooLarge
from greenroom.pipeline.chain import closable, one, stacked, unstalled
from greenroom.protocol import events
from greenroom.protocol.commands import (
    OperationConfigure,
    OperationLoad,
    OperationReloadFromConfig,
    OperationUnload,
    OperationUse,
)
from greenroom.protocol.fields import MAX_AUDIO_BYTES
from greenroom.session.access import check_options, without_secrets
from greenroom.session.handle import Caller, Reply
from greenroom.session.jobs import Job
from greenroom.session.operations import OperationSpec, operation_as, release_all
from greenroom.session.session import Session
from greenroom.session.state import Choices
from greenroom.values import Audio, Ended, Message, Prompt, Role, SpeechText, TextChunk, TextDelta, ToolCall

T = TypeVar("T")
_OPERATIONS = frozenset({"operations"})


class OperationDesk:
    def __init__(self, session: Session) -> None:
        self._session = session
        session.handle(OperationLoad, self._load)
        session.handle(OperationUnload, self._unload)
        session.handle(OperationConfigure, self._configure)
        session.handle(OperationReloadFromConfig, self._reload)
        session.handle(OperationUse, self._use)

    async def _load(self, command: OperationLoad, caller: Caller) -> Reply:
        async def work(job: Job) -> None:
            for item in command.ops:
                role, options = _role(item.role), dict(item.config or {})
                check_options(self._known(role, item.id), options, caller.access, item.id)
                await self._apply(caller, self._session.operations.load(OperationSpec(role, item.id, options)))
                self._progress(job, {"role": str(role), "id": item.id, "loose_key": item.loose_key})

        return await self._submit(command, caller, work)

    async def _unload(self, command: OperationUnload, caller: Caller) -> Reply:
        async def work(job: Job) -> None:
            for item in command.ops:
                role = _role(item.role)
                spec = await self._apply(caller, self._session.operations.unload(role, item.id))
                self._progress(job, {"role": str(role), "id": spec.id})

        return await self._submit(command, caller, work)

    async def _configure(self, command: OperationConfigure, caller: Caller) -> Reply:
        async def work(job: Job) -> None:
            for item in command.ops:
                role, settings = _role(item.role), item.settings()
                spec = self._session.operations.spec(role)
                binding_id = item.id or (spec.id if spec else None)
                if binding_id is None:
                    raise NotFound(f"No operation of type {role.name} loaded", kind="operation_unloaded")
                check_options(self._known(role, binding_id), settings, caller.access, binding_id)
                await self._apply(caller, self._session.operations.configure(role, item.id, settings))
                self._progress(job, {"role": str(role), "id": binding_id, **without_secrets(settings)})

        return await self._submit(command, caller, work)

    async def _reload(self, command: OperationReloadFromConfig, caller: Caller) -> Reply:
        async def work(job: Job) -> None:
            wanted = Choices.from_config(self._session.house.config.value).operations
            await self._apply(caller, self._session.operations.replace_all(wanted))

        return await self._submit(command, caller, work)

    def _known(self, role: Role, operation_id: str) -> type[AnyOperation]:
        """:raises NotFound: in jaison's words, and what there is instead."""
        try:
            return self._session.house.bindings.get(operation_id).operation(role)
        except NotFound as error:
            what = (Role.T2T if role is Role.MCP else role).name
            sentence = f"No operation of type {what} with id {operation_id}: {error.message}"
            raise NotFound(sentence, kind="operation_unknown_id") from None

    async def _submit(self, command: Any, caller: Caller, work: Any) -> Reply:
        job = Job(command.event, without_secrets(command.args()), work, writes=_OPERATIONS)
        return await self._session.jobs.submit(job, command.command_id or "", caller.accept)

    async def _apply(self, caller: Caller, change: Awaitable[T]) -> T:
        """A change that breaks off on the way, or is cancelled, is stored and told as far as it went."""
        before = self._session.operations.specs()
        try:
            changed = await change
        except BaseException:
            if self._session.operations.specs() != before:
                await self._changed(caller)
            raise
        await self._changed(caller)
        return changed

    async def _changed(self, caller: Caller) -> None:
        await self._session.changed(caller, operations=self._session.operations.ids())

    def _progress(self, job: Job, result: Mapping[str, Any]) -> None:
        self._session.emit(events.JobProgress(job_id=job.job_id, result=result))

    # use

    async def _use(self, command: OperationUse, caller: Caller) -> Reply:
        async def work(job: Job) -> None:
            role = _role(command.role)
            held = await self._held(role, command.id)
            own_name = self._session.character_name()
            try:
                what = held[0].binding_id if held else str(role)
                stall_s = self._session.house.config.value.turn.timeout_s
                with guarded(what):
                    async with aclosing(_used(role, held, command.payload, own_name)) as results:
                        async for result in unstalled(results, stall_s, what):
                            if isinstance(result, Ended):
                                job.ended = result
                            else:
                                self._progress(job, result)
            finally:
                await release_all(held)

        args = {key: value for key, value in command.args().items() if key != "payload"}
        job = Job("operation_use", args, work)
        return await self._session.jobs.submit(job, command.command_id or "", caller.accept)

    async def _held(self, role: Role, operation_id: str | None) -> list[LoadedOperation]:
        """What is loaded; an operation that is not is loaded for this one use."""
        operations = self._session.operations
        try:
            if role.is_filter:
                return await operations.hold_filters(role, operation_id)
            spec = operations.spec(role)
            if operation_id is None or (spec is not None and spec.id == operation_id):
                return [await operations.hold(role)]
        except NotFound:
            if operation_id is None:
                raise
        assert operation_id is not None  # noqa: S101 -- both branches above return or raise without one
        self._known(role, operation_id)
        return [await operations.hold_unlisted(role, operation_id)]


def _role(name: str) -> Role:
    """:raises NotFound: in jaison's words."""
    try:
        return Role(name)
    except ValueError:
        known = ", ".join(Role)
        raise NotFound(
            f"No operation of role {name[:80]}; the roles are {known}", kind="operation_unknown_role"
        ) from None


async def _used(
    role: Role, held: list[LoadedOperation], payload: Mapping[str, Any], own_name: str
) -> AsyncGenerator[dict[str, Any] | Ended, None]:
    """One input through one operation, or through the chain of a filter role."""
    match role:
        case Role.T2T | Role.MCP:
            generated = operation_as(TextToText, held[0]).generate(_prompt(payload, own_name))
            async with aclosing(closable(generated)) as deltas:
                async for delta in deltas:
                    if isinstance(delta, ToolCall):
                        yield {"tool": delta.name, "arguments": dict(delta.arguments)}
                    elif isinstance(delta, Ended):
                        yield delta
                    elif isinstance(delta, TextDelta) and not delta.thought:
                        yield {"content": delta.text}
        case Role.STT:
            heard = operation_as(SpeechToText, held[0]).transcribe(one(_audio(payload)), str(payload.get("prompt", "")))
            async with aclosing(closable(heard)) as transcripts:
                async for transcript in transcripts:
                    if transcript.final:
                        yield {"transcription": transcript.text}
        case Role.TTS:
            voice = operation_as(TextToSpeech, held[0])
            extras = {name: value for name, value in payload.items() if name != "content"} if voice.wants_extras else {}
            spoken = voice.speak(one(SpeechText(_content(payload), extras=extras)))
            async with aclosing(closable(spoken)) as sounds:
                async for sound in sounds:
                    if isinstance(sound, Audio):
                        yield _wire(sound)
        case Role.FILTER_TEXT:
            filters = [operation_as(TextFilter, loaded).apply for loaded in held]
            async with stacked(one(TextChunk(_content(payload))), filters) as chunks:
                async for chunk in chunks:
                    yield {**chunk.extras, "content": chunk.text}
        case Role.FILTER_AUDIO:
            sound_filters = [operation_as(AudioFilter, loaded).apply for loaded in held]
            async with stacked(one(_audio(payload)), sound_filters) as filtered:
                async for audio in filtered:
                    yield _wire(audio)
        case Role.EMBEDDING:
            vectors = await operation_as(Embedding, held[0]).embed([_content(payload)])
            yield {"embedding": base64.b64encode(vectors[0].astype("<f4").tobytes()).decode()}


def _wire(audio: Audio) -> dict[str, Any]:
    return {"audio_bytes": audio.pcm, "sr": audio.sample_rate, "sw": audio.sample_width, "ch": audio.channels}


def _content(payload: Mapping[str, Any]) -> str:
    content = payload.get("content")
    if not isinstance(content, str) or not content:
        raise BadRequest("operation_use: payload.content: wanted a text that is not empty")
    return content


def _audio(payload: Mapping[str, Any]) -> Audio:
    raw = payload.get("audio_bytes")
    try:
        pcm = base64.b64decode(raw, validate=True) if isinstance(raw, str) else raw
    except (binascii.Error, ValueError):
        pcm = None
    if not isinstance(pcm, bytes) or not pcm:
        raise BadRequest("operation_use: payload.audio_bytes: wanted binary data or base64 text that is not empty")
    if len(pcm) > MAX_AUDIO_BYTES:
        raise TooLarge(f"operation_use: payload.audio_bytes: at most {MAX_AUDIO_BYTES} bytes are taken")
    numbers = []
    for name, low, high in (("sr", 4000, 384_000), ("sw", 1, 4), ("ch", 1, 8)):
        value = payload.get(name)
        if not isinstance(value, int) or not low <= value <= high:
            raise BadRequest(f"operation_use: payload.{name}: wanted a whole number from {low} to {high}")
        numbers.append(value)
    return Audio(pcm, *numbers)


_KINDS = ("raw", "request", "chat", "tool", "custom")


def _prompt(payload: Mapping[str, Any], own_name: str) -> Prompt:
    """``instruction_prompt`` and ``messages`` in jaison's forms (raw, request, chat, tool, custom).

    What the character itself has said in them becomes the model's own words.
    """
    system = payload.get("instruction_prompt", "")
    given = payload.get("messages", [])
    if not isinstance(system, str) or not isinstance(given, list):
        raise BadRequest("operation_use: payload: wanted instruction_prompt (text) and messages (a list)")
    messages = []
    for index, item in enumerate(given):
        if not isinstance(item, dict) or item.get("type") not in _KINDS or not isinstance(item.get("message"), str):
            raise BadRequest(f"operation_use: payload.messages.{index}: wanted type ({', '.join(_KINDS)}) and message")
        if item["type"] == "chat" and item.get("user") == own_name:
            messages.append(Message("assistant", item["message"]))
        else:
            messages.append(Message("user", _script_form(item)))
    return Prompt(system=system, messages=tuple(messages))


def _script_form(item: Mapping[str, Any]) -> str:
    text = str(item["message"])
    match item["type"]:
        case "chat":
            return f"[{item.get('user', 'user')}]: {text}"
        case "request":
            return f"[REQUEST]: {text}"
        case "tool":
            return f"[MCP#{item.get('tool', 'tool')}]: {text}"
        case "custom":
            return f"[CONTEXT#{item.get('id', 'context')}]: {text}"
    return text
