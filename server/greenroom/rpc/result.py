"""How the return annotation decides what comes back.

bytes, File, FileLike, Iterable[bytes] -> bytes, always in chunks    Iterable[str] -> lines
Iterable[T]                            -> one JSON value each        anything else -> one JSON value
"""

import mimetypes
from dataclasses import dataclass
from enum import Enum
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from greenroom.rpc.annotation import ASYNC_STREAMS, Annotation, DeclaredType
from greenroom.rpc.files import File
from greenroom.rpc.serialization import Serializer
from greenroom.rpc.signature import Signature

BINARY: Final[frozenset[Any]] = frozenset({bytes, BytesIO, File})
"""An annotation that holds one of these is a file, if nothing but these and :data:`BESIDE_BINARY` is there."""
BESIDE_BINARY: Final[frozenset[Any]] = frozenset({str, Path, type(None)})


class ResultType(Enum):
    Json = 0
    BinaryFile = 1
    CustomIterable = 2
    StringIterable = 3


CONTENT_TYPES: Final = {
    ResultType.Json: "application/json",
    ResultType.BinaryFile: "application/octet-stream",
    ResultType.CustomIterable: "application/jsonlines+json",
    ResultType.StringIterable: "text/plain",
}


@dataclass(frozen=True, slots=True)
class ResultModel:
    """:param serializer: of the value, or of one item of a stream; ``None`` for bytes.
    :param is_async: the annotation itself is an asynchronous stream.
    """

    type: ResultType
    serializer: Serializer[Any] | None
    content_type: str
    is_async: bool = False

    @classmethod
    def parse(cls, signature: Signature, content_type: str | None = None) -> "ResultModel":
        """:raises ValueError: for a bare ``Iterable``. :raises TypeError: for a type that no wire carries."""
        annotation = signature.returned_type
        found, item = _kind(annotation)
        serializer = None if found is ResultType.BinaryFile else Serializer.parse(item)
        is_async = any(one.type in ASYNC_STREAMS for one in annotation.types)
        return cls(found, serializer, content_type or CONTENT_TYPES[found], is_async)

    @property
    def is_stream(self) -> bool:
        return self.type is not ResultType.Json

    def guess_extension(self) -> str:
        """``.wav`` for ``audio/wav``; empty if nobody knows."""
        return mimetypes.guess_extension(self.content_type.partition(";")[0].strip()) or ""


def is_file(annotation: Annotation) -> bool:
    found = {one.type for one in annotation.types}
    return bool(found & BINARY) and found <= BINARY | BESIDE_BINARY


def is_file_type(one: DeclaredType) -> bool:
    return one.type in BINARY


def stream_item(stream: DeclaredType) -> Any:
    """The T of ``Iterable[T]``. :raises ValueError: if it is bare."""
    if not stream.arguments:
        raise ValueError(f"a bare {stream.name} does not say what streams: write {stream.name}[bytes], [str] or [T]")
    return stream.arguments[0]


def _kind(annotation: Annotation) -> tuple[ResultType, Any]:
    if annotation.streams:
        item = stream_item(annotation.streams[0])
        if item is bytes:
            return ResultType.BinaryFile, None
        return (ResultType.StringIterable if item is str else ResultType.CustomIterable), item
    if is_file(annotation):
        return ResultType.BinaryFile, None
    return ResultType.Json, annotation.raw_annotation
