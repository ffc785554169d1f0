"""The stream that a client sends, on its way to the method."""

import asyncio
import threading
from typing import Any, Final

from greenroom.rpc import frames
from greenroom.rpc.failures import CallRefused, UploadCut
from greenroom.rpc.limits import Limits
from greenroom.rpc.model import EndpointModel
from greenroom.rpc.pipe import Pipe, PipeClosed
from greenroom.rpc.server.opening import Wire, is_late, read_message
from greenroom.rpc.streams import Gone

GRANT_BYTES: Final = frames.WINDOW // 4


class Signal:
    """An event that a thread may set."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()

    def set_from_anywhere(self) -> None:
        if threading.get_ident() == self._thread:
            self._event.set()
        else:
            self._loop.call_soon_threadsafe(self._event.set)

    async def wait(self) -> None:
        await self._event.wait()

    def clear(self) -> None:
        self._event.clear()


class Upload:
    """From a peer with credits at most a window is under way, so reading never stops; any other is held back by TCP.

    ``begun`` is set when the method asks for the first item; ``ended`` once the client has sent all.
    """

    def __init__(self, wire: Wire, model: EndpointModel, limits: Limits, agreed: bool) -> None:
        self._wire = wire
        self._is_binary = model.params.binary_stream_param is not None
        self._agreed = agreed
        room = frames.WINDOW + 2 * frames.SPLIT_BYTES if agreed else limits.stream_bytes
        self.pipe: Pipe[list[Any]] = Pipe(room, self._taken if agreed else None)
        self.begun = Signal()
        self.ended = False
        self._used = 0
        self._due = asyncio.Event()

    async def read(self) -> None:
        """Everything up to the end into the pipe, then on until the client leaves.

        :raises CallRefused: for what is neither an item nor the end
        """
        try:
            while not self.ended:
                await self._one()
            self.pipe.finish()
        except Gone:
            self.pipe.finish(UploadCut("the client left in the middle of its upload"))
            return
        except CallRefused as error:
            self.pipe.finish(error)
            raise
        await self._wire.left(is_single=not self._agreed)

    async def grant(self) -> None:
        """Tells a peer with credits what it may send in place of what the method has taken."""
        while True:
            await self._due.wait()
            self._due.clear()
            used, self._used = self._used, 0
            try:
                await self._wire.text(frames.message("credit", bytes=used))
            except Gone:
                return

    async def _one(self) -> None:
        message = await self._wire.next()
        data = message.get("bytes")
        if data is not None:
            if not self._is_binary:
                raise CallRefused(422, "expected items, got bytes")
            await self._put([data], len(data))
            return
        if is_late(message):
            return
        found = read_message(message)
        match found.get("type"):
            case "end":
                self.ended = True
            case "item" if not self._is_binary and "value" in found:
                await self._put([found["value"]], len(message["text"]))
            case "items" if not self._is_binary and isinstance(found.get("values"), list):
                await self._put(found["values"], len(message["text"]))
            case other:
                raise CallRefused(422, f"expected {'bytes' if self._is_binary else 'an item'}, got {str(other)[:40]!r}")

    async def _put(self, group: list[Any], weight: int) -> None:
        if self._agreed and self.pipe.is_full:
            raise CallRefused(413, "more was sent than the credit allows")
        try:
            await self.pipe.aput(group, weight + frames.MESSAGE_WEIGHT)
        except PipeClosed:
            pass

    def _taken(self, weight: int) -> None:
        self._used += weight
        if self._used >= GRANT_BYTES and not self.ended:
            self._due.set()
