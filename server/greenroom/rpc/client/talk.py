"""One call over a websocket, on the loop: everything sent, and read as fast as its reader takes it.

Sending and receiving are two tasks, so a server may answer while it is still being told.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from greenroom.rpc import frames
from greenroom.rpc.client.options import ClientOptions
from greenroom.rpc.client.sockets import Sockets
from greenroom.rpc.client.uploads import source_of
from greenroom.rpc.content import CallModel
from greenroom.rpc.failures import ApiError
from greenroom.rpc.files import FileLikeHandler
from greenroom.rpc.pipe import Pipe
from greenroom.rpc.result import ResultType
from greenroom.rpc.serialization import load_json
from greenroom.rpc.streams import feed, stop
from greenroom.rpc.workers import Workers

Note = Callable[[Any], None]


@dataclass(frozen=True, slots=True)
class _Said:
    """:param values: the items, or the one value of a result.
    :param stays_open: the connection takes another call.
    """

    kind: str
    values: list[Any]
    stays_open: bool = False


class Talk:
    def __init__(self, call: CallModel, sockets: Sockets, options: ClientOptions, workers: Workers, note: Note) -> None:
        self.model = call.endpoint_model
        self._call = call
        self._sockets = sockets
        self._options = options
        self._workers = workers
        self._note = note
        self._socket: ClientConnection | None = None
        self._sending: asyncio.Task[None] | None = None
        self._reading: asyncio.Task[None] | None = None
        self._sent_all = True
        self._credit = frames.WINDOW
        self._more_credit = asyncio.Event()
        self._heard: Pipe[_Said] | None = None
        self._waiting: Iterator[_Said] = iter(())

    async def start(self) -> Any:
        """The raw value of a plain result; ``None`` once a stream has begun, which :meth:`groups` then gives.

        :raises ApiError: for an error that comes instead
        """
        try:
            await self._open()
            first = await self._next()
            is_stream = self.model.result.type is not ResultType.Json
            if first.kind != ("stream" if is_stream else "result"):
                raise ApiError(f"{self.model.name} answered {first.kind!r} in place of its result", url=self._call.url)
            if not is_stream:
                await self._finish(first.stays_open)
                self._note(first.values[0])
                return first.values[0]
        except BaseException:
            await self.abandon()
            raise
        return None

    async def groups(self) -> AsyncIterator[list[Any]]:
        """The raw items of a stream, as many at a time as came together."""
        while True:
            try:
                said = await self._next()
                if said.kind == "end":
                    await self._finish(said.stays_open)
                    return
                if said.kind != "items":
                    raise ApiError(f"{self.model.name} answered {said.kind!r} in its stream", url=self._call.url)
            except BaseException:
                await self.abandon()
                raise
            for raw in said.values:
                self._note(raw)
            yield said.values

    async def abandon(self) -> None:
        """Leaves at once; the server hears it at once, and stops."""
        self.cut()
        await self._stop_tasks()

    def cut(self) -> None:
        """:meth:`abandon` without waiting for the tasks."""
        socket, self._socket = self._socket, None
        if socket is not None:
            socket.transport.abort()
        for task in (self._sending, self._reading):
            if task is not None:
                task.cancel()

    async def _open(self) -> None:
        """Connects and says everything but the stream, which follows beside the answer."""
        url = self._call.content.url
        params = self.model.params
        files = [
            (p.name, v) for p in params.file_params if (v := self._call.content.raw_values.get(p.name)) is not None
        ]
        named = {"files": [name for name, _ in files]} if params.file_params else {}
        arguments = frames.message("args", json=self._call.content.json_values, **named)
        while True:
            self._socket, was_open = await self._sockets.take(url)
            try:
                await self._socket.send(arguments)
                break
            except ConnectionClosed as error:
                self._socket = None
                if not was_open:
                    raise self._lost(error) from error
        stream = params.stream_param
        try:
            for name, value in files:
                await self._send_file(name, value)
            if stream is not None:
                await self._socket.send(frames.message("stream", name=stream.name))
        except ConnectionClosed:
            return  # the server may have said why: it is read next
        if stream is not None:
            source, encode = source_of(stream, self._call.content.raw_values.get(stream.name))
            self._sent_all = False
            self._heard = Pipe(self._options.stream_bytes)
            self._reading = asyncio.create_task(self._read(self._heard))
            self._sending = asyncio.create_task(self._send_stream(source, encode, stream.serializer is None))

    async def _send_file(self, name: str, value: Any) -> None:
        socket = self._connected
        await socket.send(frames.message("file", name=name))
        pipe: Pipe[bytes] = Pipe(self._options.stream_bytes)
        chunks = FileLikeHandler.to_bytes_iterable(value, chunk_size=frames.FILE_CHUNK)
        feeding = asyncio.create_task(self._feed(chunks, bytes, pipe))
        try:
            while batch := await pipe.atake():
                for chunk in batch:
                    await socket.send(chunk)
        finally:
            pipe.close()
            await stop(feeding)
        await socket.send(frames.FILE_END)

    async def _send_stream(self, source: Any, encode: Callable[[Any], bytes], is_binary: bool) -> None:
        socket = self._connected
        agreed = socket.subprotocol == frames.SUBPROTOCOL
        pipe: Pipe[bytes] = Pipe(self._options.stream_bytes)
        feeding = asyncio.create_task(self._feed(source, encode, pipe))
        try:
            while batch := await pipe.atake():
                for frame in _frames(batch, is_binary, agreed):
                    if agreed:
                        await self._spend(len(frame) + frames.MESSAGE_WEIGHT)
                    await socket.send(frame)
            self._sent_all = True
            await socket.send(frames.END)
        except ConnectionClosed:
            pass  # the reader tells what the server said last
        except Exception as error:  # noqa: BLE001 -- whatever the caller's own source raises, the call raises
            if self._heard is not None:
                self._heard.finish(error)
            socket.transport.abort()
        finally:
            pipe.close()
            await stop(feeding)

    async def _feed(self, source: Any, encode: Callable[[Any], bytes], pipe: Pipe[bytes]) -> None:
        try:
            await feed(source, encode, pipe, self._workers)
        except Exception as error:  # noqa: BLE001 -- carried over to the task that sends
            pipe.finish(error)
        else:
            pipe.finish()

    async def _spend(self, weight: int) -> None:
        while self._credit <= 0:
            self._more_credit.clear()
            await self._more_credit.wait()
        self._credit -= weight

    async def _read(self, heard: Pipe[_Said]) -> None:
        """While this end sends: reading goes on, up to what the pipe holds."""
        try:
            while True:
                said, weight = await self._receive()
                await heard.aput(said, weight)
                if said.kind in ("result", "end"):
                    heard.finish()
                    return
        except ApiError as error:
            heard.finish(error)

    async def _next(self) -> _Said:
        if self._heard is None:
            return (await self._receive())[0]
        for said in self._waiting:
            return said
        self._waiting = iter(await self._heard.atake())
        for said in self._waiting:
            return said
        raise ApiError(f"{self.model.name} said nothing more", url=self._call.url)

    async def _receive(self) -> tuple[_Said, int]:
        """What the server says next, but credits, and its length.

        :raises ApiError: for an error, or a lost connection
        """
        while True:
            try:
                async with asyncio.timeout(self._options.timeout_s):
                    message = await self._connected.recv()
            except ConnectionClosed as error:
                raise self._lost(error) from error
            except TimeoutError:
                raise ApiError(f"{self._call.url} said nothing for {self._options.timeout_s} s") from None
            if isinstance(message, bytes):
                return _Said("items", [message]), len(message)
            said = self._understood(message)
            if said is not None:
                return said, len(message)

    def _understood(self, message: str) -> _Said | None:
        try:
            found = load_json(message)
        except ValueError as error:
            found = _error_with_surrogates(message)
            if found is None:
                raise ApiError(f"{self.model.name} answered what is no JSON: {error}", url=self._call.url) from error
        kind = found.get("type") if isinstance(found, dict) else None
        stays_open = kind is not None and found.get("open") is True
        match kind:
            case "item" | "result":
                return _Said("items" if kind == "item" else kind, [found.get("value")], stays_open)
            case "items":
                return _Said("items", list(found.get("values", ())))
            case "stream" | "end":
                return _Said(kind, [], stays_open)
            case "credit":
                self._credit += int(found.get("bytes", 0))
                self._more_credit.set()
                return None
            case "error":
                raise self._told(found)
            case _:
                raise ApiError(f"{self.model.name} answered {str(kind)[:40]!r}", url=self._call.url)

    def _told(self, found: dict[str, Any]) -> ApiError:
        text = str(found.get("message", ""))
        structure = found.get("error")
        error = structure if isinstance(structure, dict) else None
        if found.get("open") is True and self._sent_all and self._socket is not None:
            self._sockets.give(self._call.content.url, self._socket)
            self._socket = None
        return ApiError(text, url=self._call.url, body=text, error=error)

    def _lost(self, error: ConnectionClosed) -> ApiError:
        return ApiError(f"{self._call.url} closed the connection before its result: {error}", url=self._call.url)

    async def _finish(self, stays_open: bool) -> None:
        socket, self._socket = self._socket, None
        if socket is None:
            return
        if stays_open and self._sent_all:
            self._sockets.give(self._call.content.url, socket)
        else:
            self._sockets.drop(socket)
        await self._stop_tasks()

    async def _stop_tasks(self) -> None:
        own = asyncio.current_task()
        await stop(*(task for task in (self._sending, self._reading) if task is not None and task is not own))

    @property
    def _connected(self) -> ClientConnection:
        if self._socket is None:
            raise ApiError(f"the call of {self.model.name} is over", url=self._call.url)
        return self._socket


def _error_with_surrogates(message: str) -> Any:
    """An error whose text quotes half a surrogate pair, for which the strict reader has no room; ``None`` for all
    else."""
    try:
        found = json.loads(message)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and found.get("type") == "error" else None


def _frames(batch: list[bytes], is_binary: bool, batched: bool) -> Iterator[str | bytes]:
    if is_binary:
        for chunk in batch:
            yield from frames.binary_frames(chunk)
    else:
        yield from frames.item_frames(batch, batched)
