"""Calls over HTTP, from threads and from coroutines, over connections that are kept."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from typing import Any, Final

import httpx

from greenroom.rpc.client.options import ClientOptions, Target
from greenroom.rpc.client.replies import Source, Stream, schedule
from greenroom.rpc.content import CallModel, ContentProducer, binary_piece
from greenroom.rpc.failures import ERROR_HEADER, ApiError, Unreachable, from_header
from greenroom.rpc.model import EndpointModel
from greenroom.rpc.pipe import Pipe
from greenroom.rpc.result import ResultType
from greenroom.rpc.serialization import load_json
from greenroom.rpc.streams import feed, stop
from greenroom.rpc.workers import Workers

BODY_BYTES: Final = 64 * 1024
"""of an error's body that is kept"""
LIMITS: Final = httpx.Limits(max_connections=None, max_keepalive_connections=32, keepalive_expiry=60)

Note = Callable[[Any], None]


class HttpCaller:
    """For threads. ``note`` is told the raw body of a plain answer, or the first pieces of a stream."""

    def __init__(self, target: Target, options: ClientOptions) -> None:
        # Without a client around it: cookies, redirects and merged URLs are half of what a small call would cost.
        self._transport = httpx.HTTPTransport(**_transport(target, options))
        self._request = _Requests(target, options)

    def call(self, call: CallModel, note: Note) -> Any:
        """:raises ApiError: for any answer but a result"""
        model = call.endpoint_model
        producer = ContentProducer(call.content, model)
        whole = _whole(producer)
        request = self._request(call, producer, whole if whole is not None else producer.produce())
        try:
            response = self._transport.handle_request(request)
        except httpx.TransportError as error:
            raise _unreachable(request, error) from error
        response.request = request
        if response.status_code == 200 and model.result.is_stream:
            return Stream(_decoded(model, _pieces(response), note), response.close)
        try:
            if response.status_code != 200:
                raise _refused(response, _start(response.iter_raw()))
            body = response.read()
        except httpx.TransportError as error:
            raise _cut(request, error) from error
        finally:
            response.close()
        return _value(model, body, note)

    def close(self) -> None:
        self._transport.close()


class AsyncHttpCaller:
    """For coroutines of one loop."""

    def __init__(self, target: Target, options: ClientOptions, workers: Workers) -> None:
        self._transport = httpx.AsyncHTTPTransport(**_transport(target, options))
        self._request = _Requests(target, options)
        self._options = options
        self._workers = workers
        self._leaving: set[asyncio.Future[None]] = set()

    async def call(self, call: CallModel, note: Note) -> Any:
        """The value of a plain result. :raises ApiError: for any answer but a result"""
        response = await self._sent(call)
        try:
            body = await response.aread()
        except httpx.TransportError as error:
            raise _cut(response.request, error) from error
        finally:
            await response.aclose()
        return _value(call.endpoint_model, body, note)

    async def source(self, call: CallModel, note: Note) -> Source[Any]:
        """The items of a stream. :raises ApiError: as :meth:`call`"""
        response = await self._sent(call)
        loop = asyncio.get_running_loop()

        def abandon() -> None:
            schedule(loop, lambda: self._leave(response))

        return Source(_decoded_async(call.endpoint_model, _pieces_async(response), note), response.aclose, abandon)

    async def close(self) -> None:
        if self._leaving:
            await asyncio.wait(self._leaving)
        await self._transport.aclose()

    def _leave(self, response: httpx.Response) -> None:
        task = asyncio.ensure_future(response.aclose())
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def _sent(self, call: CallModel) -> httpx.Response:
        producer = ContentProducer(call.content, call.endpoint_model)
        body = _whole(producer)
        content = body if body is not None else self._body(call, producer)
        request = self._request(call, producer, content)
        try:
            response = await self._transport.handle_async_request(request)
            response.request = request
            if response.status_code == 200:
                return response
            try:
                raise _refused(response, await _start_async(response.aiter_raw()))
            finally:
                await response.aclose()
        except httpx.TransportError as error:
            raise _unreachable(request, error) from error

    async def _body(self, call: CallModel, producer: ContentProducer) -> AsyncIterator[bytes]:
        """A plain iterable may block, and so may a disk: they are drawn in a thread."""
        stream = call.endpoint_model.params.binary_stream_param
        given = call.content.raw_values.get(stream.name) if stream else None
        if isinstance(given, AsyncIterable):
            async for item in given:
                if data := binary_piece(item):
                    yield data
            return
        pipe: Pipe[bytes] = Pipe(self._options.stream_bytes)
        feeding = asyncio.create_task(self._fed(producer.produce(), pipe))
        try:
            while batch := await pipe.atake():
                for data in batch:
                    yield data
        finally:
            pipe.close()
            await stop(feeding)

    async def _fed(self, pieces: Iterable[bytes], pipe: Pipe[bytes]) -> None:
        try:
            await feed(pieces, lambda data: data, pipe, self._workers)
        except Exception as error:  # noqa: BLE001 -- whatever the caller's own source raises, the call raises
            pipe.finish(error)
        else:
            pipe.finish()


