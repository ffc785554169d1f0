"""From jaison's operations to Greenroom's roles."""

import asyncio
import base64
import logging
import operator
import shutil
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Final, SupportsIndex

from pydantic import ConfigDict, Field, create_model

from greenroom.bindings.jaison import operations as jaison
from greenroom.bindings.jaison.loop_thread import LoopThread
from greenroom.bindings.jaison.messages import ChatMessage, MCPMessage, Message, Prompter, RawMessage, from_line
from greenroom.bindings.jaison.processes import BaseProcess, ProcessManager
from greenroom.bindings.roles import (
    AnyOperation,
    AudioFilter,
    Binding,
    Embedding,
    Engine,
    Options,
    Place,
    SpeechToText,
    TextFilter,
    TextToSpeech,
    TextToText,
    Unit,
)
from greenroom.errors import BadRequest, BindingFailed, GreenroomError
from greenroom.values import Audio, Prompt, Role, SpeechText, TextChunk, TextDelta, Transcript

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

logger = logging.getLogger(__name__)

Chunk = dict[str, Any]
CLOSE_S: Final = 20.0
"""how long an operation may still be busy when it is to be closed"""


class JaisonOptions(Options):
    """Whatever the operation's own ``configure`` takes; it judges them itself."""

    model_config = ConfigDict(extra="allow", frozen=True, validate_default=True, protected_namespaces=())

    @property
    def settings(self) -> dict[str, Any]:
        return self.model_dump(exclude_unset=True)


