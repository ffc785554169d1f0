"""Frames of jaison's websocket: ``[{"status": 200, "message": JOB_TYPE, "response": {...}}, 200]``.

A client of this protocol may refuse a frame of 1 MiB, so none is that long: sound is cut, long texts are cut or shared
out over several frames, the oldest lines of a history are left out.
"""

import base64
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from itertools import zip_longest
from typing import Any, Final

from greenroom.protocol.events import PERFORMERS_ONLY
from greenroom.values import Access

MAX_FRAME_CHARS: Final = 1_000_000
PIECE_CHARS: Final = 4096
"""of base64, in the sound of an answer"""
_PIECE_BYTES: Final = PIECE_CHARS * 3 // 4
_WHOLE_BYTES: Final = 720_000
"""of sound in one frame where it is not cut into pieces"""
_TEXT_CHARS: Final = 60_000
"""even escaped (12 characters for one beyond the basic plane) this fits into a frame"""
_ARGUMENT_CHARS: Final = 64 * 1024
_LISTED: Final = 256


class Part(Enum):
    """What a frame is to those who hear the answer in the documented order."""

    START = auto()
    PROMPT = auto()
    RAW = auto()
    """the whole text of the model: in the documented order it precedes what is spoken"""
    SPOKEN = auto()
    OTHER = auto()
    END = auto()
    """after a success"""
    FAILED = auto()


@dataclass(frozen=True, slots=True)
class Frame:
    """:param for_viewers: what they hear instead; ``None``: the same as performers, empty: nothing.
    :param for_performers: what they hear instead of what the owner hears; ``None``: the same.
    """

    text: str
    job_id: str
    part: Part
    for_viewers: str | None = None
    for_performers: str | None = None

    def heard_by(self, access: Access) -> str:
        """Prompts, and what filters have not seen yet or have removed, are not for viewers."""
        if access >= Access.OWNER:
            return self.text
        text = self.text if self.for_performers is None else self.for_performers
        if access >= Access.PERFORMER:
            return text
        if self.part in (Part.PROMPT, Part.RAW):
            return ""
        return text if self.for_viewers is None else self.for_viewers


def encoded(message: str, response: Mapping[str, Any]) -> str:
    """One frame as it goes over the wire: keys in the order given, ASCII only."""
    envelope = [{"status": 200, "message": message, "response": response}, 200]
    try:
        return json.dumps(envelope, default=_plain, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(envelope), default=_plain)


def _plain(value: object) -> Any:
    """What JSON has no word for: sound as base64, anything else as its text."""
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, tuple | set | frozenset):
        return list(value)
    return str(value)


