"""A server of files, and of a hub's repositories, as the real ones behave: ranges, validators, redirects, and faults.

    async with DownloadServer() as server:
        url = server.put("a.bin", data)
        server.faults("a.bin", Cut(1000), Status(503))      # the first answer ends early, the second refuses

A repository of the hub is listed page by page under ``/api/models/<owner>/<name>/tree/<revision>``; its files lie under
``/<owner>/<name>/resolve/<revision>/<path>``, the large ones behind a redirect to another host (``store``).
"""

import asyncio
import hashlib
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from fakes.raw_http import RawHttpServer, Reply, Request

PAGE_ITEMS = 2
_REASONS = {200: "OK", 206: "Partial Content", 302: "Found", 416: "Range Not Satisfiable"}


@dataclass(frozen=True)
class Cut:
    """Hang up after so many bytes of the body."""

    after: int


@dataclass(frozen=True)
class Hold:
    """Wait after so many bytes of the body until ``server.go`` is set."""

    after: int


@dataclass(frozen=True)
class Status:
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class Redirect:
    url: str


@dataclass(frozen=True)
class Whole:
    """Send all of it, whatever range was asked for."""


@dataclass(frozen=True)
class Other:
    """Send these bytes instead, with a length that fits them."""

    data: bytes
    content_type: str = "application/octet-stream"


Fault = Cut | Hold | Status | Redirect | Whole | Other


@dataclass
class Stored:
    data: bytes
    etag: str = ""
    """empty: none is sent"""
    content_type: str = "application/octet-stream"
    says_length: bool = True
    faults: list[Fault] = field(default_factory=list)


@dataclass
class Repository:
    files: dict[str, bytes]
    large: frozenset[str]
    """what lies elsewhere, under its SHA-256"""
    revision: str = "main"
    token: str = ""
    """what must be given; empty: nothing"""
    gated: bool = False
    """who has a token has no right all the same"""