class Lines:
    """Text cut at its line feeds, and nowhere else."""

    def __init__(self) -> None:
        self._open: list[bytes] = []

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that are complete now."""
        first, *others = data.split(b"\n")
        self._open.append(first)
        if not others:
            return []
        lines = [b"".join(self._open), *others[:-1]]
        self._open = [others[-1]]
        return lines

    def rest(self) -> list[bytes]:
        """A last line without an end."""
        found = b"".join(self._open)
        return [found] if found else []


class _Requests:
    def __init__(self, target: Target, options: ClientOptions) -> None:
        self._start = target.http
        self._headers = options.all_headers
        timeout = httpx.Timeout(options.timeout_s, connect=options.connect_timeout_s)
        self._extensions = {"timeout": timeout.as_dict()}

    def __call__(self, call: CallModel, producer: ContentProducer, content: Any) -> httpx.Request:
        method = call.endpoint_model.protocol.http_method
        headers = dict(self._headers)
        if producer.content_type:
            headers["content-type"] = producer.content_type
        if producer.content_length is not None and producer.has_content:
            headers["content-length"] = str(producer.content_length)
        verb = method.value if method else "POST"
        url = self._start + call.content.url
        return httpx.Request(verb, url, headers=headers, content=content, extensions=dict(self._extensions))


def _whole(producer: ContentProducer) -> bytes | None:
    """A body that is in memory anyway; ``None`` for one that streams."""
    if not producer.has_content:
        return b""
    return b"".join(producer.produce()) if producer.content_type == "application/json" else None


def _transport(target: Target, options: ClientOptions) -> dict[str, Any]:
    # Making a TLS context reads every certificate of the system: only where it is used.
    verify = options.tls() if target.http.startswith("https:") else False
    return {"verify": verify, "uds": target.uds or None, "limits": LIMITS, "proxy": options.proxy}


def _value(model: EndpointModel, body: bytes, note: Note) -> Any:
    serializer = model.result.serializer
    if serializer is None:
        note(body)
        return body
    try:
        raw = load_json(body)
        note(raw)
        return serializer.from_json(raw)
    except (TypeError, ValueError) as error:
        raise ApiError(f"{model.name} answered what it did not declare: {error}", status=200) from error


def _pieces(response: httpx.Response) -> Iterator[bytes]:
    try:
        yield from response.iter_raw()
    except httpx.TransportError as error:
        raise _cut(response.request, error) from error


async def _pieces_async(response: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for data in response.aiter_raw():
            yield data
    except httpx.TransportError as error:
        raise _cut(response.request, error) from error


def _decoded(model: EndpointModel, pieces: Iterator[bytes], note: Note) -> Iterator[Any]:
    lines = Lines()
    decode = _decoder(model)
    is_binary = model.result.type is ResultType.BinaryFile
    for data in pieces:
        for raw in (data,) if is_binary else lines.feed(data):
            note(raw)
            yield decode(raw)
    for raw in lines.rest():
        note(raw)
        yield decode(raw)


async def _decoded_async(model: EndpointModel, pieces: AsyncIterator[bytes], note: Note) -> AsyncIterator[Any]:
    lines = Lines()
    decode = _decoder(model)
    is_binary = model.result.type is ResultType.BinaryFile
    async for data in pieces:
        for raw in (data,) if is_binary else lines.feed(data):
            note(raw)
            yield decode(raw)
    for raw in lines.rest():
        note(raw)
        yield decode(raw)


def _decoder(model: EndpointModel) -> Callable[[bytes], Any]:
    if model.result.type is ResultType.StringIterable:
        return bytes.decode
    return model.result.serializer.from_json_bytes if model.result.serializer else bytes


def _start(pieces: Iterator[bytes]) -> bytes:
    found = bytearray()
    for data in pieces:
        found += data
        if len(found) >= BODY_BYTES:
            break
    return bytes(found[:BODY_BYTES])


async def _start_async(pieces: AsyncIterator[bytes]) -> bytes:
    found = bytearray()
    async for data in pieces:
        found += data
        if len(found) >= BODY_BYTES:
            break
    return bytes(found[:BODY_BYTES])


def _refused(response: httpx.Response, body: bytes) -> ApiError:
    request = response.request
    text = body.decode("utf-8", "replace")
    return ApiError(
        f"{request.method} {request.url} answered {response.status_code}: {text}",
        status=response.status_code,
        method=request.method,
        url=str(request.url),
        body=text,
        error=from_header(response.headers.get(ERROR_HEADER)),
    )


def _unreachable(request: httpx.Request, error: Exception) -> ApiError:
    told = f"{request.method} {request.url} got no answer: {type(error).__name__}: {error}"
    kind = Unreachable if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout)) else ApiError
    return kind(told, method=request.method, url=str(request.url))


def _cut(request: httpx.Request, error: Exception) -> ApiError:
    told = f"the answer to {request.method} {request.url} was cut off: {error}"
    return ApiError(told, status=200, method=request.method, url=str(request.url))