def _finite(value: Any) -> Any:
    """JSON has no word for infinity either."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def started(
    message: str, job_id: str, arguments: Mapping[str, Any], for_viewers: Mapping[str, Any] | None = None
) -> Frame:
    """The first frame of a job. Arguments that are large are told as ``true``. ``for_viewers``: what they are told
    instead; ``None``: the same."""
    less = None if for_viewers is None else _start(message, job_id, for_viewers)
    return Frame(_start(message, job_id, arguments), job_id, Part.START, less)


def _start(message: str, job_id: str, arguments: Mapping[str, Any]) -> str:
    text = encoded(message, {"job_id": job_id, "start": arguments})
    if len(text) > _ARGUMENT_CHARS:
        short = {name: value if _is_short(value) else True for name, value in arguments.items()}
        text = encoded(message, {"job_id": job_id, "start": short})
    return text


def _is_short(value: Any) -> bool:
    return len(encoded("", {"": value})) <= _ARGUMENT_CHARS


def succeeded(message: str, job_id: str) -> Frame:
    return Frame(encoded(message, {"job_id": job_id, "finished": True, "success": True}), job_id, Part.END)


def failed(message: str, job_id: str, kind: str, reason: str, for_performers: str | None = None) -> Frame:
    """``for_performers``: the reason that they are told instead, and viewers, too; ``None``: the same."""
    less = None if for_performers is None else _failure(message, job_id, kind, for_performers)
    return Frame(_failure(message, job_id, kind, reason), job_id, Part.FAILED, for_performers=less)


def _failure(message: str, job_id: str, kind: str, reason: str) -> str:
    result = {"type": kind, "reason": reason[:_TEXT_CHARS]}
    return encoded(message, {"job_id": job_id, "finished": True, "success": False, "result": result})


def progress(
    message: str,
    job_id: str,
    result: Mapping[str, Any],
    part: Part = Part.OTHER,
    less: Mapping[str, Any] | None = None,
) -> Iterator[Frame]:
    """One frame, or several where one would be too long. ``less``: what viewers are told instead."""
    texts = _texts(message, job_id, result)
    if less is None and PERFORMERS_ONLY.isdisjoint(result):
        for text in texts:
            yield Frame(text, job_id, part)
        return
    if less is None:
        less = {name: value for name, value in result.items() if name not in PERFORMERS_ONLY}
    for text, for_viewers in zip_longest(texts, _texts(message, job_id, less), fillvalue=""):
        yield Frame(text, job_id, part, for_viewers)


def _texts(message: str, job_id: str, result: Mapping[str, Any]) -> Iterator[str]:
    text = _progress(message, job_id, result)
    if len(text) <= MAX_FRAME_CHARS:
        yield text
        return
    for smaller in _shared_out(result):
        text = _progress(message, job_id, smaller)
        yield text if len(text) <= MAX_FRAME_CHARS else _progress(message, job_id, _shortened(smaller))


def _progress(message: str, job_id: str, result: Mapping[str, Any]) -> str:
    return encoded(message, {"job_id": job_id, "finished": False, "result": result})


def _shared_out(result: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    content, history = result.get("content"), result.get("history")
    if isinstance(content, str) and len(content) > _TEXT_CHARS:
        for start in range(0, len(content), _TEXT_CHARS):
            piece = {"content": content[start : start + _TEXT_CHARS]}
            yield {**result, **piece} if start == 0 else piece
    elif isinstance(history, list):
        yield {"history": _newest(history)}
    else:
        yield result


def _newest(history: list[Any]) -> list[Any]:
    """As many of the last lines as a frame holds."""
    room, first = MAX_FRAME_CHARS * 9 // 10, len(history)
    while first and (room := room - len(json.dumps(history[first - 1], default=str)) - 2) > 0:
        first -= 1
    return history[first:]


def _shortened(value: Any, chars: int = _TEXT_CHARS) -> Any:
    """The beginning of every text and list."""
    if isinstance(value, str):
        return value[:chars]
    if isinstance(value, Mapping):
        return {key: _shortened(item, chars // max(1, len(value))) for key, item in list(value.items())[:_LISTED]}
    if isinstance(value, list | tuple):
        return [_shortened(item, chars // max(1, min(len(value), _LISTED))) for item in value[:_LISTED]]
    return value


def spoken(message: str, job_id: str, pcm: bytes, sr: int, sw: int, ch: int) -> Iterator[Frame]:
    """The sound of an answer: base64 cut every 4096 characters, each piece whole samples and decodable alone."""
    tail = f'", "sr": {sr}, "sw": {sw}, "ch": {ch}}}}}}}, 200]'
    head = encoded(message, {"job_id": job_id, "finished": False, "result": {"audio_bytes": ""}})
    head = head[: head.rindex('"audio_bytes": "') + len('"audio_bytes": "')]
    for piece in _cut(pcm, piece_bytes(sw, ch)):
        yield Frame(f"{head}{base64.b64encode(piece).decode()}{tail}", job_id, Part.SPOKEN)


def piece_bytes(sw: int, ch: int) -> int:
    """How much sound one piece holds: whole samples of every channel."""
    frame_bytes = max(1, sw * ch)
    return max(frame_bytes, _PIECE_BYTES - _PIECE_BYTES % frame_bytes)


def whole_sound(result: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The sound of one use of an operation: whole, unless a frame would be too long."""
    frame_bytes = max(1, int(result.get("sw", 2)) * int(result.get("ch", 1)))
    for piece in _cut(result["audio_bytes"], _WHOLE_BYTES - _WHOLE_BYTES % frame_bytes):
        yield {**result, "audio_bytes": base64.b64encode(piece).decode()}


def _cut(pcm: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(pcm), size):
        yield pcm[start : start + size]
