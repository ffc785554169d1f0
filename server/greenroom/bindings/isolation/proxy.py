"""The operations of an isolated binding as the rest of the server sees them: ordinary ones, whose engine is elsewhere.

One proxy engine stands for one operation with its options over there, so that what the operation refuses when it is
made is heard when it is loaded. After a crash it is opened again by the next call.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Hashable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from greenroom.bindings.isolation import codec
from greenroom.bindings.isolation.lease import Lease
from greenroom.bindings.isolation.parcels import packed
from greenroom.bindings.isolation.peer import Gone, Peer
from greenroom.bindings.isolation.service import UNLOADED, BindingApi
from greenroom.bindings.roles import (
    AnyOperation,
    AudioFilter,
    Effect,
    Embedding,
    Engine,
    Model,
    Operation,
    Options,
    Place,
    SpeechToText,
    TextFilter,
    TextToSpeech,
    TextToText,
    Unit,
    Voice,
)
from greenroom.errors import BindingFailed, GreenroomError, NotFound
from greenroom.log import bound_ids
from greenroom.values import (
    Audio,
    ModelOutput,
    Prompt,
    Role,
    SpeechText,
    TextChunk,
    Transcript,
    WordTime,
    new_id,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PeerFor = Callable[[Place], Peer]
T = TypeVar("T")


class ProxyEngine(Engine):
    """An operation that is open in another process."""

    def __init__(self, peer: Peer, role: Role, options: Mapping[str, Any]) -> None:
        self._peer = peer
        self._role = role
        self._options = options
        self._id = new_id()
        self._lease: Lease | None = None
        self._generation = -1
        self._opening = asyncio.Lock()
        self._closed = False

    async def open(self) -> None:
        """Unless it is open. :raises GreenroomError: as the operation itself does."""
        if self._is_open:
            return
        async with self._opening:
            if self._closed:
                raise BindingFailed(f"an operation of {self._peer.binding_id} is used after it was closed")
            if not self._is_open:
                await self._again_if_gone(self._open)

    async def _open(self) -> None:
        if self._lease is not None:
            await self._lease.drop()
        async with self._peer.calling() as api:
            generation = self._peer.generation
            self._lease = await Lease.taken(api, self._id, self._role, self._options)
            self._generation = generation
            self._peer.opened.add(self)

    @property
    def _is_open(self) -> bool:
        lease = self._lease
        return lease is not None and not lease.lost and self._generation == self._peer.generation

    async def close(self) -> None:
        self._closed = True
        self._peer.opened.discard(self)
        lease, self._lease = self._lease, None
        if lease is not None:
            await lease.end()

    async def ask(self, method: str, *arguments: Any) -> bytes:
        """A call with one answer. Cancelled, it is cancelled over there."""

        async def call() -> bytes:
            async with self._calling() as api:
                given = api.ask(operation=self._id, method=method, arguments=list(arguments), ids=bound_ids())
                async with aclosing(given) as messages:
                    return b"".join([message async for message in messages])

        return await self._again_if_gone(call)

    @asynccontextmanager
    async def _calling(self) -> AsyncIterator[BindingApi]:
        """Over there the operation is open, as far as anybody here knows."""
        while True:
            await self.open()
            async with self._peer.calling() as api:
                if self._is_open:  # else it is a fresh process, which has yet to open it
                    yield api
                    return

    async def _again_if_gone(self, call: Callable[[], Coroutine[Any, Any, T]]) -> T:
        try:
            return await call()
        except GreenroomError as error:
            if not self._has_gone(error):
                raise
        return await call()

    def _has_gone(self, error: GreenroomError) -> bool:
        """Whether the host that has answered, or not, is not the one that had opened the operation: word of its end
        was still on its way."""
        if isinstance(error, NotFound) and error.kind == UNLOADED:
            if self._lease is not None:
                self._lease.lost = True
            return True
        return isinstance(error, Gone)

    async def stream(self, call: Callable[[BindingApi, str], AsyncGenerator[bytes, None]]) -> AsyncGenerator[Any, None]:
        """Items as they come. Closed, the call is cancelled over there; an exception of its input is raised here.

        :param call: makes the call of the host for the operation's id
        """
        for may_be_gone in (True, False):
            unpacker = codec.Unpacker()
            try:
                async with self._calling() as api, aclosing(call(api, self._id)) as messages:
                    async for message in messages:
                        may_be_gone = False
                        for item in unpacker.feed(message):
                            yield item
                return
            except GreenroomError as error:
                if not may_be_gone or not self._has_gone(error):
                    raise


class Proxy(Operation[ProxyEngine]):
    """What all of them share; the class variables are set by :func:`proxy_class`."""

    peer_for: ClassVar[PeerFor]
    served_as: ClassVar[Role]
    """the role under which the binding lists the operation"""

    @classmethod
    def engine_key(cls, options: Any) -> Hashable:
        return (cls.served_as, codec.encode_json(_given(options)))

    @classmethod
    async def open_engine(cls, options: Any, place: Place) -> ProxyEngine:
        engine = ProxyEngine(cls.peer_for(place), cls.served_as, _given(options))
        await engine.open()
        return engine

    @classmethod
    async def models(cls, options: Any, place: Place) -> Sequence[Model]:
        async with cls.peer_for(place).calling() as api:
            rows = await api.models(role=str(cls.served_as), options=_given(options), ids=bound_ids())
        return [Model(*row) for row in rows]


def _given(options: Options) -> dict[str, Any]:
    """What was set, for the other side to check again and to complete."""
    return options.model_dump(mode="json", exclude_unset=True)


def _through(engine: ProxyEngine, method: str, inputs: AsyncIterator[Any], hint: str = "") -> AsyncGenerator[Any, None]:
    return engine.stream(
        lambda api, id: api.stream(
            operation=id, method=method, hint=hint, ids=bound_ids(), inputs=packed(inputs, owned=False)
        )
    )


class ProxyText(Proxy, TextToText[ProxyEngine]):
    def generate(self, prompt: Prompt) -> AsyncGenerator[ModelOutput, None]:
        fields = codec.prompt_fields(prompt)
        return self.engine.stream(lambda api, id: api.generate(operation=id, prompt=fields, ids=bound_ids()))

    async def tokenize(self, text: str) -> list[int | str]:
        return list(codec.decode_json(await self.engine.ask("tokenize", text)))

    async def detokenize(self, tokens: Sequence[int | str]) -> str:
        return str(codec.decode_json(await self.engine.ask("detokenize", list(tokens))))


class ProxyHearing(Proxy, SpeechToText[ProxyEngine]):
    def transcribe(self, audio: AsyncIterator[Audio], hint: str) -> AsyncGenerator[Transcript, None]:
        return _through(self.engine, "transcribe", audio, hint)


class ProxySpeech(Proxy, TextToSpeech[ProxyEngine]):
    def speak(self, text: AsyncIterator[SpeechText]) -> AsyncGenerator[Audio | WordTime, None]:
        return _through(self.engine, "speak", text)

    async def voices(self) -> Sequence[Voice]:
        return [Voice(*row) for row in codec.decode_json(await self.engine.ask("voices"))]


class ProxyTextFilter(Proxy, TextFilter[ProxyEngine]):
    def apply(self, text: AsyncIterator[TextChunk]) -> AsyncGenerator[TextChunk, None]:
        return _through(self.engine, "apply", text)


class ProxyAudioFilter(Proxy, AudioFilter[ProxyEngine]):
    def apply(self, audio: AsyncIterator[Audio]) -> AsyncGenerator[Audio, None]:
        return _through(self.engine, "apply", audio)


class ProxyEmbedding(Proxy, Embedding[ProxyEngine]):
    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return codec.decode_array(memoryview(await self.engine.ask("embed", list(texts))))


_CLASSES: Mapping[Role, type[Proxy]] = {
    Role.T2T: ProxyText,
    Role.MCP: ProxyText,
    Role.STT: ProxyHearing,
    Role.TTS: ProxySpeech,
    Role.FILTER_TEXT: ProxyTextFilter,
    Role.FILTER_AUDIO: ProxyAudioFilter,
    Role.EMBEDDING: ProxyEmbedding,
}


def proxy_class(
    name: str,
    role: Role,
    options: type[Options],
    peer_for: PeerFor,
    *,
    own_role: Role,
    unit: Unit = Unit.DELTA,
    effect: Effect = Effect.TRANSFORM,
    wants_extras: bool = False,
    keeps_formats: bool = False,
    partials_grow: bool = False,
) -> type[AnyOperation]:
    """The operation class of a role of one binding; ``own_role`` is what the binding's class says itself."""
    base = _CLASSES[role]
    members: dict[str, Any] = {
        "role": own_role,
        "served_as": role,
        "Options": options,
        "peer_for": staticmethod(peer_for),
    }
    if role is Role.FILTER_TEXT:
        members |= {"unit": unit, "effect": effect}
    if role is Role.TTS:
        members["wants_extras"] = wants_extras
    if issubclass(base, TextToText):
        members["keeps_formats"] = keeps_formats
    if role is Role.STT:
        members["partials_grow"] = partials_grow
    plain = re.sub(r"\W", "_", name)
    return type(f"Isolated_{plain}_{role}", (base,), members)
