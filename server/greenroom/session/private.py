"""The desk for lollms' ``generate_text``: private to its caller, beside the session's jobs, several clients at once.

Each client has a discussion of its own with each personality; it ends with the connection. A client's requests run one
after the other, those of different clients side by side up to the admission limit.
"""

import asyncio
import re
from collections import OrderedDict, deque
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from greenroom.bindings.guard import guarded
from greenroom.bindings.roles import TextToText
from greenroom.errors import Busy, GreenroomError, Internal, NotFound
from greenroom.personalities.folder import Personality
from greenroom.personalities.stop import cut
from greenroom.pipeline.chain import closable, unstalled
from greenroom.pipeline.channel import Channel
from greenroom.pipeline.thoughts import ThoughtSplitter
from greenroom.protocol import events
from greenroom.protocol.commands import CancelGeneration, CancelTextGeneration, GenerateText
from greenroom.session.handle import Caller, Reply
from greenroom.session.operations import operation_as
from greenroom.session.prompting import Exchange, discussion_prompt, raw_prompt
from greenroom.session.session import Session, logger
from greenroom.values import Ended, Prompt, Role, TextDelta, new_id

_WAITING_PER_CLIENT = 8
_DISCUSSIONS_PER_CLIENT = 16
_EXCHANGES_KEPT = 200
_DISCUSSION_CHARS = 1_000_000
_INDEX = re.compile(r"-?[0-9]+")


@dataclass(slots=True)
class _Client:
    """What one client has running and waiting, and what it has talked about with whom."""

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    tasks: set[asyncio.Task[Any]] = field(default_factory=set)
    discussions: OrderedDict[str, deque[Exchange]] = field(default_factory=OrderedDict)

    def discussion(self, personality_id: str) -> deque[Exchange]:
        found = self.discussions.pop(personality_id, None)
        if found is None:
            found = deque(maxlen=_EXCHANGES_KEPT)
        self.discussions[personality_id] = found
        while len(self.discussions) > _DISCUSSIONS_PER_CLIENT:
            self.discussions.popitem(last=False)
        return found


