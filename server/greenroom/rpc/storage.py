"""A folder of files as a service: listed, read, written and deleted by path, and never left.

    Server(8080, ServiceComponent(Storage(folder)))
    api = StorageApi("http://127.0.0.1:8080")
    api.upload("voices/ada.wav", Path("ada.wav"))
    b"".join(api.open("voices/ada.wav"))

An upload is there whole or not at all. Paths use slashes on every system and are relative to the folder; one that leads
out of it, through a symbolic link too, is refused.
"""

# mypy: disable-error-code="empty-body"
# A declared endpoint has no body.

import builtins
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePath
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeAlias
from uuid import uuid4

from greenroom.errors import BadRequest, Conflict, Forbidden, NotFound
from greenroom.rpc.declaration import HttpMethod, endpoint, service
from greenroom.rpc.files import CHUNK_BYTES, File, FileLike, FileLikeHandler

if TYPE_CHECKING:
    from greenroom.rpc.client import ClientOptions

UNFINISHED = ".greenroom-part"
"""the end of an unfinished upload's name; such files are neither listed nor reached"""


@dataclass
class FileDetails:
    name: str
    """relative to the listed folder, with slashes"""
    last_modification_date: datetime


FilePath: TypeAlias = str | Path
# Inside the classes `list` is a method.
Names: TypeAlias = list[str]
Details: TypeAlias = list[FileDetails]


@service
class IStorage:
    @endpoint(is_pathlike="path")
    def list(
        self,
        path: str | Path | None = None,
        prefix: str | None = None,
        suffix: str | None = None,
        glob: bool | None = None,
    ) -> Names:
        """The names of the files in a folder, sorted; none of a folder that is missing.

        ``prefix`` and ``suffix`` choose by name; ``glob``: all that are below, as paths relative to the folder.
        """

    @endpoint(is_pathlike="path")
    def list_details(
        self,
        path: str | Path | None = None,
        prefix: str | None = None,
        suffix: str | None = None,
        glob: bool | None = None,
    ) -> Details:
        """As ``list``, with the time of the last change."""

    @endpoint(method=HttpMethod.GET, is_pathlike="filename")
    def open(self, filename: str | Path) -> Iterable[bytes]:
        """The content, in chunks of 64 KiB."""

    @endpoint(is_pathlike="filename")
    def upload(self, filename: str | Path, data: FileLike | Iterable[bytes]) -> None:
        """Write a file, in folders that are made where they are missing; one of the same name is replaced."""

    @endpoint(is_pathlike="filename")
    def delete(self, filename: str | Path) -> None:
        """A file, or a folder with all that is in it."""

    @endpoint(is_pathlike="filename")
    def is_file(self, filename: str | Path) -> bool: ...

    @endpoint(is_pathlike="filename")
    def is_dir(self, filename: str | Path) -> bool: ...

    def read(self, filename: FilePath) -> bytes:
        return b"".join(self.open(filename))

    def read_file(self, filename: FilePath) -> File:
        """With its name, without its folders."""
        return File(PurePath(filename).name, self.read(filename))

    def download(self, filename: FilePath, path: FilePath) -> Path:
        """Write it to ``path`` on this machine, or under its own name into ``path`` where that is a folder."""
        target = Path(path)
        if target.is_dir():
            target /= PurePath(filename).name
        return FileLikeHandler.write(self.open(filename), target)


