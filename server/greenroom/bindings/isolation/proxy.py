"""The operations of an isolated binding as the rest of the server sees them: ordinary ones, whose engine is elsewhere.

One proxy engine stands for one operation with its options over there, so that what the operation refuses when it is
made is heard when it is loaded. After a crash it is opened again by the next call.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from greenroom.bindings.isolation import codec
from greenroom.bindings.isolation.link import Kind, Link
from greenroom.bindings.isolation.peer import Peer
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
from greenroom.errors import BindingFailed
from greenroom.values import (
    Audio,
    Prompt,
    Role,
    SpeechText,
    TextChunk,
    TextDelta,
    ToolCall,
    Transcript,
    WordTime,
    new_id,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PeerFor = Callable[[Place], Peer]


class ProxyEngine(Engine):
    """An operation that is open in another process."""

    def __init__(self, peer: Peer, role: Role, options: Mapping[str, Any]) -> None:
        self._peer = peer
        self._role = role
        self._options = options
        self._id = new_id()
        self._lease: Link | None = None
        self._generation = -1
        self._opening = asyncio.Lock()

    async def open(self) -> None:
        """Unless it is open. :raises GreenroomError: as the operation itself does."""
        if self._is_open:
            return
        async with self._opening:
            if self._is_open:
                return
            if self._lease is not None:
                self._lease.abort()
            link = await self._peer.take()
            generation = self._peer.generation
            opened = False
            try:
                call = {"do": "open", "id": self._id, "role": str(self._role), "options": self._options}
                await answer(self._peer, link, call)
                opened = True
                self._lease, self._generation = link, generation
            finally:
                if opened:
                    self._peer.lend(link)
                else:
                    self._peer.give_back(link, clean=False)

    @property
    def _is_open(self) -> bool:
        lease = self._lease
        return lease is not None and not lease.lost and self._generation == self._peer.generation

    async def begin(self) -> Link:
        """A link to this operation; it is to be given back."""
        while True:
            await self.open()
            link = await self._peer.take()
            if self._is_open:
                return link
            self._peer.give_back(link, clean=True)  # to a fresh process, which has yet to open the operation

    async def close(self) -> None:
        lease, self._lease = self._lease, None
        if lease is None or lease.lost:
            return
        lease.send(Kind.INPUT_END)
        await lease.next()
        lease.close()

    async def ask(self, method: str, *arguments: Any) -> Any:
        """A call with one answer. Cancelled, it is cancelled over there."""
        link = await self.begin()
        clean = False
        try:
            call = {"do": "ask", "id": self._id, "method": method, "arguments": arguments}
            value = await answer(self._peer, link, call)
            clean = True
            return value
        finally:
            self._peer.give_back(link, clean=clean)

    async def stream(
        self, method: str, inputs: AsyncIterator[Any] | None = None, **arguments: Any
    ) -> AsyncGenerator[Any, None]:
        """Items as they come. Closed, it is closed over there; an exception of ``inputs`` is raised here."""
        link = await self.begin()
        clean = False
        feeding: asyncio.Task[None] | None = None
        try:
            link.begin()
            link.send(Kind.CALL, codec.encode_json({"do": "stream", "id": self._id, "method": method, **arguments}))
            if inputs is not None:
                feeding = asyncio.get_running_loop().create_task(_feed(link, inputs), name=f"feed {method}")
                feeding.add_done_callback(lambda task: _stop_at_failure(link, task))
            while True:
                frame = await link.next()
                if frame is None:
                    if feeding is not None and feeding.done() and not feeding.cancelled():
                        await feeding
                    raise await self._peer.failure()
                kind, value = frame
                if kind is Kind.ITEMS or kind is Kind.AUDIO:
                    for item in value:
                        yield item
                elif kind is Kind.END:
                    clean = True
                    return
                elif kind is Kind.ERROR:
                    clean = True
                    raise value
        finally:
            if feeding is not None:
                clean = await _settle(feeding, link) and clean
            self._peer.give_back(link, clean=clean)


async def _feed(link: Link, inputs: AsyncIterator[Any]) -> None:
    async for item in inputs:
        await link.put_all(item)
    link.send(Kind.INPUT_END)


def _stop_at_failure(link: Link, feeding: asyncio.Task[None]) -> None:
    if not feeding.cancelled() and feeding.exception() is not None:
        link.abort()


async def _settle(feeding: asyncio.Task[None], link: Link) -> bool:
    """End the feeding. -> whether the link can be used for another call."""
    complete = feeding.done()
    feeding.cancel()
    results = await asyncio.gather(feeding, return_exceptions=True)
    if isinstance(results[0], Exception):
        return False
    if not complete:
        link.send(Kind.INPUT_END)
    return True


async def answer(peer: Peer, link: Link, call: Mapping[str, Any]) -> Any:
    """Send a call and wait for its one answer. :raises GreenroomError: as over there; BindingFailed: nobody is."""
    link.begin()
    link.send(Kind.CALL, codec.encode_json(call))
    frame = await link.next()
    if frame is None:
        raise await peer.failure()
    kind, value = frame
    if kind is Kind.ERROR:
        raise value
    if kind not in (Kind.VALUE, Kind.ARRAY):
        raise BindingFailed(f"{peer.binding_id} answered with {kind.name}")
    return value


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
        peer = cls.peer_for(place)
        link = await peer.take()
        clean = False
        try:
            call = {"do": "models", "role": str(cls.served_as), "options": _given(options)}
            rows = await answer(peer, link, call)
            clean = True
        finally:
            peer.give_back(link, clean=clean)
        return [Model(*row) for row in rows]


def _given(options: Options) -> dict[str, Any]:
    """What was set, for the other side to check again and to complete."""
    return options.model_dump(mode="json", exclude_unset=True)


class ProxyText(Proxy, TextToText[ProxyEngine]):
    def generate(self, prompt: Prompt) -> AsyncGenerator[TextDelta | ToolCall, None]:
        return self.engine.stream("generate", prompt=codec.prompt_fields(prompt))

    async def tokenize(self, text: str) -> list[int | str]:
        return list(await self.engine.ask("tokenize", text))

    async def detokenize(self, tokens: Sequence[int | str]) -> str:
        return str(await self.engine.ask("detokenize", list(tokens)))


class ProxyHearing(Proxy, SpeechToText[ProxyEngine]):
    def transcribe(self, audio: AsyncIterator[Audio], hint: str) -> AsyncGenerator[Transcript, None]:
        return self.engine.stream("transcribe", audio, hint=hint)


class ProxySpeech(Proxy, TextToSpeech[ProxyEngine]):
    def speak(self, text: AsyncIterator[SpeechText]) -> AsyncGenerator[Audio | WordTime, None]:
        return self.engine.stream("speak", text)

    async def voices(self) -> Sequence[Voice]:
        return [Voice(*row) for row in await self.engine.ask("voices")]


class ProxyTextFilter(Proxy, TextFilter[ProxyEngine]):
    def apply(self, text: AsyncIterator[TextChunk]) -> AsyncGenerator[TextChunk, None]:
        return self.engine.stream("apply", text)


class ProxyAudioFilter(Proxy, AudioFilter[ProxyEngine]):
    def apply(self, audio: AsyncIterator[Audio]) -> AsyncGenerator[Audio, None]:
        return self.engine.stream("apply", audio)


class ProxyEmbedding(Proxy, Embedding[ProxyEngine]):
    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        vectors: NDArray[np.float32] = await self.engine.ask("embed", list(texts))
        return vectors


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
    plain = re.sub(r"\W", "_", name)
    return type(f"Isolated_{plain}_{role}", (base,), members)
