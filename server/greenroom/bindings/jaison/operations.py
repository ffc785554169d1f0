"""The classes that jaison's operations derive from: life cycle, how a chunk is taken apart, what is to be written."""

import tempfile
from collections.abc import AsyncGenerator, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from greenroom.bindings.jaison.messages import Message, Prompter
from greenroom.errors import BadRequest, BindingFailed

if TYPE_CHECKING:
    from greenroom.bindings.jaison.processes import ProcessManager

Chunk = dict[str, Any]


working_folder: ContextVar[str] = ContextVar("where a running jaison operation keeps its working files")
"""each has a folder of its own, as several may write their files at once"""
settings: ContextVar[Mapping[str, Any]] = ContextVar("the settings of a running jaison operation")
_NONE_THERE: Final = frozenset({"spacy_model", "kobold_filepath", "kcpps_filepath"})
"""fields of jaison's that are null unless somebody sets them"""


class Config:
    """The fields of jaison's configuration that operations read: what is no working file stands in the settings of the
    operation that asks, those that its user has added to jaison's configuration too."""

    def __getattr__(self, name: str) -> Any:
        given = settings.get({})
        if name in given:
            return given[name]
        if name in _NONE_THERE:
            return None
        raise AttributeError(
            f"config has no {name} here; put it into the settings of the operation", name=name, obj=self
        )

    @property
    def WORKING_DIR(self) -> str:
        """A folder that is there while the operation is."""
        return working_folder.get(tempfile.gettempdir())

    @property
    def stt_working_src(self) -> str:
        return self._file("stt_src.wav")

    @property
    def ffmpeg_working_src(self) -> str:
        return self._file("ffmpeg_src.wav")

    @property
    def ffmpeg_working_dest(self) -> str:
        return self._file("ffmpeg_dest.wav")

    def _file(self, name: str) -> str:
        return str(Path(self.WORKING_DIR) / name)


class Operation:
    """``op_type`` is the class's, ``op_id`` what ``__init__`` was given.

    Two values are set before ``start``: ``process_manager`` and ``prompter``.
    """

    op_type = ""

    def __init__(self, op_id: str) -> None:
        self.op_id = op_id
        self.active = False
        self.process_manager: ProcessManager | None = None
        self.prompter: Prompter | None = None

    async def start(self) -> None:
        """:raises BindingFailed: if it is active."""
        if self.active:
            raise BindingFailed(
                f"Start called on already active {self.op_type} operation {self.op_id}", kind="operation_active"
            )
        self.active = True

    async def close(self) -> None:
        """:raises BindingFailed: if it is not active."""
        if not self.active:
            raise BindingFailed(
                f"Close called on already inactive {self.op_type} operation {self.op_id}", kind="operation_inactive"
            )
        self.active = False

    async def configure(self, config_d: dict[str, Any]) -> None:
        """Take the settings of a configuration entry, ``role`` and ``id`` among them. To be overridden where there
        are any."""

    async def get_configuration(self) -> dict[str, Any]:
        return {}

    async def _parse_chunk(self, chunk_in: Chunk) -> dict[str, Any]:
        """The keyword arguments of ``_generate``. :raises BadRequest: for a chunk that is none."""
        raise NotImplementedError

    def _generate(self, **kwargs: Any) -> AsyncGenerator[Chunk, None]:
        """To be overridden: an ``async def`` that yields chunks."""
        raise NotImplementedError(f"{type(self).__name__} has no _generate")

    async def __call__(self, chunk_in: Chunk) -> AsyncGenerator[Chunk, None]:
        """:raises BindingFailed: if it was not started."""
        if not self.active:
            raise BindingFailed(f"Usage on inactive {self.op_type} operation {self.op_id}", kind="operation_inactive")
        results = self._generate(**await self._parse_chunk(chunk_in))
        try:
            async for result in results:
                yield result
        finally:
            await results.aclose()


def _wanted(chunk: Chunk, name: str, kind: type | tuple[type, ...], what: str) -> Any:
    value = chunk.get(name)
    if not isinstance(value, kind) or not value or isinstance(value, bool):
        raise BadRequest(f"{name}: wanted {what}")
    return value


def _sound(chunk: Chunk) -> dict[str, Any]:
    return {
        "audio_bytes": _wanted(chunk, "audio_bytes", bytes, "sound that is not empty"),
        **{name: _wanted(chunk, name, int, "a whole number above 0") for name in ("sr", "sw", "ch")},
    }


def _text(chunk: Chunk) -> dict[str, Any]:
    return {"content": _wanted(chunk, "content", str, "a text that is not empty")}


class STTOperation(Operation):
    """``audio_bytes, sr, sw, ch, prompt`` -> ``transcription``"""

    op_type = "STT"

    async def _parse_chunk(self, chunk_in: Chunk) -> dict[str, Any]:
        return {**_sound(chunk_in), "prompt": str(chunk_in.get("prompt", ""))}


class T2TOperation(Operation):
    """``instruction_prompt, messages`` (a list of :class:`Message`) -> ``content``, a chunk for each token"""

    op_type = "T2T"
    mcp_json_schema: dict[str, Any] | None = None
    """newer ones ask for it: the form of the answer where tools are called; none is wanted here"""

    async def _parse_chunk(self, chunk_in: Chunk) -> dict[str, Any]:
        messages = chunk_in.get("messages")
        if not isinstance(messages, list) or not all(isinstance(message, Message) for message in messages):
            raise BadRequest("messages: wanted a list of messages")
        return {"instruction_prompt": str(chunk_in.get("instruction_prompt", "")), "messages": messages}


class TTSOperation(Operation):
    """``content`` -> ``audio_bytes, sr, sw, ch``"""

    op_type = "TTS"

    async def _parse_chunk(self, chunk_in: Chunk) -> dict[str, Any]:
        return _text(chunk_in)


class FilterTextOperation(Operation):
    """``content`` -> ``content`` and whatever it adds; where ``content`` is missing, the text stays as it was"""

    op_type = "FILTER_TEXT"

    async def _parse_chunk(self, chunk_in: Chunk) -> dict[str, Any]:
        return _text(chunk_in)


class FilterAudioOperation(Operation):
    """``audio_bytes, sr, sw, ch`` -> the same four"""

    op_type = "FILTER_AUDIO"

    async def _parse_chunk(self, chunk_in: Chunk) -> dict[str, Any]:
        return _sound(chunk_in)


class EmbeddingOperation(Operation):
    """``content`` -> ``embedding``, base64 of little-endian float32"""

    op_type = "EMBEDDING"

    async def _parse_chunk(self, chunk_in: Chunk) -> dict[str, Any]:
        return _text(chunk_in)