class PrivateDesk:
    def __init__(self, session: Session) -> None:
        self._session = session
        self._clients: dict[str, _Client] = {}
        session.handle(GenerateText, self._generate)
        session.handle(CancelGeneration, self._cancel)
        session.handle(CancelTextGeneration, self._cancel)
        session.when_forgotten(self._forget)

    async def _generate(self, command: GenerateText, caller: Caller) -> Reply:
        personality = self._personality(command.personality)
        client = self._clients.setdefault(caller.client_id, _Client())
        at_work = sum(len(one.tasks) for one in self._clients.values())
        limit = self._session.house.config.value.generation.max_parallel
        if len(client.tasks) >= _WAITING_PER_CLIENT or (at_work >= limit and not client.tasks):
            raise Busy(f"{at_work} texts are being generated, as many as may be; try again in a moment")
        request_id = new_id()
        reply = {"success": True, "request_id": request_id}
        caller.accept(reply)
        said: list[str] = []
        task = self._session.own(
            self._run(command, caller, personality, client, request_id, said), name=f"generate {request_id}"
        )
        client.tasks.add(task)

        def ended(task: asyncio.Task[Any]) -> None:
            client.tasks.discard(task)
            if task.cancelled():  # perhaps before its first step
                caller.send(events.TextGenerated(text="".join(said)), request_id)

        task.add_done_callback(ended)
        return reply

    def _personality(self, wanted: int | str) -> Personality | None:
        """:raises NotFound: an index or name that is not on call."""
        if isinstance(wanted, str) and _INDEX.fullmatch(wanted):
            wanted = int(wanted)
        if wanted == -1:
            return None
        on_call = self._session.personalities
        if isinstance(wanted, int):
            if 0 <= wanted < len(on_call):
                return self._session.personality(on_call[wanted])
            raise NotFound(f"there is no personality {wanted}; {len(on_call)} are on call, counted from 0")
        for name in on_call:
            personality = self._session.personality(name)
            if wanted in (name, personality.name, personality.folder_name):
                return personality
        return self._session.house.personalities.get(wanted)

    async def _cancel(self, command: CancelGeneration, caller: Caller) -> Reply:
        _stop(self._clients.get(caller.client_id))
        return {"success": True, "message": events.GenerationCanceled().message}

    def _forget(self, client_id: str) -> None:
        _stop(self._clients.pop(client_id, None))

    async def _run(
        self,
        command: GenerateText,
        caller: Caller,
        personality: Personality | None,
        client: _Client,
        request_id: str,
        said: list[str],
    ) -> None:
        """Exactly one of ``text_generated`` and ``generation_error`` ends it; once cancelled, its owner sends that."""
        try:
            async with client.turn:
                discussion = client.discussion(personality.id) if personality else None
                prompt = self._prompt(command, personality, discussion)
                ended = await self._stream(prompt, personality is not None, caller, request_id, said)
                if discussion is not None:
                    discussion.append(Exchange(command.prompt, "".join(said).strip()))
                    while len(discussion) > 1 and sum(map(_length, discussion)) > _DISCUSSION_CHARS:
                        discussion.popleft()
        except GreenroomError as error:
            caller.send(events.GenerationError(error=error.message), request_id)
        except Exception:  # noqa: BLE001 -- the boundary of a job; logged, and answered as internal
            logger.exception("generate_text %s broke", request_id)
            broken = Internal(f"the server failed at this request; its log tells more under {request_id}")
            caller.send(events.GenerationError(error=broken.message), request_id)
        else:
            caller.send(events.TextGenerated(text="".join(said), **events.of_end(ended)), request_id)

    def _prompt(
        self, command: GenerateText, personality: Personality | None, discussion: deque[Exchange] | None
    ) -> Prompt:
        config = self._session.house.config.value
        if personality is None or discussion is None:
            return raw_prompt(command, self._active(), config)
        return discussion_prompt(command, personality, discussion, config)

    def _active(self) -> Personality | None:
        """Who a scripted backend speaks as where no character is asked for."""
        try:
            return self._session.personality()
        except GreenroomError:
            return None

    async def _stream(
        self, prompt: Prompt, in_character: bool, caller: Caller, request_id: str, said: list[str]
    ) -> Ended | None:
        loaded = await self._session.operations.hold(Role.T2T)
        stall_s = self._session.house.config.value.turn.timeout_s
        thoughts = ThoughtSplitter()
        arrived: Channel[str] = Channel(256)

        async def read() -> Ended | None:
            ended: Ended | None = None
            try:
                with guarded(loaded.binding_id):
                    stream = closable(operation_as(TextToText, loaded).generate(prompt))
                    async with aclosing(closable(cut(stream, prompt.sampling.stop))) as deltas:
                        async for delta in unstalled(deltas, stall_s, loaded.binding_id):
                            if isinstance(delta, Ended):
                                ended = delta
                            if isinstance(delta, TextDelta) and not delta.thought:
                                pieces = thoughts.feed(delta.text) if in_character else [delta]
                                for piece in pieces:
                                    if not piece.thought:
                                        await arrived.send(piece.text)
                for piece in thoughts.finish():
                    if not piece.thought:
                        await arrived.send(piece.text)
                return ended
            finally:
                arrived.close()

        reading = asyncio.get_running_loop().create_task(read(), name=f"read {request_id}")
        try:
            while texts := await arrived.take():
                chunk = "".join(texts)
                if chunk:
                    said.append(chunk)
                    caller.send(events.TextChunk(chunk=chunk), request_id)
            return await reading
        finally:
            reading.cancel()
            try:
                await asyncio.gather(reading, return_exceptions=True)
            finally:
                del reading  # what it failed of holds this frame
                await loaded.release()


def _length(exchange: Exchange) -> int:
    return len(exchange.prompt) + len(exchange.answer)


def _stop(client: _Client | None) -> None:
    """Cancel what the client has at work, each only once: a second time would cancel its tidying up."""
    for task in client.tasks if client else ():
        if not task.cancelling():
            task.cancel()