def git_oid(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class DownloadServer:
    """:param store: where the large files of repositories are sent from; by default from here"""

    def __init__(self, store: "DownloadServer | None" = None) -> None:
        self.store = store or self
        self.files: dict[str, Stored] = {}
        self.repositories: dict[str, Repository] = {}
        self.requests: list[Request] = []
        self.go = asyncio.Event()
        self.held = asyncio.Event()
        """set when an answer stands at a :class:`Hold`"""
        self.left = asyncio.Event()
        """set when a client has hung up while an answer stood there"""
        self._server = RawHttpServer(self._handle)

    async def __aenter__(self) -> "DownloadServer":
        await self._server.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.__aexit__()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.port}"

    # what there is

    def put(self, path: str, data: bytes, *, etag: str | None = None, **more: Any) -> str:
        """-> its address. Without ``etag``: one that changes with the bytes."""
        self.files[path] = Stored(data, f'"{sha256(data)[:16]}"' if etag is None else etag, **more)
        return f"{self.url}/{path}"

    def faults(self, path: str, *faults: Fault) -> None:
        """What goes wrong with the next answers to GET, one after the other."""
        self.files[path].faults += faults

    def publish(self, name: str, files: Mapping[str, bytes], *, large: tuple[str, ...] = (), **more: Any) -> Repository:
        found = self.repositories[name] = Repository(dict(files), frozenset(large), **more)
        for path in large:
            self.store.put(f"store/{sha256(files[path])}", files[path])
        return found

    def asked(self, path: str, method: str = "GET") -> list[Request]:
        return [one for one in self.requests if one.path == f"/{path}" and one.method == method]

    # answering

    async def _handle(self, request: Request, reply: Reply) -> None:
        self.requests.append(request)
        path = unquote(request.path.lstrip("/"))
        if path.startswith("api/models/"):
            self._tree(path.removeprefix("api/models/"), request, reply)
        elif "/resolve/" in path:
            self._resolve(path, request, reply)
        elif path in self.files:
            await self._file(self.files[path], request, reply)
        else:
            reply.whole(b"no such file", "text/plain", 404)

    def _repository(self, name: str, revision: str, request: Request, reply: Reply) -> Repository | None:
        found = self.repositories.get(name)
        if found is None or (found.token and request.headers.get("authorization") != f"Bearer {found.token}"):
            reply.json({"error": "Invalid username or password."}, 401)  # as the hub says of what is not there, too
        elif found.gated:
            reply.json({"error": "Access to this model is restricted."}, 403)
        elif revision != found.revision:
            reply.json({"error": f"Invalid rev id: {revision}"}, 404)
        else:
            return found
        return None

    def _tree(self, path: str, request: Request, reply: Reply) -> None:
        name, _, revision = path.partition("/tree/")
        found = self._repository(name, revision, request, reply)
        if found is None:
            return
        folders = sorted({path.rpartition("/")[0] for path in found.files} - {""})
        items: list[dict[str, Any]] = [{"type": "directory", "path": folder, "oid": "0" * 40} for folder in folders]
        for file, data in found.files.items():
            item: dict[str, Any] = {"type": "file", "path": file, "size": len(data), "oid": git_oid(data)}
            if file in found.large:
                item["lfs"] = {"oid": sha256(data), "size": len(data), "pointerSize": 134}
            items.append(item)
        given = dict(pair.split("=", 1) for pair in request.query.split("&") if "=" in pair)
        start = int(given.get("cursor", "0"))
        page = items[start : start + PAGE_ITEMS]
        if start + PAGE_ITEMS < len(items):
            reply.json(page, link=f'<{self.url}{request.path}?recursive=1&cursor={start + PAGE_ITEMS}>; rel="next"')
        else:
            reply.json(page)

    def _resolve(self, path: str, request: Request, reply: Reply) -> None:
        name, _, rest = path.partition("/resolve/")
        revision, _, file = rest.partition("/")
        found = self._repository(name, revision, request, reply)
        if found is None:
            return
        data = found.files.get(file)
        if data is None:
            reply.json({"error": "Entry not found"}, 404)
        elif file in found.large:
            linked = {"x_linked_size": str(len(data)), "x_linked_etag": f'"{sha256(data)}"'}
            reply.whole(b"", "text/plain", 302, location=f"{self.store.url}/store/{sha256(data)}", **linked)
        else:
            reply.whole(data, "text/plain", 200, etag=f'"{git_oid(data)}"')

    async def _file(self, stored: Stored, request: Request, reply: Reply) -> None:
        fault = stored.faults.pop(0) if stored.faults and request.method == "GET" else None
        data, content_type = stored.data, stored.content_type
        match fault:
            case Status():
                more = {name.replace("-", "_"): value for name, value in fault.headers.items()}
                reply.whole(fault.body, "text/plain", fault.status, **more)
                return
            case Redirect():
                reply.whole(b"", "text/plain", 302, location=fault.url)
                return
            case Other():
                data, content_type = fault.data, fault.content_type
        start = 0 if isinstance(fault, Whole | Other) else self._start(stored, request)
        if start > 0 and start >= len(data):
            reply.whole(b"", "text/plain", 416, content_range=f"bytes */{len(data)}")
            return
        headers = {"content-type": content_type, **({"etag": stored.etag} if stored.etag else {})}
        if stored.says_length:
            headers["content-length"] = str(len(data) - start)
        else:
            headers["connection"] = "close"
        if start:
            headers["content-range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        status = 206 if start else 200
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        reply.transport.write(f"HTTP/1.1 {status} {_REASONS[status]}\r\n{lines}\r\n".encode())
        if request.method != "HEAD":
            await self._body(data[start:], fault, reply)
        if not stored.says_length:
            reply.drop()

    def _start(self, stored: Stored, request: Request) -> int:
        asked = request.headers.get("range", "")
        condition = request.headers.get("if-range", "")
        if not asked or (condition and condition != stored.etag):
            return 0
        return int(asked.removeprefix("bytes=").removesuffix("-"))

    async def _body(self, data: bytes, fault: Fault | None, reply: Reply) -> None:
        if isinstance(fault, Cut | Hold):
            reply.transport.write(data[: fault.after])
            if isinstance(fault, Cut):
                reply.drop()
                return
            self.held.set()
            try:
                await self.go.wait()
            except asyncio.CancelledError:
                self.left.set()
                raise
            data = data[fault.after :]
        reply.transport.write(data)


@contextmanager
def threaded_download_server() -> Iterator[DownloadServer]:
    """In a thread of its own, for tests that are not asynchronous themselves."""
    ready = threading.Event()
    made: list[tuple[DownloadServer, asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def live() -> None:
        over = asyncio.Event()
        async with DownloadServer() as server:
            made.append((server, asyncio.get_running_loop(), over))
            ready.set()
            await over.wait()

    thread = threading.Thread(target=lambda: asyncio.run(live()), name="download server")
    thread.start()
    ready.wait()
    server, loop, over = made[0]
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
