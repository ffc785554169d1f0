"""Services whose endpoints cover every way an argument and a result can travel, and clients of them."""

# mypy: disable-error-code="empty-body"

import asyncio
import threading
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any

from greenroom.errors import BindingFailed
from greenroom.rpc import (
    ApiCall,
    FileLike,
    FileLikeHandler,
    Limits,
    Server,
    ServiceComponent,
    endpoint,
    service,
    websocket,
)

PATIENCE_S = 30.0
"""how long a test waits for an event before it fails"""


class Color(Enum):
    RED = 1
    GREEN = 2


@dataclass
class Token:
    text: str
    index: int


def size(file: FileLike | None) -> int:
    return -1 if file is None else len(FileLikeHandler.to_bytes(file))


@service
class IWide:
    """Everything at once."""

    @endpoint
    def nothing(self) -> None: ...
    @endpoint
    def primitives(self, a: int, b: float, c: bool, d: Color, e: datetime, f: Path, g: str = "given") -> str: ...
    @endpoint
    def text(self, text: str) -> str: ...
    @endpoint
    def query(self, text: str | None, color: Color | None = None, number: int | None = 7) -> str: ...
    @endpoint
    def json(self, tokens: list[Token], extra: dict[str, Any] | None = None) -> list[Token]: ...
    @endpoint(force_json_params=True)
    def forced(self, number: int, *, name: str = "x") -> str: ...
    @endpoint(is_pathlike="path")
    def pathlike(self, number: int, path: str | None = None, part: int | None = None) -> str: ...
    @endpoint(method="GET")
    def fetch(self, number: int) -> int: ...
    @staticmethod
    @endpoint
    def static(number: int) -> int: ...
    @endpoint
    def one_file(self, file: FileLike) -> int: ...
    @endpoint
    def maybe_file(self, file: FileLike | None = None) -> int: ...
    @endpoint
    def form(self, name: dict[str, int], file: FileLike, other: FileLike | None = None) -> list[int]: ...
    @endpoint
    def upload(self, data: FileLike | Iterable[bytes]) -> int: ...
    @endpoint
    def content(self, size: int) -> bytes: ...
    @endpoint(content_type="audio/wav")
    def chunks(self, count: int, fail_at: int | None = None) -> Iterable[bytes]: ...
    @endpoint
    def lines(self, count: int) -> Iterable[str]: ...
    @endpoint
    def tokens(self, count: int) -> Iterable[Token]: ...
    @endpoint
    def fail(self, kind: str) -> int: ...
    @endpoint
    async def later(self, number: int) -> int: ...
    @endpoint
    def drawn(self, count: int) -> AsyncIterator[Token]: ...
    @websocket
    def ws_plain(self, number: int, query: str | None = None) -> str: ...
    @websocket
    def ws_files(self, name: list[int], file: FileLike, other: FileLike | None = None) -> list[int]: ...
    @websocket
    def ws_maybe(self, file: FileLike | None = None) -> int: ...
    @websocket
    def ws_all(self, name: dict[str, int], file: FileLike, items: Iterable[Token]) -> Iterable[Token]: ...
    @websocket
    def ws_echo(self, items: Iterable[Token]) -> Iterable[Token]: ...
    @websocket
    def ws_lines(self, lines: Iterable[str]) -> Iterable[str]: ...
    @websocket
    def ws_bytes(self, data: FileLike | Iterable[bytes]) -> Iterable[bytes]: ...
    @websocket
    def ws_maybes(self, numbers: Iterable[int | None]) -> list[int | None]: ...
    @websocket
    def ws_fail(self, after: int) -> Iterable[int]: ...
    @websocket
    def ws_binding_fails(self) -> int: ...
    @websocket
    def ws_unserializable(self) -> float: ...
    @websocket
    def ws_drawn(self, items: AsyncIterator[Token]) -> AsyncIterator[Token]: ...
    @websocket
    async def ws_later(self, number: int) -> int: ...
    @websocket
    def ws_unending(self, file: FileLike | None = None) -> AsyncIterator[int]: ...


