"""What the calls to one server share: connections, threads, options."""

import asyncio
import threading
import weakref
from collections.abc import Callable, Collection
from functools import partial
from typing import Any, TypeVar

from websockets.asyncio.client import ClientConnection

from greenroom.rpc.client.background import Background
from greenroom.rpc.client.http import AsyncHttpCaller, HttpCaller
from greenroom.rpc.client.options import ClientOptions, Target
from greenroom.rpc.client.replies import AsyncStream, Source, Stream, schedule
from greenroom.rpc.client.sockets import Sockets
from greenroom.rpc.client.talk import Talk
from greenroom.rpc.content import CallModel
from greenroom.rpc.failures import ApiError
from greenroom.rpc.model import EndpointModel
from greenroom.rpc.pipe import Pipe, PipeClosed
from greenroom.rpc.streams import Arrivals
from greenroom.rpc.workers import Workers

Note = Callable[[Any], None]
T = TypeVar("T")


class Client:
    """Serves threads and any number of loops; a context manager of both kinds.

    Connections are kept until :meth:`close`, or on a loop :meth:`aclose`. A client that is dropped closes what belongs
    to threads by itself; on a loop, call :meth:`aclose` before the loop ends.
    """

    def __init__(self, base_url: str, options: ClientOptions | None = None) -> None:
        """:raises ValueError: for what is no base URL."""
        self.base_url = base_url
        self.options = options or ClientOptions()
        self._target = Target.of(base_url)
        self._lock = threading.Lock()
        self._workers = Workers(self.options.threads, 10_000, "client")
        self._background = Background()
        self._http: HttpCaller | None = None
        self._on_loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _OnLoop] = weakref.WeakKeyDictionary()
        weakref.finalize(self, _let_go, self._background, self._workers, self._on_loops)

    def call(self, call: CallModel, note: Note) -> Any:
        """From a thread: the value, or a generator. :raises ApiError: for any answer but a result"""
        model = call.endpoint_model
        if not model.protocol.is_websocket:
            with self._lock:
                if self._http is None:
                    self._http = HttpCaller(self._target, self.options)
                    weakref.finalize(self, self._http.close)
                http = self._http
            return http.call(call, note)
        loop = self._background.loop
        talk, value = self._background.run(self._started(loop, call, note))
        return self._stream(talk, loop) if model.result.is_stream else _value(model, value)

    async def acall(self, call: CallModel, note: Note) -> Any:
        """On a loop: the value, or an asynchronous generator whose call has been made.

        :raises ApiError: for any answer but a result
        """
        model = call.endpoint_model
        if model.result.is_stream:
            return await self.astream(call, note).opened()
        own = self._of(asyncio.get_running_loop())
        if not model.protocol.is_websocket:
            return await own.http.call(call, note)
        return _value(model, await own.talk(call, note).start())

    def astream(self, call: CallModel, note: Note) -> AsyncStream[Any]:
        """An asynchronous generator that makes the call when its first item is asked for."""
        if not call.endpoint_model.protocol.is_websocket:
            return AsyncStream(lambda: self._of(asyncio.get_running_loop()).http.source(call, note))
        return AsyncStream(lambda: self._of(asyncio.get_running_loop()).source(call, note))

    async def prepare(self, url: str, count: int = 1) -> None:
        """Opens idle websockets for calls to come on this loop. :raises ApiError: if the server is not there"""
        await self._of(asyncio.get_running_loop()).sockets.prepare(url, count)

    def sockets_here(self) -> Collection[ClientConnection]:
        """The open websockets of the running loop, busy or idle: a live view."""
        return self._of(asyncio.get_running_loop()).sockets.open_ones

    def close(self) -> None:
        """Ends what belongs to threads; calls under way fail."""
        with self._lock:
            http, self._http = self._http, None
        if http is not None:
            http.close()
        _stop_background(self._background, self._on_loops)
        self._workers.close()

    async def aclose(self) -> None:
        """:meth:`close`, and everything of the running loop."""
        own = self._on_loops.pop(asyncio.get_running_loop(), None)
        if own is not None:
            await own.sockets.close()
            await own.http.close()
        self.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def _of(self, loop: asyncio.AbstractEventLoop) -> "_OnLoop":
        with self._lock:
            found = self._on_loops.get(loop)
            if found is None:
                found = self._on_loops[loop] = _OnLoop(self._target, self.options, self._workers)
            return found

    async def _started(self, loop: asyncio.AbstractEventLoop, call: CallModel, note: Note) -> tuple[Talk, Any]:
        talk = self._of(loop).talk(call, note)
        return talk, await talk.start()

    def _stream(self, talk: Talk, loop: asyncio.AbstractEventLoop) -> Stream[Any]:
        """For a thread. What it has not drawn yet waits in a pipe, bounded."""
        pipe = self._background.run(_pipe(self.options.stream_bytes))
        pumping = asyncio.run_coroutine_threadsafe(_pump(talk, pipe), loop)
        serializer = talk.model.result.serializer
        items = Arrivals(pipe, serializer.from_json if serializer else _as_is).here()

        def close() -> None:
            pipe.close()
            pumping.cancel()

        return Stream(items, close)


