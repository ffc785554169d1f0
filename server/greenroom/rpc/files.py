"""Files as values: a name with its content, and everything else that may stand for one."""

import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, is_dataclass
from enum import Enum
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar, TypeAlias, TypeGuard, TypeVar

from greenroom.rpc.serialization import Serializer, load_json

T = TypeVar("T")
CHUNK_BYTES = 65536
MAX_NAME = 255


class FileKind(Enum):
    Audio = 1
    Image = 2
    Json = 3
    Text = 4


KINDS: dict[str, FileKind] = {
    **dict.fromkeys((".wav", ".mp3", ".ogg"), FileKind.Audio),
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".bmp"), FileKind.Image),
    ".json": FileKind.Json,
    ".txt": FileKind.Text,
    ".md": FileKind.Text,
    ".html": FileKind.Text,
}


@dataclass(init=False)
class File:
    """A name and bytes. Content given as text becomes UTF-8; a kind not given is told from the name's extension.

    ``metadata`` is the owner's own note; it stays here and is not sent.
    """

    Kind: ClassVar[type[FileKind]] = FileKind

    name: str
    content: bytes = field(repr=False)
    kind: FileKind | None = None

    def __init__(self, name: str, content: bytes | str, kind: FileKind | None = None) -> None:
        self.name = name
        self.content = content.encode("utf-8") if isinstance(content, str) else bytes(content)
        self.kind = kind or KINDS.get(Path(name).suffix.lower())
        self._metadata: Any = None

    @property
    def metadata(self) -> Any:
        return self._metadata

    @metadata.setter
    def metadata(self, value: Any) -> None:
        self._metadata = value

    def has_metadata(self, of_type: type = object) -> bool:
        return self._metadata is not None and isinstance(self._metadata, of_type)

    @property
    def string_content(self) -> str:
        """:raises UnicodeDecodeError: if it is not UTF-8"""
        return self.content.decode("utf-8")

    @classmethod
    def read(cls, path: Path | str) -> "File":
        """:raises OSError: if it cannot be read"""
        path = Path(path)
        return cls(path.name, path.read_bytes())

    def write(self, folder: Path | str) -> Path:
        """Into the folder, under its own name; the folder is made where it is missing.

        :raises ValueError: if the name would leave the folder
        """
        return FileLikeHandler.write(self, Path(folder) / plain_name(self.name))


def plain_name(name: str) -> str:
    """:raises ValueError: if it is more than the name of one file, on any system"""
    if (
        not name
        or len(name.encode("utf-8", "surrogatepass")) > MAX_NAME
        or name in (".", "..")
        or any(character in name for character in "/\\:\0")
    ):
        raise ValueError(f"{name[:80]!r} is not the name of a file")
    return name


FileLike: TypeAlias = Path | str | bytes | BytesIO | File
"""A file: as it is, as bytes, or as the path of one here (``str`` and ``Path``)."""


class FileLikeHandler:
    """What can be done with a :data:`FileLike`, and with an iterable in its place.

    Of an iterable, items of bytes and str are pieces of the content; any other item is a line of JSON.
    """

    @staticmethod
    def is_file_like(value: object) -> TypeGuard[FileLike]:
        return isinstance(value, Path | str | bytes | BytesIO | File)

    @staticmethod
    def guess_name(value: object) -> str | None:
        """None if it has no name."""
        if isinstance(value, File):
            return value.name
        if isinstance(value, Path | str):
            return Path(value).name or None
        name = getattr(value, "name", None)
        return Path(name).name or None if isinstance(name, str) else None

    @staticmethod
    def to_bytes(value: FileLike | Iterable[Any]) -> bytes:
        """:raises OSError: if it is the path of a file that cannot be read
        :raises TypeError: if it is no file, nor iterable
        """
        if isinstance(value, bytes):
            return value
        if isinstance(value, File):
            return value.content
        if isinstance(value, BytesIO):
            return value.getvalue()
        if isinstance(value, Path | str):
            return Path(value).read_bytes()
        return b"".join(_pieces(value))

    @staticmethod
    def to_bytes_iterable(value: FileLike | Iterable[Any], chunk_size: int = CHUNK_BYTES) -> Iterator[bytes]:
        """Chunks of ``chunk_size`` bytes and a shorter last one; none of an empty file. The chunks of an iterable keep
        their sizes up to ``chunk_size``. A file on disk is read as it is consumed, and closed at the end.

        :raises OSError, TypeError: as :meth:`to_bytes`, and at once
        :raises ValueError: if ``chunk_size`` is not positive
        """
        if chunk_size < 1:
            raise ValueError(f"chunk_size must be at least 1, got {chunk_size}")
        if isinstance(value, Path | str):
            return _read_file(Path(value), chunk_size)
        if isinstance(value, bytes | BytesIO | File):
            return _cut(FileLikeHandler.to_bytes(value), chunk_size)
        return (chunk for piece in _pieces(value) for chunk in _cut(piece, chunk_size))

    @staticmethod
    def to_jsonlines_iterable(value: FileLike | Iterable[Any]) -> Iterator[Any]:
        """One JSON value for each line that is not empty.

        :raises ValueError: for a line that is not JSON; names its number
        """
        for number, line in enumerate(_lines(FileLikeHandler.to_bytes_iterable(value)), 1):
            if line.strip():
                try:
                    yield load_json(line)
                except ValueError as problem:
                    raise ValueError(f"line {number}: {problem}") from problem

    @staticmethod
    def to_typed_jsonlines_iterable(value: FileLike | Iterable[Any], item_type: type[T]) -> Iterator[T]:
        """:raises TypeError, ValueError: for a line that does not hold an ``item_type``"""
        serializer: Serializer[T] = Serializer.parse(item_type)
        for item in FileLikeHandler.to_jsonlines_iterable(value):
            yield serializer.from_json(item)

    @staticmethod
    def write(value: FileLike | Iterable[Any], path: Path | str) -> Path:
        """To a file, whole or not at all: what is there already stays until the last byte is written."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        chunks = FileLikeHandler.to_bytes_iterable(value)
        descriptor, unfinished = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.writelines(chunks)
            os.replace(unfinished, path)
        except BaseException:
            Path(unfinished).unlink(missing_ok=True)
            raise
        return path


def _read_file(path: Path, chunk_size: int) -> Iterator[bytes]:
    file = path.open("rb")

    def chunks() -> Iterator[bytes]:
        with file:
            while chunk := file.read(chunk_size):
                yield chunk

    return chunks()


def _cut(content: bytes, chunk_size: int) -> Iterator[bytes]:
    if 0 < len(content) <= chunk_size:
        yield content
        return
    view = memoryview(content)
    for start in range(0, len(content), chunk_size):
        yield bytes(view[start : start + chunk_size])


def _pieces(items: object) -> Iterator[bytes]:
    if not isinstance(items, Iterable) or isinstance(items, bytearray | memoryview):
        raise TypeError(f"Expected a file, got {type(items)}")
    return map(_piece, items)


def _piece(item: object) -> bytes:
    if isinstance(item, bytes):
        return item
    if isinstance(item, str):
        return item.encode("utf-8")
    declared = type(item) if is_dataclass(item) else Any
    return Serializer.parse(declared).to_json_bytes(item) + b"\n"


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    waiting: list[bytes] = []
    for chunk in chunks:
        first, *others = chunk.split(b"\n")
        waiting.append(first)
        for line in others:
            yield b"".join(waiting)
            waiting = [line]
    yield b"".join(waiting)
