"""What crosses between a binding's process and ours, as bytes: no pickle, nothing that names code.

    small items     one JSON array for many:  [["d","Hel"],["d","lo"],["t","reason",1]]
    Audio           rate, width, channels as a struct, then the PCM as it is
    float32 arrays  shape as a struct, then the numbers as they are
    errors          JSON: code, class, message, kind, retryable, details

JSON is written as ASCII, so a lone surrogate survives as well. Values inside extras, arguments and details must be
JSON's own; a tuple arrives as a list.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from greenroom.errors import BindingFailed, GreenroomError, Internal
from greenroom.values import (
    Audio,
    Message,
    Persona,
    Prompt,
    Sampling,
    SpeechText,
    TextChunk,
    TextDelta,
    ToolCall,
    ToolSpec,
    Transcript,
    WordTime,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SmallItem = TextDelta | ToolCall | TextChunk | SpeechText | WordTime | Transcript
Item = SmallItem | Audio
Row = list[Any]

_AUDIO: Final = struct.Struct("!IBB")
_SHAPE: Final = struct.Struct("!II")
_encode: Final = json.JSONEncoder(separators=(",", ":")).encode


def encode_json(value: Any) -> bytes:
    """:raises TypeError: for what JSON has no form for."""
    return _encode(value).encode("ascii")


def decode_json(data: bytes | memoryview) -> Any:
    return json.loads(str(data, "ascii"))


# small items


def _delta(item: TextDelta) -> Row:
    return ["t", item.text] if item.thought else ["d", item.text]


def _chunk(item: TextChunk) -> Row:
    return ["c", item.text, dict(item.extras)] if item.extras else ["c", item.text]


_PACK: Final[dict[type, Callable[[Any], Row]]] = {
    TextDelta: _delta,
    TextChunk: _chunk,
    SpeechText: lambda item: ["s", item.text, item.language, item.voice],
    WordTime: lambda item: ["w", item.text, item.start_ms, item.end_ms, item.offset],
    Transcript: lambda item: ["h", item.text, item.final],
    ToolCall: lambda item: ["k", item.id, item.name, dict(item.arguments)],
}
_UNPACK: Final[dict[str, Callable[[Row], SmallItem]]] = {
    "d": lambda row: TextDelta(row[1]),
    "t": lambda row: TextDelta(row[1], thought=True),
    "c": lambda row: TextChunk(*row[1:]),
    "s": lambda row: SpeechText(row[1], row[2], row[3]),
    "w": lambda row: WordTime(row[1], row[2], row[3], row[4]),
    "h": lambda row: Transcript(row[1], row[2]),
    "k": lambda row: ToolCall(row[1], row[2], row[3]),
}


def pack(item: SmallItem) -> Row:
    """A row for :func:`encode_json`; its second entry is text. :raises TypeError: for what no stream carries."""
    found = _PACK.get(type(item))
    if found is None:
        raise TypeError(f"a {type(item).__name__} is nothing that a binding's stream carries")
    return found(item)


def decode_items(data: bytes | memoryview) -> list[SmallItem]:
    return [_UNPACK[row[0]](row) for row in decode_json(data)]


def encode_items(items: Iterable[SmallItem]) -> bytes:
    return encode_json([pack(item) for item in items])


# sound and numbers


def audio_head(audio: Audio) -> bytes:
    """What stands before the PCM."""
    return _AUDIO.pack(audio.sample_rate, audio.sample_width, audio.channels)


def decode_audio(data: memoryview) -> Audio:
    rate, width, channels = _AUDIO.unpack_from(data)
    return Audio(bytes(data[_AUDIO.size :]), rate, width, channels)


def encode_array(array: NDArray[np.float32]) -> bytes:
    """``array``: two dimensions."""
    rows, columns = array.shape
    return _SHAPE.pack(rows, columns) + array.astype("<f4").tobytes()


def decode_array(data: memoryview) -> NDArray[np.float32]:
    import numpy as np

    rows, columns = _SHAPE.unpack_from(data)
    flat = np.frombuffer(bytes(data[_SHAPE.size :]), dtype="<f4")
    return flat.reshape(rows, columns).astype(np.float32, copy=False)


# errors


def _error_classes(base: type[GreenroomError]) -> dict[str, type[GreenroomError]]:
    found = {base.__name__: base} if base.__module__ == GreenroomError.__module__ else {}
    for derived in base.__subclasses__():
        found |= _error_classes(derived)
    return found


def encode_error(error: GreenroomError) -> bytes:
    """A binding's own subclass travels as the nearest class of ``greenroom.errors``."""
    known = _error_classes(GreenroomError)
    name = next(kind.__name__ for kind in type(error).__mro__ if kind.__name__ in known)
    fields = {
        "type": name,
        "message": error.message,
        "kind": error.kind,
        "retryable": error.retryable,
        "details": error.details,
    }
    return json.dumps(fields, separators=(",", ":"), default=str).encode("ascii")