class JaisonEngine(Engine):
    """One started operation in its thread; every session with the same settings shares it."""

    def __init__(self, make: Callable[[], jaison.Operation], manager: ProcessManager, settings: Chunk) -> None:
        self._manager = manager
        self._settings = settings
        self._folder = tempfile.mkdtemp(prefix="greenroom-jaison-")
        self._starts: dict[str, int] = {}
        try:
            with self._at_work():
                self.operation = make()
            self._thread = LoopThread(f"jaison {self.operation.op_id}")
        except BaseException:
            self._remove_folder()
            raise
        self.operation.process_manager = manager
        self.operation.prompter = Prompter()

    @contextmanager
    def _at_work(self, character: str = "") -> Iterator[None]:
        """What the operation's code asks for is its own: processes, the folder for working files, its settings, the
        character."""
        folder, settings = jaison.working_folder.set(self._folder), jaison.settings.set(self._settings)
        try:
            with self._manager.current(character, self._folder):
                yield
        finally:
            jaison.working_folder.reset(folder)
            jaison.settings.reset(settings)

    def _remove_folder(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    async def start(self) -> None:
        """:raises BadRequest: for settings that it refuses."""

        async def work() -> None:
            with self._at_work():
                try:
                    await self.operation.configure(dict(self._settings))
                except (AssertionError, ValueError, TypeError, KeyError) as error:
                    raise BadRequest(f"{self.operation.op_id} refuses these settings: {_said(error)}") from error
                try:
                    await self.operation.start()
                except BaseException:
                    try:
                        await self._leave()
                    except Exception:  # the boundary to the operation's own code; why it did not start matters more
                        logger.exception("closing %s failed", self.operation.op_id)
                    raise
                self._starts = self._manager.starts

        try:
            await self._thread.call(work)
        except BaseException:
            self._thread.close()
            self._remove_folder()
            raise

    def use(self, chunk: Chunk, character: str = "") -> AsyncGenerator[Chunk, None]:
        """What the operation makes of one chunk. :raises BindingFailed: with what it raised."""

        async def results() -> AsyncGenerator[Chunk, None]:
            with self._at_work(character):
                await self._revived()
                self.operation.prompter = Prompter()
                try:
                    async with aclosing(self.operation(chunk)) as made:
                        async for result in made:
                            yield result
                except GreenroomError:
                    raise
                except Exception as error:  # the boundary to the operation's own code
                    raise BindingFailed(f"{self.operation.op_id} failed: {_said(error)}") from error

        return self._thread.stream(results)

    async def _revived(self) -> None:
        """An operation remembers its process's port from ``start``: after the process, it starts anew too."""
        if not self._manager.died:  # else closing and starting the operation does it
            await self._manager.heed()
        if self._manager.died or any(self._manager.starts[name] != count for name, count in self._starts.items()):
            await self.operation.close()
            await self.operation.start()
            self._starts = self._manager.starts

    async def close(self) -> None:
        async def work() -> None:
            with self._at_work():
                await self._leave()

        try:
            async with asyncio.timeout(CLOSE_S):
                await self._thread.call(work)
        except TimeoutError:
            logger.warning("%s does not end its work; what it linked to is stopped", self.operation.op_id)
            await self._manager.leave(self._folder)
        finally:
            self._thread.close()
            self._remove_folder()

    async def _leave(self) -> None:
        """Whatever its own ``close`` does, no process runs on for it."""
        try:
            if self.operation.active:
                await self.operation.close()
        finally:
            await self._manager.leave(self._folder)


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else f"{type(error).__name__} without a word"


class _Adapted:
    """What every role has in common: the operation's class and its processes, and how one of them is opened."""

    role: ClassVar[Role]
    made: ClassVar[type[jaison.Operation]]
    manager: ClassVar[ProcessManager]

    @classmethod
    def engine_key(cls, options: Any) -> Hashable:
        return cls.made, repr(sorted(options.settings.items(), key=lambda item: item[0]))

    @classmethod
    async def open_engine(cls, options: Any, place: Place) -> Engine:
        settings = {"role": cls.role.value, **options.settings, "id": place.binding_id}
        engine = JaisonEngine(cls.made, cls.manager, settings)
        await engine.start()
        return engine


class _T2T(_Adapted, TextToText[JaisonEngine]):
    async def generate(self, prompt: Prompt) -> AsyncIterator[TextDelta]:
        name = prompt.persona.name or Prompter().character_name
        if prompt.raw is not None:
            chunk: Chunk = {"instruction_prompt": "", "messages": [RawMessage(prompt.raw)]}
        else:
            messages = [_message(message.role, message.content, message.name, name) for message in prompt.messages]
            chunk = {"instruction_prompt": prompt.system, "messages": messages}
        async with aclosing(self.engine.use(chunk, name)) as results:
            async for result in results:
                if text := _field(result, "content", str, self.engine):
                    yield TextDelta(text)


class _STT(_Adapted, SpeechToText[JaisonEngine]):
    async def transcribe(self, audio: AsyncIterator[Audio], hint: str) -> AsyncIterator[Transcript]:
        heard = ""
        async for whole in _joined(audio):
            async with aclosing(self.engine.use({**_sound(whole), "prompt": hint})) as results:
                async for result in results:
                    heard += _field(result, "transcription", str, self.engine)
                    yield Transcript(heard, final=False)
        yield Transcript(heard)


class _TTS(_Adapted, TextToSpeech[JaisonEngine]):
    """A ``_parse_chunk`` of its own may take what filters have added (``emotion`` ...)."""

    async def speak(self, text: AsyncIterator[SpeechText]) -> AsyncIterator[Audio]:
        content, extras = "", dict[str, Any]()
        async for piece in text:
            content += piece.text
            extras |= piece.extras
        if not content.strip():
            return
        async with aclosing(self.engine.use({**extras, "content": content})) as results:
            async for result in results:
                yield _audio(result, self.engine)


class _TextFilter(_Adapted, TextFilter[JaisonEngine]):
    unit = Unit.SENTENCE

    async def apply(self, text: AsyncIterator[TextChunk]) -> AsyncIterator[TextChunk]:
        async for chunk in text:
            if not chunk.text.strip():
                yield chunk
                continue
            async with aclosing(self.engine.use({**chunk.extras, "content": chunk.text})) as results:
                async for result in results:
                    extras = {name: value for name, value in result.items() if name != "content"}
                    yield TextChunk(str(result.get("content", chunk.text)), {**chunk.extras, **extras})


class _AudioFilter(_Adapted, AudioFilter[JaisonEngine]):
    """It gets a sentence's sound whole, as jaison gave it."""

    async def apply(self, audio: AsyncIterator[Audio]) -> AsyncIterator[Audio]:
        async for whole in _joined(audio):
            async with aclosing(self.engine.use(_sound(whole))) as results:
                async for result in results:
                    yield _audio(result, self.engine)


class _Embedding(_Adapted, Embedding[JaisonEngine]):
    async def embed(self, texts: Sequence[str]) -> "NDArray[np.float32]":
        import numpy as np

        vectors = []
        for text in texts:
            async with aclosing(self.engine.use({"content": text})) as results:
                encoded = [_field(result, "embedding", str, self.engine) async for result in results]
            vectors.append(np.frombuffer(base64.b64decode("".join(encoded)), dtype="<f4"))
        return np.stack(vectors).astype(np.float32)


def _message(role: str, content: str, name: str, character: str) -> Message:
    match role:
        case "assistant":
            return ChatMessage(character, content)
        case "tool":
            return MCPMessage(name or "tool", content)
    return from_line(content)  # users' lines come as the script has them: ``[name]: text``


async def _joined(audio: AsyncIterator[Audio]) -> AsyncIterator[Audio]:
    """One sound of each stretch in one format."""
    waiting: list[Audio] = []
    async for piece in audio:
        if waiting and _format(piece) != _format(waiting[0]):
            yield Audio(b"".join(part.pcm for part in waiting), *_format(waiting[0]))
            waiting = []
        if piece.pcm:
            waiting.append(piece)
    if waiting:
        yield Audio(b"".join(part.pcm for part in waiting), *_format(waiting[0]))


def _format(audio: Audio) -> tuple[int, int, int]:
    return audio.sample_rate, audio.sample_width, audio.channels


def _sound(audio: Audio) -> Chunk:
    return {"audio_bytes": audio.pcm, "sr": audio.sample_rate, "sw": audio.sample_width, "ch": audio.channels}


def _field(result: Chunk, name: str, kind: type | tuple[type, ...], engine: JaisonEngine) -> Any:
    value = result.get(name)
    if not isinstance(value, kind):
        raise BindingFailed(f"{engine.operation.op_id} gave a chunk without {name}")
    return value


def _audio(result: Chunk, engine: JaisonEngine) -> Audio:
    pcm = bytes(_field(result, "audio_bytes", (bytes, bytearray, memoryview), engine))
    return Audio(pcm, *(operator.index(_field(result, name, SupportsIndex, engine)) for name in ("sr", "sw", "ch")))


_ROLES: tuple[tuple[type[jaison.Operation], type[AnyOperation], tuple[Role, ...]], ...] = (
    (jaison.STTOperation, _STT, (Role.STT,)),
    (jaison.T2TOperation, _T2T, (Role.T2T, Role.MCP)),
    (jaison.TTSOperation, _TTS, (Role.TTS,)),
    (jaison.FilterTextOperation, _TextFilter, (Role.FILTER_TEXT,)),
    (jaison.FilterAudioOperation, _AudioFilter, (Role.FILTER_AUDIO,)),
    (jaison.EmbeddingOperation, _Embedding, (Role.EMBEDDING,)),
)


def jaison_binding(
    *classes: type[jaison.Operation],
    processes: Mapping[str, Callable[[], BaseProcess]] | None = None,
    open_to_all: Sequence[str] = (),
) -> Binding:
    """A binding of jaison's operation classes.

    :param processes: the processes that they link to, by the name of their ``ProcessType`` (``{"mine": MyProcess}``).
    :param open_to_all: settings that every performer may change; the others are the owner's, since what they do is not
        known here (a path, a URL, a command).
    :raises TypeError: for a class that is no operation, or two for one role.
    """
    manager = ProcessManager.of({name.lower(): made for name, made in (processes or {}).items()})
    fields: dict[str, Any] = {
        name: (Any, Field(default=None, description="see the operation's own documentation")) for name in open_to_all
    }
    options = create_model("JaisonOperationOptions", __base__=JaisonOptions, **fields)
    found: dict[Role, type[AnyOperation]] = {}
    for made in classes:
        kind = next((entry for entry in _ROLES if isinstance(made, type) and issubclass(made, entry[0])), None)
        if kind is None:
            raise TypeError(f"{made!r} is no operation: derive it from STTOperation, T2TOperation, TTSOperation, ...")
        for role in kind[2]:
            if role in found:
                raise TypeError(f"{made.__name__}: this binding has an operation for {role} already")
            members = {
                "role": role,
                "made": made,
                "manager": manager,
                "Options": options,
                "__module__": made.__module__,
            }
            if role is Role.TTS:
                members["wants_extras"] = made._parse_chunk is not jaison.TTSOperation._parse_chunk
            found[role] = type(f"{made.__name__}_{role}", (kind[1],), members)
    return Binding(found)
