"""All files of one download: which of them are here already, how much room they take, a few of them at a time."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from greenroom.bindings.downloads import checksum as checksums
from greenroom.bindings.downloads.checksum import Checksum
from greenroom.bindings.downloads.entries import Download, RemoteFile
from greenroom.bindings.downloads.failures import Interruption, gave_up
from greenroom.bindings.downloads.hub import Hub
from greenroom.bindings.downloads.progress import Meter
from greenroom.bindings.downloads.transfer import Transfer, part_name, part_size
from greenroom.bindings.downloads.web import Patience, Web, announced
from greenroom.bindings.installing.progress import Phase
from greenroom.errors import GreenroomError
from greenroom.paths import make_folder

AT_ONCE: Final = 4

Here = Callable[[RemoteFile], tuple[Path, Checksum | None] | None]


@dataclass(slots=True)
class Fetched:
    files: tuple[RemoteFile, ...] = ()
    """all that belong to it"""
    parts: dict[str, Path] = field(default_factory=dict)
    """by path, where those lie that were not here yet"""


class Fetch:
    """:param here: a file that may be the one, and what it must be compared with
    :param check_room: told how many bytes will be written, before the first and whenever it turns out to be more
    """

    def __init__(
        self,
        download: Download,
        hub: Hub,
        parts: Path,
        meter: Meter,
        *,
        patience: Patience,
        here: Here,
        check_room: Callable[[int], None],
    ) -> None:
        self._download = download
        self._hub = hub
        self._parts = parts
        self._meter = meter
        self._patience = patience
        self._here = here
        self._check_room = check_room
        self._ended = 0

    async def run(self) -> Fetched:
        """:raises GreenroomError: with what to do. :raises OSError: the disk failed."""
        web = await asyncio.to_thread(Web, self._patience, self._hub.login)
        try:
            files = await self._files(web)
            for file in files:
                self._meter.expect(file.path, file.size)
            missing = [await self._announced(web, file) for file in files if not await self._is_here(file)]
            await asyncio.to_thread(make_folder, self._parts)
            await self._look_for_room(missing)
            await self._all(web, missing)
            fetched = {file.path: file for file in missing}
        finally:
            await web.close()
        parts = {file.path: self._part(file) for file in missing}
        return Fetched(tuple(fetched.get(file.path, file) for file in files), parts)

    async def _files(self, web: Web) -> tuple[RemoteFile, ...]:
        source = self._download.hub
        if source is None:
            return self._download.files
        failures = 0
        while True:
            try:
                return await self._hub.files(web, source, self._patience)
            except Interruption as interruption:
                failures += 1
                wait_s = interruption.wait_s
                wait_s = self._patience.wait_s(failures) if wait_s is None else wait_s
                if failures >= self._patience.attempts or wait_s > self._patience.longest_wait_s:
                    raise gave_up(f"the list of {source.repository}", interruption, failures) from interruption
                self._meter.say(Phase.RESOLVING, f"{interruption.sentence}; trying again in {wait_s:.0f} s")
                await asyncio.sleep(wait_s)

    def _part(self, file: RemoteFile) -> Path:
        return self._parts / part_name(file)

    async def _is_here(self, file: RemoteFile) -> bool:
        found = await asyncio.to_thread(self._here, file)
        if found is None:
            return False
        target, checksum = found
        if checksum is not None:
            self._meter.say(Phase.CHECKING, f"checking {_short(file)}, which is here already")
            if not await checksums.fits(target, checksum):
                return False
        size = target.stat().st_size
        self._meter.expect(file.path, size)
        self._meter.has(file.path, size)
        return True

    async def _announced(self, web: Web, file: RemoteFile) -> RemoteFile:
        """The file with what the server says of it, where the card says nothing."""
        if file.size is not None:
            return file
        try:
            async with web.open(file.url, method="HEAD") as response:
                size, checksum = announced(response) if response.status_code == 200 else (None, None)
        except (Interruption, GreenroomError):
            return file  # fetching it will tell
        self._meter.expect(file.path, size)
        if file.checksum is None and checksum is not None and size is not None:
            return replace(file, size=size, checksum=checksum)
        return file  # its length is a hint only: what comes counts

    async def _look_for_room(self, missing: list[RemoteFile]) -> None:
        needed = 0
        for file in missing:
            size = self._meter.expected(file.path) or 0
            needed += max(0, size - await asyncio.to_thread(part_size, self._part(file)))
        self._check_room(needed)

    async def _all(self, web: Web, missing: list[RemoteFile]) -> None:
        slots = asyncio.Semaphore(AT_ONCE)
        self._tell(missing)

        async def one(file: RemoteFile) -> None:
            async with slots:
                await self._transfer(web, file).run()
            self._ended += 1
            self._tell(missing)

        try:
            async with asyncio.TaskGroup() as group:
                for file in missing:
                    group.create_task(one(file), name=f"fetch {file.path}")
        except BaseExceptionGroup as failed:
            raise _first(failed) from None

    def _tell(self, missing: list[RemoteFile]) -> None:
        if len(missing) == 1:
            self._meter.say(Phase.DOWNLOADING, f"fetching {_short(missing[0])}")
        elif missing:
            self._meter.say(Phase.DOWNLOADING, f"{self._ended} of {len(missing)} files are here")

    def _transfer(self, web: Web, file: RemoteFile) -> Transfer:
        def learned(size: int) -> None:
            self._meter.expect(file.path, size)
            self._check_room(self._meter.total - self._meter.downloaded)

        repository = self._download.hub.repository if self._download.hub else ""
        return Transfer(
            web,
            file,
            self._part(file),
            self._meter,
            patience=self._patience,
            learned=learned,
            repository=repository,
            page=self._hub.page(repository) if repository else "",
        )


def _short(file: RemoteFile) -> str:
    return file.path.rpartition("/")[2]


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found