class Wide(IWide):
    def nothing(self) -> None:
        return None

    def primitives(self, a: int, b: float, c: bool, d: Color, e: datetime, f: Path, g: str = "given") -> str:
        return repr((a, b, c, d.name, e.isoformat(), f.as_posix(), g))

    def text(self, text: str) -> str:
        return text

    def query(self, text: str | None, color: Color | None = None, number: int | None = 7) -> str:
        return repr((text, color and color.name, number))

    def json(self, tokens: list[Token], extra: dict[str, Any] | None = None) -> list[Token]:
        return [*tokens, Token(str(extra), len(tokens))]

    def forced(self, number: int, *, name: str = "x") -> str:
        return name * number

    def pathlike(self, number: int, path: str | None = None, part: int | None = None) -> str:
        return repr((number, path, part))

    def fetch(self, number: int) -> int:
        return number

    @staticmethod
    def static(number: int) -> int:
        return number + 1

    def one_file(self, file: FileLike) -> int:
        return size(file)

    def maybe_file(self, file: FileLike | None = None) -> int:
        return size(file)

    def form(self, name: dict[str, int], file: FileLike, other: FileLike | None = None) -> list[int]:
        return [sum(name.values()), size(file), size(other)]

    def upload(self, data: FileLike | Iterable[bytes]) -> int:
        assert not isinstance(data, (str, bytes))
        return sum(map(len, data))  # type: ignore[arg-type]

    def content(self, size: int) -> bytes:
        return bytes(size)

    def chunks(self, count: int, fail_at: int | None = None) -> Iterable[bytes]:
        for index in range(count):
            if index == fail_at:
                raise ValueError("no more sound")
            yield bytes([index]) * 1000

    def lines(self, count: int) -> Iterable[str]:
        return (f"line:{index}" for index in range(count))

    def tokens(self, count: int) -> Iterable[Token]:
        return [Token("t", index) for index in range(count)]

    def fail(self, kind: str) -> int:
        if kind == "binding":
            raise BindingFailed("the voice is gone", kind="voice_lost", details={"voice": "x"}, retryable=True)
        raise {"value": ValueError, "type": TypeError, "exit": SystemExit, "stop": StopIteration}[kind]("secret path")

    async def later(self, number: int) -> int:
        await asyncio.sleep(0)
        return number

    async def drawn(self, count: int) -> AsyncIterator[Token]:
        for index in range(count):
            yield Token("d", index)

    def ws_plain(self, number: int, query: str | None = None) -> str:
        return f"{number} {query}"

    def ws_files(self, name: list[int], file: FileLike, other: FileLike | None = None) -> list[int]:
        return [sum(name), size(file), size(other)]

    def ws_maybe(self, file: FileLike | None = None) -> int:
        return size(file)

    def ws_all(self, name: dict[str, int], file: FileLike, items: Iterable[Token]) -> Iterable[Token]:
        for item in items:
            yield Token(item.text * name["times"], size(file))

    def ws_echo(self, items: Iterable[Token]) -> Iterable[Token]:
        for item in items:
            yield Token(item.text.upper(), item.index * 10)

    def ws_lines(self, lines: Iterable[str]) -> Iterable[str]:
        return (line.upper() for line in lines)

    def ws_bytes(self, data: FileLike | Iterable[bytes]) -> Iterable[bytes]:
        assert not isinstance(data, (str, bytes))
        for chunk in data:  # type: ignore[union-attr]
            yield chunk * 2

    def ws_maybes(self, numbers: Iterable[int | None]) -> list[int | None]:
        return list(numbers)

    def ws_fail(self, after: int) -> Iterable[int]:
        yield from range(after)
        raise ValueError("the end")

    def ws_binding_fails(self) -> int:
        return self.fail("binding")

    def ws_unserializable(self) -> float:
        return float("nan")

    async def ws_drawn(self, items: AsyncIterator[Token]) -> AsyncIterator[Token]:
        async for item in items:
            yield Token(item.text.upper(), item.index * 10)

    async def ws_later(self, number: int) -> int:
        await asyncio.sleep(0)
        return number

    async def ws_unending(self, file: FileLike | None = None) -> AsyncIterator[int]:
        yield size(file)
        await asyncio.Event().wait()


