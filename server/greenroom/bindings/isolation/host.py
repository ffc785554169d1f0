"""The side of the binding: its operations behind :class:`IBindingHost`, in a process that has nothing else to do.

Engines are shared by key as in the server, by the same code. A caller that leaves cancels what runs for it.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager
from typing import Any, Final

from greenroom.bindings.discovery import BindingShelf, FoundBinding
from greenroom.bindings.engines import Engines, LoadedOperation, PlaceMaker, parse_options
from greenroom.bindings.isolation import codec
from greenroom.bindings.isolation.description import describe
from greenroom.bindings.isolation.parcels import packed, unpacked
from greenroom.bindings.isolation.service import CLOSED, OPEN, UNLOADED, IBindingHost
from greenroom.errors import BadRequest, BindingFailed, GreenroomError, NotFound
from greenroom.log import bind_job, bind_session
from greenroom.values import Role

logger = logging.getLogger(__name__)

STREAMS: Final = frozenset({"transcribe", "speak", "apply"})
ASKED: Final = frozenset({"voices", "tokenize", "detokenize", "embed"})


class _OneBinding(BindingShelf):
    def __init__(self, found: FoundBinding) -> None:
        super().__init__(())
        self.found = found

    def get(self, binding_id: str) -> FoundBinding:
        return self.found


class BindingHost(IBindingHost):
    def __init__(self, found: FoundBinding, places: PlaceMaker) -> None:
        self._found = found
        self._places = places
        self._engines = Engines(_OneBinding(found), places)
        self._operations: dict[str, LoadedOperation] = {}

    async def close(self) -> None:
        """Close every engine, whoever holds its operations."""
        await self._engines.close()

    async def describe(self) -> dict[str, Any]:
        return describe(await asyncio.to_thread(self._found.load))

    async def models(self, role: str, options: dict[str, Any], ids: dict[str, str]) -> list[list[Any]]:
        with self._call(ids):
            operation = await asyncio.to_thread(self._found.operation, Role(role))
            chosen = parse_options(operation, options, self._found.id)
            models = await operation.models(chosen, self._places.place(self._found))
            return [[model.name, model.description, model.installed, model.size_bytes] for model in models]

    async def hold(
        self, operation: str, role: str, options: dict[str, Any], ids: dict[str, str], until: AsyncIterator[bytes]
    ) -> AsyncGenerator[bytes, None]:
        with self._call(ids):
            await asyncio.to_thread(self._found.load)
            loaded = await self._engines.load(self._found.id, Role(role), options)
        self._operations[operation] = loaded
        try:
            yield OPEN
            async for _ in until:
                pass
        finally:
            if self._operations.get(operation) is loaded:  # else the caller has opened it again meanwhile
                del self._operations[operation]
            await asyncio.shield(asyncio.ensure_future(loaded.release()))
        yield CLOSED

    async def generate(
        self, operation: str, prompt: dict[str, Any], ids: dict[str, str]
    ) -> AsyncGenerator[bytes, None]:
        async with (
            self._held(operation, ids) as loaded,
            aclosing(packed(loaded.generate(codec.prompt_of(prompt)), owned=True)) as messages,
        ):
            async for message in messages:
                yield message

    async def stream(
        self, operation: str, method: str, hint: str, ids: dict[str, str], inputs: AsyncIterator[bytes]
    ) -> AsyncGenerator[bytes, None]:
        if method not in STREAMS:
            raise BadRequest(f"{method!r} is no stream")
        async with self._held(operation, ids) as loaded, aclosing(unpacked(inputs)) as items:
            further = (hint,) if method == "transcribe" else ()
            async with aclosing(packed(getattr(loaded, method)(items, *further), owned=True)) as messages:
                async for message in messages:
                    yield message

    async def ask(
        self, operation: str, method: str, arguments: list[Any], ids: dict[str, str]
    ) -> AsyncGenerator[bytes, None]:
        if method not in ASKED:
            raise BadRequest(f"{method!r} is nothing to ask for")
        async with self._held(operation, ids) as loaded:
            result = await getattr(loaded, method)(*arguments)
            match method:
                case "embed":
                    answer = codec.encode_array(result)
                case "voices":
                    rows = [[voice.id, voice.name, voice.language, voice.gender] for voice in result]
                    answer = codec.encode_json(rows)
                case _:
                    answer = codec.encode_json(result)
        yield answer

    @asynccontextmanager
    async def _held(self, operation: str, ids: Mapping[str, str]) -> AsyncIterator[Any]:
        """The operation, which is not closed before the call that uses it has ended."""
        loaded = self._operations.get(operation)
        if loaded is None:
            raise NotFound(f"{self._found.id}: this operation is not open", kind=UNLOADED)
        loaded.hold()
        try:
            with self._call(ids):
                yield loaded.operation
        finally:
            await asyncio.shield(asyncio.ensure_future(loaded.release()))

    @contextmanager
    def _call(self, ids: Mapping[str, str]) -> Iterator[None]:
        """The boundary to the binding's code, under the ids of the session and the job that asked."""
        with bind_session(ids.get("session", "")), bind_job(ids.get("job", "")):
            try:
                yield
            except GreenroomError:
                raise
            except Exception as error:
                logger.exception("%s failed", self._found.id)
                raise BindingFailed(f"{self._found.id} failed: {type(error).__name__}: {error}") from error
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                raise BindingFailed(f"{self._found.id} cancelled its own work") from None
