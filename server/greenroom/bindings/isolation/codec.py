"""What a stream between a binding's process and ours consists of, as bytes: no pickle, nothing that names code.

    message         four bytes of length, one of kind, then one of
      ITEMS         one JSON array for many:  [["d","Hel"],["d","lo"],["t","reason"]]
      AUDIO         rate, width, channels as a struct, then the PCM as it is
    float32 arrays  shape as a struct, then the numbers as they are

JSON is written as ASCII, so a lone surrogate survives as well. Values inside extras, arguments and details must be
JSON's own; a tuple arrives as a list.
"""

from __future__ import annotations

import json
import struct
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final

from greenroom.errors import BindingFailed
from greenroom.values import (
    Audio,
    Ended,
    FinishReason,
    Image,
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
    Viseme,
    WordTime,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SmallItem = TextDelta | ToolCall | Ended | TextChunk | SpeechText | WordTime | Transcript
Item = SmallItem | Audio
Row = list[Any]

_AUDIO: Final = struct.Struct("!IBB")
_SHAPE: Final = struct.Struct("!II")
_HEAD: Final = struct.Struct("!IB")
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


def _speech(item: SpeechText) -> Row:
    row: Row = ["s", item.text, item.language, item.voice]
    return [*row, dict(item.extras)] if item.extras else row


def _word(item: WordTime) -> Row:
    shapes = [[shape.id, shape.start_ms] for shape in item.visemes]
    return ["w", item.text, item.start_ms, item.end_ms, item.offset, *shapes]


def _ended(item: Ended) -> Row:
    counts = [item.prompt_tokens, item.completion_tokens, item.cached_tokens, item.reasoning_tokens]
    return ["e", item.reason or "", *counts]


_PACK: Final[dict[type, Callable[[Any], Row]]] = {
    TextDelta: _delta,
    TextChunk: _chunk,
    SpeechText: _speech,
    WordTime: _word,
    Transcript: lambda item: ["h", item.text, item.final],
    ToolCall: lambda item: ["k", item.id, item.name, dict(item.arguments)],
    Ended: _ended,
}
_UNPACK: Final[dict[str, Callable[[Row], SmallItem]]] = {
    "d": lambda row: TextDelta(row[1]),
    "t": lambda row: TextDelta(row[1], thought=True),
    "c": lambda row: TextChunk(*row[1:]),
    "s": lambda row: SpeechText(*row[1:]),
    "w": lambda row: WordTime(row[1], row[2], row[3], row[4], tuple(Viseme(*shape) for shape in row[5:])),
    "h": lambda row: Transcript(row[1], row[2]),
    "k": lambda row: ToolCall(row[1], row[2], row[3]),
    "e": lambda row: Ended(FinishReason(row[1]) if row[1] else None, *row[2:]),
}


def pack(item: SmallItem) -> Row:
    """A row for :func:`encode_json`; its second entry is text. :raises TypeError: for what no stream carries."""
    found = _PACK.get(type(item))
    if found is None:
        raise TypeError(f"a {type(item).__name__} is nothing that a binding's stream carries")
    return found(item)


def decode_items(data: bytes | memoryview) -> list[SmallItem]:
    return [_UNPACK[row[0]](row) for row in decode_json(data)]


# sound and numbers


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


# messages


class Kind(IntEnum):
    ITEMS = 1
    AUDIO = 2


def items_message(rows: Sequence[Row]) -> bytes:
    payload = encode_json(rows)
    return _HEAD.pack(len(payload), Kind.ITEMS) + payload


def audio_message(audio: Audio) -> bytes:
    head = _AUDIO.pack(audio.sample_rate, audio.sample_width, audio.channels)
    return b"".join((_HEAD.pack(len(head) + len(audio.pcm), Kind.AUDIO), head, audio.pcm))


class Unpacker:
    """Messages in, items out. What carries them may split a large message; it keeps the order."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Item]:
        """:raises BindingFailed: for what no peer of this version sends."""
        if self._rest:
            data = self._rest + data
            self._rest = b""
        items: list[Item] = []
        at = 0
        try:
            with memoryview(data) as view:
                while len(data) - at >= _HEAD.size:
                    length, kind = _HEAD.unpack_from(view, at)
                    begin = at + _HEAD.size
                    if len(data) - begin < length:
                        break
                    at = begin + length
                    if kind == Kind.AUDIO:
                        items.append(decode_audio(view[begin:at]))
                    elif kind == Kind.ITEMS:
                        items += decode_items(view[begin:at])
                    else:
                        raise ValueError(f"a message of kind {kind}")
        except (ValueError, LookupError, TypeError, struct.error) as error:
            raise BindingFailed(f"the other side of an isolated binding sent what cannot be read: {error}") from error
        self._rest = data[at:]
        return items


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
    if prompt.must_call:
        fields["must_call"] = True
    if prompt.response_format is not None:
        fields["response_format"] = dict(prompt.response_format)
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
        must_call=fields.get("must_call", False),
        response_format=fields.get("response_format"),
    )


def _message_row(message: Message) -> Row:
    row: Row = [message.role, message.content]
    if message.name or message.tool_call_id or message.tool_calls or message.images:
        calls = [[call.id, call.name, dict(call.arguments)] for call in message.tool_calls]
        row += [message.name, message.tool_call_id, calls]
    if message.images:
        row.append([[image.media_type, b64encode(image.data).decode(), image.url] for image in message.images])
    return row


def _message(row: Sequence[Any]) -> Message:
    if len(row) == 2:
        return Message(row[0], row[1])
    images = row[5] if len(row) > 5 else ()
    return Message(
        row[0],
        row[1],
        row[2],
        row[3],
        tuple(ToolCall(*call) for call in row[4]),
        tuple(Image(kind, b64decode(data), url) for kind, data, url in images),
    )


def _set_fields(value: Sampling | Persona, default: Sampling | Persona) -> dict[str, Any]:
    fields = {name: getattr(value, name) for name in type(value).__dataclass_fields__}
    changed = {name: item for name, item in fields.items() if item != getattr(default, name)}
    return {name: dict(item) if isinstance(item, Mapping) else item for name, item in changed.items()}
