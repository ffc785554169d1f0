"""One HTTP call: the body read as declared, the method called, its result sent as it comes.

The first piece of a stream is awaited before the headers go out, so that an early error is still a status. A later one
cuts the connection, which the client takes as the error that it is.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, Final

from starlette.types import Receive, Scope, Send

from greenroom.rpc.address import parse_query, parse_url
from greenroom.rpc.body import BodyParser, check_complete
from greenroom.rpc.failures import ERROR_HEADER, CallRefused, UploadCut, header_of, is_told, status_of, text_of
from greenroom.rpc.pipe import Pipe, PipeClosed
from greenroom.rpc.result import ResultType
from greenroom.rpc.server.calling import Method
from greenroom.rpc.streams import Gone, stop, while_connected

log = logging.getLogger(__name__)

TEXT: Final = "text/plain; charset=utf-8"


async def answer(method: Method, path_params: Mapping[str, str], scope: Scope, receive: Receive, send: Send) -> None:
    """The whole life of a call, up to the last byte of its answer."""
    call = _HttpCall(method, scope, receive, send)
    try:
        await call.run(path_params)
    except (Gone, UploadCut):
        log.debug("the client of %s left", method.model.name)
    except Exception as error:  # noqa: BLE001 -- the boundary of the call: the client is told, the server goes on
        await call.fail(error)


class _HttpCall:
    def __init__(self, method: Method, scope: Scope, receive: Receive, send: Send) -> None:
        self._method = method
        self._model = method.model
        self._scope = scope
        self._receive = receive
        self._send = send
        self._started = False

    async def run(self, path_params: Mapping[str, str]) -> None:
        kwargs: dict[str, Any] = {}
        parse_url(kwargs, self._model, path_params, parse_query(self._scope["query_string"].decode("latin-1")))
        if self._model.signature.refused:
            raise TypeError(self._model.signature.refused)
        stream = self._model.params.binary_stream_param
        if stream is not None:
            pipe: Pipe[list[Any]] = Pipe(self._method.limits.stream_bytes)
            kwargs[stream.name] = self._method.arrivals(pipe, lambda: None)
            beside = self._upload(pipe)
        else:
            kwargs |= await self._body()
            beside = self._left()
        try:
            check_complete(kwargs, self._model.signature.arguments)
        except CallRefused:
            beside.close()
            raise
        work = self._stream(kwargs) if self._model.result.is_stream else self._plain(kwargs)
        try:
            await while_connected(work, beside)
        finally:
            if stream is not None:  # a thread may still wait for more
                pipe.finish(UploadCut("the call is over"))

    async def fail(self, error: Exception) -> None:
        """Headers that are out cannot be taken back: then the connection is cut, which leaving without an end does."""
        status = status_of(error)
        if not is_told(error):
            log.error("%s failed", self._model.name, exc_info=error)
        if not self._started:
            headers = {ERROR_HEADER: header_of(error)}
            await self._reply(status, TEXT, text_of(error).encode("utf-8", "replace"), headers)

    async def _plain(self, kwargs: dict[str, Any]) -> None:
        await self._reply(200, self._model.result.content_type, await self._method.value(kwargs))

    async def _stream(self, kwargs: dict[str, Any]) -> None:
        pipe: Pipe[bytes] = Pipe(self._method.limits.stream_bytes)
        producing = asyncio.create_task(self._method.produce(kwargs, pipe))
        try:
            first = await pipe.atake()
            if not first:
                await self._reply(200, self._content_type(), b"")
                return
            await self._start(200, {"content-type": self._content_type()})
            batch = first
            while batch:
                await self._send({"type": "http.response.body", "body": self._joined(batch), "more_body": True})
                batch = await pipe.atake()
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            pipe.close()
            await stop(producing)

    def _joined(self, batch: list[bytes]) -> bytes:
        if self._model.result.type is ResultType.BinaryFile:
            return batch[0] if len(batch) == 1 else b"".join(batch)
        return b"\n".join(batch) + b"\n"

    def _content_type(self) -> str:
        found = self._model.result.content_type
        return f"{found}; charset=utf-8" if found.startswith("text/") and "charset" not in found else found

    async def _body(self) -> dict[str, Any]:
        """:raises Gone: if the client left in the middle: what came is not passed on."""
        headers = dict(self._scope["headers"])
        content_type = headers.get(b"content-type", b"").decode("latin-1")
        if not self._model.params.has_body:
            return {}
        parser = BodyParser(self._model, content_type, self._method.limits)
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise Gone
            parser.feed(message.get("body", b""))
            if not message.get("more_body", False):
                try:
                    return parser.finish()
                except UploadCut as error:
                    raise CallRefused(400, error.message) from None

    async def _upload(self, pipe: Pipe[list[Any]]) -> None:
        """The body into the pipe as it comes; then, whether the client leaves."""
        more = True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                pipe.finish(UploadCut("the client left in the middle of its upload"))
                return
            more = message.get("more_body", False)
            body = message.get("body", b"")
            try:
                if body:
                    await pipe.aput([body], len(body))
            except PipeClosed:
                pass
        pipe.finish()
        await self._left()

    async def _left(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _start(self, status: int, headers: Mapping[str, str]) -> None:
        self._started = True
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": raw})

    async def _reply(
        self, status: int, content_type: str, body: bytes, headers: Mapping[str, str] | None = None
    ) -> None:
        own = {"content-type": content_type, "content-length": str(len(body))}
        await self._start(status, own | dict(headers or {}))
        await self._send({"type": "http.response.body", "body": body, "more_body": False})