class WideApi(IWide):
    def __init__(self, base_url: str, **given: Any) -> None:
        self.client = ApiCall.define_endpoints(self, base_url, IWide, **given)


@contextmanager
def wide(**given: Any) -> Iterator[tuple[WideApi, str]]:
    """A client of a running server, and the URL."""
    with Server(0, ServiceComponent(Wide()), **given).running() as base_url:
        api = WideApi(base_url)
        try:
            yield api, base_url
        finally:
            api.client.close()


@service
class IWatched:
    """Tells what becomes of its streams and calls."""

    @websocket
    def sync_stream(self) -> Iterable[bytes]: ...
    @websocket
    def async_stream(self) -> AsyncIterator[int]: ...
    @endpoint
    def http_sync_stream(self) -> Iterable[bytes]: ...
    @endpoint
    def http_async_stream(self) -> AsyncIterator[str]: ...
    @endpoint
    async def http_wait(self) -> int: ...
    @websocket
    async def ws_wait(self) -> int: ...
    @endpoint
    def http_take(self, data: Iterable[bytes]) -> int: ...
    @websocket
    def ws_take(self, data: Iterable[bytes]) -> int: ...
    @websocket
    async def ws_hold(self, data: AsyncIterator[bytes]) -> int: ...
    @endpoint
    def produced(self) -> int: ...
    @endpoint
    def block(self) -> None: ...
    @endpoint
    async def ping(self) -> str: ...


class Watched(IWatched):
    """``began`` and ``ended`` are set by whichever method runs; ``seen`` holds what reached its end."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.ended = threading.Event()
        self.release = threading.Event()
        self.seen: list[str] = []
        self.bytes = 0

    def sync_stream(self) -> Iterable[bytes]:
        try:
            self.began.set()
            while True:
                self.bytes += 65536
                yield bytes(65536)
        finally:
            self.seen.append("closed")
            self.ended.set()

    async def async_stream(self) -> AsyncIterator[int]:
        try:
            self.began.set()
            yield 1
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.seen.append("cancelled")
            raise
        finally:
            self.ended.set()

    def http_sync_stream(self) -> Iterable[bytes]:
        return self.sync_stream()

    async def http_async_stream(self) -> AsyncIterator[str]:
        async for number in self.async_stream():
            yield str(number)

    async def http_wait(self) -> int:
        return await self.ws_wait()

    async def ws_wait(self) -> int:
        try:
            self.began.set()
            await asyncio.Event().wait()
            return 1
        except asyncio.CancelledError:
            self.seen.append("cancelled")
            raise
        finally:
            self.ended.set()

    def http_take(self, data: Iterable[bytes]) -> int:
        self.began.set()
        try:
            for chunk in data:
                self.bytes += len(chunk)
            self.seen.append("whole")
        except Exception as error:
            self.seen.append(type(error).__name__)
            raise
        finally:
            self.ended.set()
        return self.bytes

    def ws_take(self, data: Iterable[bytes]) -> int:
        return self.http_take(data)

    async def ws_hold(self, data: AsyncIterator[bytes]) -> int:
        await anext(data)
        return await self.ws_wait()

    def produced(self) -> int:
        return self.bytes

    def block(self) -> None:
        self.began.set()
        self.release.wait(PATIENCE_S)

    async def ping(self) -> str:
        return "here"


class WatchedApi(IWatched):
    def __init__(self, base_url: str, **given: Any) -> None:
        self.client = ApiCall.define_endpoints(self, base_url, IWatched, **given)


@contextmanager
def watched(limits: Limits | None = None) -> Iterator[tuple[WatchedApi, Watched, str]]:
    service = Watched()
    with Server(0, ServiceComponent(service, limits=limits)).running() as base_url:
        api = WatchedApi(base_url)
        try:
            yield api, service, base_url
        finally:
            service.release.set()
            api.client.close()
