"""Calling a service's method: on the loop if it is asynchronous, in a thread of the service if it is not."""

import inspect
from collections.abc import AsyncIterable, Callable, Iterable
from functools import partial
from typing import Any

from greenroom.rpc.content import CHUNK_BYTES
from greenroom.rpc.files import FileLikeHandler
from greenroom.rpc.limits import Limits
from greenroom.rpc.model import EndpointModel
from greenroom.rpc.pipe import Pipe
from greenroom.rpc.result import ResultType
from greenroom.rpc.streams import Arrivals, feed, feed_here
from greenroom.rpc.workers import Workers


class Method:
    """:param function: bound, so that the endpoint's arguments are all that it takes."""

    def __init__(self, function: Callable[..., Any], model: EndpointModel, workers: Workers, limits: Limits) -> None:
        self.model = model
        self.limits = limits
        self._function = function
        self._workers = workers
        self._is_async = is_async(function) or model.result.is_async
        stream = model.params.stream_param
        self._stream_is_async = self._is_async or (stream is not None and stream.is_async)
        self._encode = _encoder(model)

    def arrivals(self, pipe: Pipe[list[Any]], begun: Callable[[], None]) -> Any:
        """The stream argument, in the form that the method can draw from."""
        stream = self.model.params.stream_param
        serializer = stream.serializer if stream else None
        arrivals = Arrivals(pipe, serializer.from_json if serializer else _as_is, begun)
        return arrivals.on_loop() if self._stream_is_async else arrivals.here()

    async def value(self, kwargs: dict[str, Any]) -> bytes:
        """The JSON of a plain result. Cancelled, an asynchronous method is cancelled; another one runs on unheard."""
        call = partial(self._function, **kwargs)
        result = call() if self._is_async else await self._workers.run(lambda: self._valued(call()))
        if inspect.isawaitable(result):
            return self._encode(await result)
        return self._encode(result) if self._is_async else result

    async def produce(self, kwargs: dict[str, Any], pipe: Pipe[bytes]) -> None:
        """A stream result into the pipe, encoded, and its end or its error."""
        try:
            call = partial(self._function, **kwargs)
            if self._is_async:
                rest = call()
            else:
                rest = await self._workers.run(lambda: self._drained(call(), pipe))
            if inspect.isawaitable(rest):
                rest = await rest
            if rest is not None:
                await feed(self._pieces(rest), self._encode, pipe, self._workers)
        except Exception as error:  # noqa: BLE001 -- the boundary of the call: the pipe carries it to the caller
            pipe.finish(error)
        else:
            pipe.finish()

    def _valued(self, value: Any) -> Any:
        """In the thread: the JSON, or the awaitable that a plain function returned."""
        return value if inspect.isawaitable(value) else self._encode(value)

    def _drained(self, result: Any, pipe: Pipe[bytes]) -> Any:
        """In the thread. What only the loop can draw from is returned."""
        if inspect.isawaitable(result) or isinstance(result, AsyncIterable):
            return result
        if result is not None:
            feed_here(self._pieces(result), self._encode, pipe)
        return None

    def _pieces(self, result: Any) -> Any:
        """What a stream result consists of."""
        if isinstance(result, AsyncIterable):
            return result
        if self.model.result.type is ResultType.BinaryFile and FileLikeHandler.is_file_like(result):
            return FileLikeHandler.to_bytes_iterable(result, chunk_size=CHUNK_BYTES)
        if isinstance(result, (str, bytes)) or not isinstance(result, Iterable):
            raise TypeError(f"{self.model.name} was declared to stream, but returned {type(result).__name__}")
        return result


def is_async(function: Any) -> bool:
    bare = function.func if isinstance(function, partial) else function
    return inspect.iscoroutinefunction(bare) or inspect.isasyncgenfunction(bare)


def _encoder(model: EndpointModel) -> Callable[[Any], bytes]:
    """Of the result, or of one item of it."""
    serializer = model.result.serializer
    if serializer is None:
        return _only_bytes
    if model.result.type is ResultType.StringIterable and not model.protocol.is_websocket:
        return _only_text
    return serializer.to_json_bytes


def _only_text(line: Any) -> bytes:
    if isinstance(line, str):
        return line.encode()
    raise TypeError(f"a stream of text yields str, not {type(line).__name__}")


def _only_bytes(chunk: Any) -> bytes:
    if isinstance(chunk, bytes):
        return chunk
    if isinstance(chunk, (bytearray, memoryview)):
        return bytes(chunk)
    raise TypeError(f"a binary stream yields bytes, not {type(chunk).__name__}")


def _as_is(raw: Any) -> Any:
    return raw