def decode_error(data: bytes | memoryview) -> GreenroomError:
    fields = decode_json(data)
    kind = _error_classes(GreenroomError).get(fields["type"], Internal)
    error = kind(fields["message"], kind=fields["kind"], details=fields["details"])
    if error.retryable != fields["retryable"]:
        error.retryable = fields["retryable"]
    return error


def as_error(binding_id: str, error: BaseException) -> GreenroomError:
    """What of a binding's exception is told: ours as they are, others as ``BindingFailed``."""
    if isinstance(error, GreenroomError):
        return error
    return BindingFailed(f"{binding_id} failed: {type(error).__name__}: {error}")


# prompts


def prompt_fields(prompt: Prompt) -> dict[str, Any]:
    """Only what differs from an empty prompt."""
    fields: dict[str, Any] = {
        "system": prompt.system,
        "messages": [_message_row(message) for message in prompt.messages],
        "tools": [[tool.name, tool.description, dict(tool.parameters)] for tool in prompt.tools],
    }
    if prompt.raw is not None:
        fields["raw"] = prompt.raw
    if prompt.sampling != Sampling():
        fields["sampling"] = _set_fields(prompt.sampling, Sampling())
    if prompt.persona != Persona():
        fields["persona"] = _set_fields(prompt.persona, Persona())
    return fields


def prompt_of(fields: Mapping[str, Any]) -> Prompt:
    sampling = dict(fields.get("sampling", {}))
    if "stop" in sampling:
        sampling["stop"] = tuple(sampling["stop"])
    persona = dict(fields.get("persona", {}))
    if "greetings" in persona:
        persona["greetings"] = tuple(persona["greetings"])
    return Prompt(
        system=fields["system"],
        messages=tuple(_message(row) for row in fields["messages"]),
        tools=tuple(ToolSpec(*row) for row in fields["tools"]),
        raw=fields.get("raw"),
        sampling=Sampling(**sampling),
        persona=Persona(**persona),
    )


def _message_row(message: Message) -> Row:
    if not (message.name or message.tool_call_id or message.tool_calls):
        return [message.role, message.content]
    calls = [[call.id, call.name, dict(call.arguments)] for call in message.tool_calls]
    return [message.role, message.content, message.name, message.tool_call_id, calls]


def _message(row: Sequence[Any]) -> Message:
    if len(row) == 2:
        return Message(row[0], row[1])
    return Message(row[0], row[1], row[2], row[3], tuple(ToolCall(*call) for call in row[4]))


def _set_fields(value: Sampling | Persona, default: Sampling | Persona) -> dict[str, Any]:
    fields = {name: getattr(value, name) for name in type(value).__dataclass_fields__}
    changed = {name: item for name, item in fields.items() if item != getattr(default, name)}
    return {name: dict(item) if isinstance(item, Mapping) else item for name, item in changed.items()}