class Storage(IStorage):
    """``folder`` is made with the first upload.

    :raises Forbidden: in every method, for a path that leads out of the folder
    :raises NotFound: for a file that is not there
    """

    def __init__(self, folder: FilePath) -> None:
        self.folder = Path(folder).resolve()

    def list(
        self,
        path: FilePath | None = None,
        prefix: str | None = None,
        suffix: str | None = None,
        glob: bool | None = None,
    ) -> Names:
        """:raises BadRequest: if it is a file"""
        return [name for name, _ in self._entries(path, prefix, suffix, glob)]

    def list_details(
        self,
        path: FilePath | None = None,
        prefix: str | None = None,
        suffix: str | None = None,
        glob: bool | None = None,
    ) -> Details:
        """:raises BadRequest: if it is a file"""
        found = []
        for name, entry in self._entries(path, prefix, suffix, glob):
            try:
                changed_s = entry.stat().st_mtime
            except FileNotFoundError:  # deleted a moment ago
                continue
            found.append(FileDetails(name, datetime.fromtimestamp(changed_s, UTC)))
        return found

    def open(self, filename: FilePath) -> Iterable[bytes]:
        path = self._reading(filename)
        if not path.is_file():
            raise NotFound(f"the storage has no file {_text(filename)}")
        return _chunks(path)

    def upload(self, filename: FilePath, data: FileLike | Iterable[bytes]) -> None:
        """:raises Conflict: if a folder has the name, or a file the name of one of the folders"""
        path = self._writing(filename)
        unfinished = path.parent / f".{uuid4().hex}{UNFINISHED}"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with unfinished.open("xb") as file:
                file.writelines(FileLikeHandler.to_bytes_iterable(data))
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(path)
        except (IsADirectoryError, NotADirectoryError, FileExistsError) as error:
            raise Conflict(
                f"{_text(filename)} cannot be stored: a file or folder of that name is in the way"
            ) from error
        finally:
            if path.parent.is_dir():
                unfinished.unlink(missing_ok=True)

    def delete(self, filename: FilePath) -> None:
        path = self._writing(filename)
        try:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        except (FileNotFoundError, NotADirectoryError):
            raise NotFound(f"the storage has no file {_text(filename)}") from None

    def is_file(self, filename: FilePath) -> bool:
        return self._reading(filename).is_file()

    def is_dir(self, filename: FilePath) -> bool:
        return self._reading(filename).is_dir()

    def _entries(
        self, path: FilePath | None, prefix: str | None, suffix: str | None, deep: bool | None
    ) -> "builtins.list[tuple[str, Path]]":
        folder = self._reading(path or "")
        if folder.is_file():
            raise BadRequest(f"{_text(path or '')} is a file, not a folder")
        found = []
        for entry in _walk(folder, bool(deep)):
            name = entry.name
            if name.endswith(UNFINISHED) or not name.startswith(prefix or "") or not name.endswith(suffix or ""):
                continue
            if entry.is_file() and (not entry.is_symlink() or self._is_inside(entry.resolve())):
                found.append((entry.relative_to(folder).as_posix(), entry))
        return sorted(found)

    def _reading(self, name: FilePath) -> Path:
        """Links followed to their ends."""
        return self._checked(name, (self.folder / _relative(name)).resolve())

    def _writing(self, name: FilePath) -> Path:
        """Links followed but for the last name: what is replaced or deleted is a link itself, not where it leads."""
        path = self.folder / _relative(name)
        if path.name in ("", "..") or path == self.folder:
            raise Forbidden(f"{_text(name)!r} is no name in the storage")
        return self._checked(name, path.parent.resolve() / path.name)

    def _checked(self, name: FilePath, path: Path) -> Path:
        if not self._is_inside(path) or path.name.endswith(UNFINISHED):
            raise Forbidden(f"{_text(name)} is not in the storage")
        return path

    def _is_inside(self, path: Path) -> bool:
        return path.is_relative_to(self.folder)


class StorageApi(IStorage):
    """A storage behind a URL, as the same methods. ``options``: a secret, timeouts and the like.

    :raises ApiError: in every method, for what the server refuses
    """

    def __init__(
        self, base_url: str, custom_prefix: str | None = None, *, options: "ClientOptions | None" = None
    ) -> None:
        from greenroom.rpc.client import ApiCall  # a server of files needs no client

        self._client = ApiCall.define_endpoints(self, base_url, IStorage, custom_prefix, options=options)

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class StorageApiWrap(IStorage):
    """A folder of another storage as a storage. :raises Forbidden: for a path that leads out of it."""

    def __init__(self, storage: IStorage, path_prefix: FilePath) -> None:
        self.storage = storage
        self.path_prefix = _text(path_prefix).strip("/")

    def list(
        self,
        path: FilePath | None = None,
        prefix: str | None = None,
        suffix: str | None = None,
        glob: bool | None = None,
    ) -> Names:
        return self.storage.list(self._below(path or ""), prefix, suffix, glob)

    def list_details(
        self,
        path: FilePath | None = None,
        prefix: str | None = None,
        suffix: str | None = None,
        glob: bool | None = None,
    ) -> Details:
        return self.storage.list_details(self._below(path or ""), prefix, suffix, glob)

    def open(self, filename: FilePath) -> Iterable[bytes]:
        return self.storage.open(self._below(filename))

    def upload(self, filename: FilePath, data: FileLike | Iterable[bytes]) -> None:
        self.storage.upload(self._below(filename), data)

    def delete(self, filename: FilePath) -> None:
        self.storage.delete(self._below(filename))

    def is_file(self, filename: FilePath) -> bool:
        return self.storage.is_file(self._below(filename))

    def is_dir(self, filename: FilePath) -> bool:
        return self.storage.is_dir(self._below(filename))

    def _below(self, name: FilePath) -> str:
        parts = [part for part in _relative(name).split("/") if part not in ("", ".")]
        if ".." in parts:
            raise Forbidden(f"{_text(name)} is not in the storage")
        return "/".join([self.path_prefix, *parts] if self.path_prefix else parts)


def _relative(name: FilePath) -> str:
    text = _text(name)
    if "\0" in text or text.startswith("/"):
        raise Forbidden(f"{text!r} is no path in the storage")
    if sys.platform == "win32" and any(character in text for character in ":\\"):
        raise Forbidden(f"{text!r} is no path in the storage")
    return text


def _text(name: FilePath) -> str:
    return name.as_posix() if isinstance(name, PurePath) else name


def _walk(folder: Path, deep: bool) -> Iterator[Path]:
    try:
        entries = sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        yield entry
        if deep and entry.is_dir() and not entry.is_symlink():
            yield from _walk(entry, deep)


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk
