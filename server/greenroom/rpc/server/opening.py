"""What comes before the method can be called: the arguments, the files, the head of the stream.

args -> (file, bytes ..., file_end)* -> stream

Version 4.9 of the original sends a file as one binary message and no ``file_end``; 5.0 sends pieces of 64 KiB and one.
A peer that names its files in ``args`` leaves no doubt. Of another one, a file that is one piece and not full is
complete after :data:`GRACE_S` without another message, and after as long optional files at the end are taken to be left
out. If they come after all, the call fails.
"""

import asyncio
import contextlib
from io import BytesIO
from typing import Any, Final

from starlette.types import Message, Receive, Send

from greenroom.rpc import frames
from greenroom.rpc.body import read_json
from greenroom.rpc.failures import CallRefused
from greenroom.rpc.limits import Limits
from greenroom.rpc.model import EndpointModel
from greenroom.rpc.streams import Gone

GRACE_S: Final = 1.0


class Wire:
    """An accepted websocket. :raises Gone: from every method, once the client has left."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._kept: Message | None = None

    async def next(self) -> Message:
        kept, self._kept = self._kept, None
        message = kept or await self._receive()
        if message["type"] == "websocket.disconnect":
            raise Gone
        return message

    def keep(self, message: Message) -> None:
        """To be read again."""
        self._kept = message

    async def left(self, *, is_single: bool = False) -> None:
        """Returns when the client leaves. One message that comes before is kept for the next call.

        :param is_single: there is no next call, and other messages mean nothing
        :raises CallRefused: then, for a file, or a piece of one, that comes when all was taken to have come
        """
        try:
            message = await self.next()
            while is_single or is_late(message):
                if is_single and (message.get("bytes") is not None or read_message(message).get("type") == "file"):
                    raise CallRefused(422, "a file or bytes came after the call had been taken for complete")
                message = await self.next()
        except Gone:
            return
        self.keep(message)
        await asyncio.get_running_loop().create_future()

    async def discard(self) -> None:
        """Reads without end, to nobody's use; returns when the client leaves."""
        with contextlib.suppress(Gone):
            while True:
                await self.next()

    async def text(self, text: str) -> None:
        await self._sent({"type": "websocket.send", "text": text})

    async def binary(self, data: bytes) -> None:
        await self._sent({"type": "websocket.send", "bytes": data})

    async def close(self) -> None:
        await self._sent({"type": "websocket.close", "code": 1000})

    async def _sent(self, message: Message) -> None:
        try:
            await self._send(message)
        except (OSError, RuntimeError) as error:  # how servers say that the client is gone
            raise Gone from error


class Opening:
    def __init__(self, wire: Wire, model: EndpointModel, limits: Limits, agreed: bool) -> None:
        self._wire = wire
        self._model = model
        self._limits = limits
        self._agreed = agreed
        self._named: list[str] | None = None

    async def arguments(self) -> Any:
        """The JSON of ``args``. :raises Gone: if none come in ``idle_s``."""
        try:
            async with asyncio.timeout(self._limits.idle_s):
                message = await self._wire.next()
        except TimeoutError:
            await self._wire.close()
            raise Gone from None
        found = read_message(message)
        named = found.get("files")
        if isinstance(named, list):
            self._named = [str(name) for name in named]
        return found.get("json", {})

    async def files(self) -> dict[str, bytes]:
        """:raises CallRefused: for a file that was not declared, is too large, or comes in pieces that are no bytes"""
        found: dict[str, bytes] = {}
        wanted = [param.name for param in self._model.params.file_params]
        while wanted and (self._named is None or any(name in wanted for name in self._named)):
            message = await self._head(wanted)
            if message is None:
                break
            if is_late(message):
                continue
            head = read_message(message)
            if head.get("type") != "file":
                if self._model.params.stream_param is None:
                    raise CallRefused(422, f"expected the file {wanted[0]!r}, got {str(head.get('type'))[:40]!r}")
                self._wire.keep(message)
                break
            name = head.get("name")
            if name not in wanted:
                raise CallRefused(422, f"{name!r} is no file of {self._model.name}")
            wanted.remove(name)
            found[name] = await self._file(name, may_be_last=self._may_be_all(wanted))
        return found

    async def stream(self) -> None:
        message = await self._wire.next()
        head = read_message(message)
        if head.get("type") != "stream":
            raise CallRefused(422, f"expected the stream, got {str(head.get('type'))[:40]!r}")

    async def _head(self, wanted: list[str]) -> Message | None:
        """The next message; ``None`` if the files still wanted are optional, and nothing comes."""
        try:
            async with asyncio.timeout(GRACE_S if self._may_be_all(wanted) else None):
                return await self._wire.next()
        except TimeoutError:
            return None

    def _may_be_all(self, wanted: list[str]) -> bool:
        """Nothing need follow: neither a stream nor a file that must come."""
        optional = {param.name for param in self._model.params.file_params if param.optional}
        return self._named is None and self._model.params.stream_param is None and optional.issuperset(wanted)

    async def _file(self, name: str, may_be_last: bool) -> bytes:
        held = BytesIO()
        pieces = 0
        while True:
            in_doubt = may_be_last and pieces == 1 and held.tell() != frames.FILE_CHUNK
            try:
                async with asyncio.timeout(GRACE_S if in_doubt else None):
                    message = await self._wire.next()
            except TimeoutError:
                return held.getvalue()
            data = message.get("bytes")
            if data is None:
                kind = read_message(message).get("type")
                if kind in ("file", "stream") and pieces == 1:  # of 4.9
                    self._wire.keep(message)
                elif kind != "file_end":
                    raise CallRefused(422, f"expected more of the file {name!r}, or its end, got {str(kind)[:40]!r}")
                return held.getvalue()
            if held.tell() + len(data) > self._limits.file_bytes:
                raise CallRefused(413, f"{name} is larger than {self._limits.file_bytes} bytes")
            held.write(data)
            pieces += 1


def read_message(message: Message) -> dict[str, Any]:
    """:raises CallRefused: for what is no JSON object"""
    text = message.get("text")
    found = read_json(text) if text is not None else None
    if not isinstance(found, dict):
        raise CallRefused(422, "expected a JSON object, got " + ("bytes" if text is None else type(found).__name__))
    return found


def is_late(message: Message) -> bool:
    """A ``file_end`` that came after its file was taken for complete."""
    text = message.get("text") or ""
    return len(text) < 64 and '"file_end"' in text
