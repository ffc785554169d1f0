"""One file from the network onto the disk: taken up where it stopped, checked byte by byte as it comes.

<part>         what has come so far
<part>.json    of which version of which file; without it, or for another one, the part is begun anew
"""

import asyncio
import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeVar, cast

import httpx
from pydantic import BaseModel, ConfigDict, ValidationError

from greenroom.bindings.downloads import checksum as checksums
from greenroom.bindings.downloads.addresses import spoken
from greenroom.bindings.downloads.entries import RemoteFile
from greenroom.bindings.downloads.failures import Interruption, gave_up, not_the_file, refused
from greenroom.bindings.downloads.paths import folded
from greenroom.bindings.downloads.progress import Meter
from greenroom.bindings.downloads.web import Patience, Web, transient
from greenroom.bindings.installing.progress import Phase

_PIECE_BYTES: Final = 1 << 20
_WRITTEN_EVERY_S: Final = 0.25
_PAGES: Final = frozenset({"text/html", "application/xhtml+xml"})
_RANGE = re.compile(r"bytes (?P<start>\d+)-\d+/(?P<total>\d+|\*)", re.IGNORECASE)
T = TypeVar("T")


class _Note(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    url: str
    checksum: str = ""
    size: int | None = None
    etag: str = ""
    last_modified: str = ""


async def in_thread(work: Callable[..., T], *arguments: Any) -> T:
    """As ``asyncio.to_thread``, but who is cancelled still waits for it: nothing is written behind anybody's back."""
    doing = asyncio.ensure_future(asyncio.to_thread(work, *arguments))
    try:
        return await asyncio.shield(doing)
    except asyncio.CancelledError:
        await asyncio.wait({doing})
        raise


class Transfer:
    """:param part: where it is put
    :param learned: told the size of a file of which it was not known; may raise
    :param repository: of the hub and its ``page``, for what is said when it refuses
    """

    def __init__(
        self,
        web: Web,
        file: RemoteFile,
        part: Path,
        meter: Meter,
        *,
        patience: Patience,
        learned: Callable[[int], None],
        repository: str = "",
        page: str = "",
    ) -> None:
        self._web = web
        self._file = file
        self._part = part
        self._note_file = part.with_name(f"{part.name}.json")
        self._meter = meter
        self._patience = patience
        self._learned = learned
        self._repository = repository
        self._page = page
        self._where = f"{file.path} from {spoken(file.url)}"
        self._note = _Note(url=file.url)
        self._held = 0
        """bytes of the part that count"""
        self._resumed = False
        """part of it came in an earlier run"""
        self._size = file.size
        self._hasher = checksums.begin(file.checksum, file.size)
        self._unsure = False
        """the end of the stream does not prove that all of it has come"""
        self._opened: BinaryIO | None = None

    async def run(self) -> int:
        """-> bytes. Cancelled, what has come stays.

        :raises BindingFailed: the server refuses it, it is not the file that the card names, or the network fails.
        :raises OSError: the disk failed.
        """
        await self._take_up()
        failures = 0
        while True:
            before = self._held
            try:
                if self._size is None or self._held < self._size:
                    await self._fetch()
                return await self._finish()
            except Interruption as interruption:
                failures = failures + 1 if self._held <= before else 1
                wait_s = interruption.wait_s
                if wait_s is None:
                    wait_s = 0.0 if interruption.at_once else self._patience.wait_s(failures)
                if failures >= self._patience.attempts or wait_s > self._patience.longest_wait_s:
                    raise gave_up(self._where, interruption, failures) from interruption
                if wait_s:
                    self._meter.say(Phase.DOWNLOADING, f"{interruption.sentence}; trying again in {wait_s:.0f} s")
                await asyncio.sleep(wait_s)
                if wait_s:
                    self._meter.say(Phase.DOWNLOADING, f"fetching {self._file.path.rpartition('/')[2]}")

    # what is here already

    def _begin_anew(self) -> None:
        self._held = 0
        self._resumed = False
        self._size = self._file.size
        self._hasher = checksums.begin(self._file.checksum, self._file.size)
        self._meter.has(self._file.path, 0)

    async def _take_up(self) -> None:
        note = await asyncio.to_thread(self._read_note)
        if note is None:
            return
        held = await asyncio.to_thread(part_size, self._part)
        if not held or (note.size is not None and held > note.size):
            return
        self._note = note
        self._size = self._size if self._size is not None else note.size
        await checksums.feed_in_thread(self._hasher, self._part, held)
        self._held, self._resumed = held, True
        self._meter.has(self._file.path, held)

    def _read_note(self) -> _Note | None:
        """Of this very file. A checksum proves that, whichever mirror the first part came from."""
        try:
            note = _Note.model_validate_json(self._note_file.read_bytes())
        except (OSError, ValidationError):
            return None
        if self._file.size is not None and note.size not in (None, self._file.size):
            return None
        if note.checksum != str(self._file.checksum or ""):
            return None
        if note.url == self._file.url:
            return note
        return note.model_copy(update={"etag": "", "last_modified": ""}) if note.checksum else None

    # fetching

    async def _fetch(self) -> None:
        """From where we are to the end. :raises Interruption: trying again may help."""
        headers = {}
        if self._held:
            validator = self._note.etag or self._note.last_modified
            if validator or self._file.checksum is not None:
                headers = {"Range": f"bytes={self._held}-", **({"If-Range": validator} if validator else {})}
            else:
                self._begin_anew()
        async with self._web.open(self._file.url, headers) as response:
            total = self._accept(response)
            if self._size is None and total is not None:
                self._learned(total)
            self._size = self._size if self._size is not None else total
            await asyncio.to_thread(self._write_note, response)
            await self._receive(response)
        if self._size is not None and self._held < self._size:
            raise Interruption("the stream ended too early")

    def _accept(self, response: httpx.Response) -> int | None:
        """-> bytes of the whole file, if the server says so"""
        if (interruption := transient(response, self._patience)) is not None:
            raise interruption
        status, total = response.status_code, None
        if status == 416 and self._held:
            self._begin_anew()
            raise Interruption("the file has changed meanwhile", at_once=True)
        if status == 206:
            found = _RANGE.fullmatch(response.headers.get("content-range", "").strip())
            total = int(found["total"]) if found and found["total"] != "*" else None
            etag, known = response.headers.get("etag", ""), self._note.etag
            changed = (etag and known and etag != known) or (total and self._size and total != self._size)
            if found is None or int(found["start"]) != self._held or changed:
                self._begin_anew()
                raise Interruption("the file has changed meanwhile", at_once=True)
        elif status == 200:
            self._begin_anew()  # whatever of it we had, all of it comes again
        else:
            raise refused(status, self._where, self._repository, self._page, self._web.has_token)
        self._check_kind(response)
        self._unsure = self._file.size is None and not _ends_plainly(response)
        if self._unsure and self._file.checksum is None:
            raise not_the_file(
                self._where,
                "neither the server nor the card tells its length; it cannot be known whether all of it came",
            )
        length = response.headers.get("content-length", "")
        if total is None and length.isdigit():
            total = self._held + int(length)
        if total is not None and self._file.size not in (None, total):
            raise not_the_file(self._where, f"it has {total} bytes, and {self._file.size} were announced")
        return total

    def _check_kind(self, response: httpx.Response) -> None:
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind in _PAGES and not self._file.path.lower().endswith((".html", ".htm", ".xhtml")):
            raise not_the_file(
                self._where, "the server sends a web page in its place, perhaps one to log in, or that of a proxy"
            )
        if response.headers.get("content-encoding", "identity").lower() not in ("", "identity"):
            raise not_the_file(self._where, "the server sends it compressed, which it was asked not to")

    async def _receive(self, response: httpx.Response) -> None:
        waiting = bytearray()
        clock = asyncio.get_running_loop().time
        written_at = clock()
        try:
            async for piece in response.aiter_raw():
                waiting += piece
                self._meter.came(self._file.path, len(piece))
                if self._size is not None and self._held + len(waiting) > self._size:
                    raise not_the_file(self._where, f"the server sends more than the {self._size} bytes it has")
                if len(waiting) >= _PIECE_BYTES or clock() - written_at >= _WRITTEN_EVERY_S:
                    await self._write(waiting)
                    written_at = clock()
        finally:
            try:
                await self._write(waiting)
            finally:
                await in_thread(self._close)

    async def _write(self, waiting: bytearray) -> None:
        data = bytes(waiting)
        waiting.clear()
        if data:
            await in_thread(self._keep, data)

    def _keep(self, data: bytes) -> None:
        if self._opened is None:
            self._opened = _open_at(self._part, self._held)
        left = memoryview(data)
        while left:  # the last write that a full disk takes is a short one
            count = self._opened.write(left)
            if self._hasher is not None:
                self._hasher.update(left[:count])
            self._held += count
            left = left[count:]

    def _close(self) -> None:
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def _write_note(self, response: httpx.Response) -> None:
        etag = response.headers.get("etag", "")
        self._note = _Note(
            url=self._file.url,
            checksum=str(self._file.checksum or ""),
            size=self._size,
            etag="" if etag.startswith("W/") else etag,
            last_modified=response.headers.get("last-modified", ""),
        )
        if not self._held:
            self._part.unlink(missing_ok=True)  # a note must never stand beside the part of another version
        written = self._note_file.with_name(f"{self._note_file.name}.tmp")
        written.write_text(self._note.model_dump_json(), encoding="utf-8")
        written.replace(self._note_file)

    # the end

    async def _finish(self) -> int:
        """:raises Interruption: once, where what an earlier run left may be what is wrong."""
        wanted = self._file.checksum
        if wanted is not None and self._hasher is not None and self._hasher.hexdigest() != wanted.value:
            if self._unsure:
                raise Interruption("the stream ended too early")
            resumed, found = self._resumed, self._hasher.hexdigest()
            self._begin_anew()
            await asyncio.to_thread(self._forget)
            if resumed:
                raise Interruption("what had come earlier was damaged", at_once=True)
            raise not_the_file(self._where, f"its {wanted.kind} checksum is {found}, and {wanted.value} was announced")
        await in_thread(_settle, self._part, self._held)
        self._meter.expect(self._file.path, self._held)
        self._meter.has(self._file.path, self._held)
        return self._held

    def _forget(self) -> None:
        self._note_file.unlink(missing_ok=True)
        self._part.unlink(missing_ok=True)


def _ends_plainly(response: httpx.Response) -> bool:
    """Whether a stream that is cut off can be told from one that ends."""
    coding = response.headers.get("transfer-encoding", "").lower()
    return "content-length" in response.headers or "chunked" in coding or response.http_version != "HTTP/1.1"


def part_name(file: RemoteFile) -> str:
    """One name for each file, whatever it is called."""
    return f"{hashlib.sha256(folded(file.path).encode()).hexdigest()[:16]}.part"


def part_size(part: Path) -> int:
    try:
        return part.stat().st_size
    except FileNotFoundError:
        return 0


def _open_at(file: Path, held: int) -> BinaryIO:
    """To go on writing behind the first ``held`` bytes; what stands behind them goes."""
    opened = file.open("r+b" if held else "wb", buffering=0)
    opened.truncate(held)
    opened.seek(held)
    return cast(BinaryIO, opened)


def _settle(file: Path, size: int) -> None:
    """All of it is on the disk, not only on its way there. An empty file has not been opened before."""
    with file.open("ab") as opened:
        opened.truncate(size)
        os.fsync(opened.fileno())
