"""A websocket's life on the server: accepted, it takes one call, or one after another from a peer of this library.

Reading goes on beside the method, so that items reach it while it answers and a client that leaves is noticed at once.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from starlette.types import Receive, Scope, Send

from greenroom.errors import TooSlow
from greenroom.rpc import frames
from greenroom.rpc.address import parse_query, parse_url
from greenroom.rpc.body import check_complete, parse_json
from greenroom.rpc.failures import CallRefused, UploadCut, is_told, structure_of
from greenroom.rpc.pipe import Pipe
from greenroom.rpc.result import ResultType
from greenroom.rpc.server.calling import Method
from greenroom.rpc.server.opening import Opening, Wire
from greenroom.rpc.server.uploading import Upload
from greenroom.rpc.streams import Gone, stop, while_connected

log = logging.getLogger(__name__)


async def converse(method: Method, path_params: Mapping[str, str], scope: Scope, receive: Receive, send: Send) -> None:
    """Accepts, serves, closes. What the URL says wrong is told after the handshake, where every client can read it."""
    agreed = frames.SUBPROTOCOL in scope.get("subprotocols", ())
    await receive()
    await send({"type": "websocket.accept", "subprotocol": frames.SUBPROTOCOL if agreed else None})
    conversation = _Conversation(method, Wire(receive, send), agreed)
    try:
        await conversation.run(path_params, scope["query_string"].decode("latin-1"))
    except Gone:
        log.debug("the client of %s left", method.model.name)


class _Conversation:
    def __init__(self, method: Method, wire: Wire, agreed: bool) -> None:
        self._method = method
        self._model = method.model
        self._limits = method.limits
        self._wire = wire
        self._agreed = agreed
        self._upload: Upload | None = None
        self._open = True

    async def run(self, path_params: Mapping[str, str], query: str) -> None:
        while self._open:
            self._open = False
            self._upload = None
            try:
                await self._call(path_params, query)
            except (asyncio.CancelledError, Gone):
                raise
            except Exception as error:  # noqa: BLE001 -- the boundary of the call: the client is told
                await self._fail(error)
        await self._wire.close()

    async def _call(self, path_params: Mapping[str, str], query: str) -> None:
        opening = Opening(self._wire, self._model, self._limits, self._agreed)
        arguments = await opening.arguments()
        kwargs: dict[str, Any] = {}
        parse_url(kwargs, self._model, path_params, parse_query(query))
        if self._model.signature.refused:
            raise TypeError(self._model.signature.refused)
        parse_json(kwargs, arguments, self._model.params.json_params)
        # Before the files: a client that has said too little is told now, not when it has sent everything.
        check_complete(kwargs, [param.argument for param in self._model.params.json_params])
        kwargs |= await opening.files()
        stream = self._model.params.stream_param
        if stream is None:
            check_complete(kwargs, self._model.signature.arguments)
            await while_connected(self._answer(kwargs), self._wire.left(is_single=not self._agreed))
            return
        await opening.stream()
        self._upload = upload = Upload(self._wire, self._model, self._limits, self._agreed)
        kwargs[stream.name] = self._method.arrivals(upload.pipe, upload.begun.set_from_anywhere)
        check_complete(kwargs, self._model.signature.arguments)
        try:
            await while_connected(self._answer(kwargs), upload.read(), upload.grant())
        finally:
            upload.pipe.finish(UploadCut("the call is over"))

    async def _answer(self, kwargs: dict[str, Any]) -> None:
        if self._model.result.type is ResultType.Json:
            value = await self._method.value(kwargs)
            await self._wire.text(frames.result(value, self._stays_open()))
            return
        pipe: Pipe[bytes] = Pipe(self._limits.stream_bytes if self._is_patient else self._limits.unread_bytes)
        producing = asyncio.create_task(self._method.produce(kwargs, pipe))
        try:
            await self._first(pipe)
            await self._wire.text(frames.STREAM)
            while batch := await pipe.atake():
                await self._items(batch)
            await self._wire.text(frames.END_OPEN if self._stays_open() else frames.END)
        finally:
            pipe.close()
            await stop(producing)

    async def _first(self, pipe: Pipe[bytes]) -> None:
        """Until the stream has something, so that an early error comes instead of it; but a method that asks for its
        input before it yields must not keep a client waiting that sends only when it sees the stream begin."""
        if self._upload is None:
            await pipe.ready()
            return
        asked = asyncio.create_task(self._upload.begun.wait())
        ready = asyncio.create_task(pipe.ready())
        try:
            await asyncio.wait({asked, ready}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await stop(asked, ready)
        pipe.raise_if_failed()

    async def _items(self, batch: list[bytes]) -> None:
        if self._model.result.type is ResultType.BinaryFile:
            for chunk in batch:
                for frame in frames.binary_frames(chunk):
                    await self._patiently(self._wire.binary(frame))
        else:
            for text in frames.item_frames(batch, self._agreed):
                await self._patiently(self._wire.text(text))

    @property
    def _is_patient(self) -> bool:
        """A client that is not of this library may read only after it has sent everything: so may this end not block
        while the other one still sends."""
        return self._agreed or self._upload is None

    async def _patiently(self, sending: Any) -> None:
        if self._is_patient or (self._upload is not None and self._upload.ended):
            await sending
            return
        try:
            async with asyncio.timeout(self._limits.stuck_s):
                await sending
        except TimeoutError:
            raise TooSlow(
                f"nothing was read for {self._limits.stuck_s} s while the client still sends: neither side can go on"
            ) from None

    def _stays_open(self) -> bool:
        self._open = self._agreed and (self._upload is None or self._upload.ended)
        return self._open

    async def _fail(self, error: Exception) -> None:
        if not is_told(error):
            log.error("%s failed", self._model.name, exc_info=error)
        # After what could not be read, nobody knows where the next call would begin.
        more = {"open": True} if not isinstance(error, CallRefused) and self._stays_open() else {}
        text = str(error) or type(error).__name__
        told = self._wire.text(frames.message("error", message=text, error=structure_of(error), **more))
        if self._upload is None or self._upload.ended:
            await told
        else:  # it may read only when it has sent everything: let it
            await while_connected(told, self._wire.discard())