class _OnLoop:
    """What belongs to one loop."""

    def __init__(self, target: Target, options: ClientOptions, workers: Workers) -> None:
        self.sockets = Sockets(target, options)
        self.http = AsyncHttpCaller(target, options, workers)
        self._options = options
        self._workers = workers

    def talk(self, call: CallModel, note: Note) -> Talk:
        return Talk(call, self.sockets, self._options, self._workers, note)

    async def source(self, call: CallModel, note: Note) -> Source[Any]:
        talk = self.talk(call, note)
        await talk.start()
        return Source(_Items(talk), talk.abandon, partial(schedule, asyncio.get_running_loop(), talk.cut))


class _Items:
    """The decoded items of a talk."""

    def __init__(self, talk: Talk) -> None:
        serializer = talk.model.result.serializer
        self._decode = serializer.from_json if serializer else _as_is
        self._groups = talk.groups()
        self._ready: Any = iter(())

    def __aiter__(self) -> "_Items":
        return self

    async def __anext__(self) -> Any:
        while True:
            for raw in self._ready:
                return self._decode(raw)
            self._ready = iter(await anext(self._groups))


async def _pipe(limit: int) -> Pipe[list[Any]]:
    return Pipe(limit)


async def _pump(talk: Talk, pipe: Pipe[list[Any]]) -> None:
    try:
        async for group in talk.groups():
            await pipe.aput(group, sum(len(raw) if isinstance(raw, (bytes, str)) else 64 for raw in group))
    except PipeClosed:
        await talk.abandon()
    except asyncio.CancelledError:
        # Not an end: whoever still draws must not take what came for all there was.
        pipe.finish(ApiError(f"the client of {talk.model.name} was closed in the middle of its stream"))
        await talk.abandon()
        raise
    except Exception as error:  # noqa: BLE001 -- carried over to the thread that draws
        pipe.finish(error)
    else:
        pipe.finish()


def _value(model: EndpointModel, raw: Any) -> Any:
    serializer = model.result.serializer
    try:
        return serializer.from_json(raw) if serializer else raw
    except (TypeError, ValueError) as error:
        raise ApiError(f"{model.name} answered what it did not declare: {error}") from error


def _as_is(raw: Any) -> Any:
    return raw


def _let_go(background: Background, workers: Workers, on_loops: Any) -> None:
    for loop, own in list(on_loops.items()):
        schedule(loop, own.sockets.abort)
    background.stop()
    workers.close()


def _stop_background(background: Background, on_loops: Any) -> None:
    loop = background.started_loop
    own = on_loops.pop(loop, None) if loop is not None else None
    if loop is not None and own is not None:
        schedule(loop, own.sockets.abort)
    background.stop()
