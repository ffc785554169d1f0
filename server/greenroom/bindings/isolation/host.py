"""The side of the binding: serves its operations over links, in a process that has nothing else to do.

    open {id, role, options}       -> VALUE; the operation lives until its link closes or another frame comes
    stream {id, method, ...} items -> items, END | ERROR
    ask {id, method, ...}          -> VALUE | ARRAY | ERROR
    describe, models               -> VALUE | ERROR

Engines are shared by key as in the server, by the same code. Closing a link cancels what runs for it.
"""

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any, Final

from greenroom.bindings.discovery import BindingShelf, FoundBinding, read_binding
from greenroom.bindings.engines import Engines, LoadedOperation, PlaceMaker, parse_options
from greenroom.bindings.isolation import codec
from greenroom.bindings.isolation.description import describe
from greenroom.bindings.isolation.handshake import Address, greet
from greenroom.bindings.isolation.link import Kind, Link
from greenroom.bindings.isolation.spec import READY, RECORD, HostSpec, descriptor
from greenroom.bindings.roles import Place
from greenroom.errors import BadRequest, BindingFailed, GreenroomError, NotFound
from greenroom.values import Role

logger = logging.getLogger(__name__)

STOP_S: Final = 1.5
"""how long streams and engines may take to close"""
STREAMS: Final = frozenset({"generate", "transcribe", "speak", "apply"})
ASKED: Final = frozenset({"voices", "tokenize", "detokenize", "embed"})


class _OneBinding(BindingShelf):
    def __init__(self, found: FoundBinding) -> None:
        super().__init__(())
        self.found = found

    def get(self, binding_id: str) -> FoundBinding:
        return self.found


class Host:
    def __init__(self, found: FoundBinding, places: PlaceMaker, token: str) -> None:
        self._found = found
        self._places = places
        self._token = token
        self._engines = Engines(_OneBinding(found), places)
        self._operations: dict[str, LoadedOperation] = {}
        self._serving: set[asyncio.Task[None]] = set()

    def accepted(self, link: Link) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(link), name="link")
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        link.on_lost = lambda: _cancel(task)

    async def close(self) -> None:
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        await self._engines.close()

    async def _serve(self, link: Link) -> None:
        if not await greet(link, self._found.id, self._token):
            return
        while (frame := await link.next()) is not None:
            kind, call = frame
            if kind is not Kind.CALL:  # what was still on its way for a call that has ended
                continue
            link.begin()
            try:
                await self._call(link, call)
            except Exception as error:  # the boundary to the binding's code
                if not isinstance(error, GreenroomError):
                    logger.exception("%s failed", self._found.id)
                link.send(Kind.ERROR, codec.encode_error(codec.as_error(self._found.id, error)))
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                failed = BindingFailed(f"{self._found.id} cancelled its own work")
                link.send(Kind.ERROR, codec.encode_error(failed))

    async def _call(self, link: Link, call: Mapping[str, Any]) -> None:
        match call["do"]:
            case "stream":
                await self._stream(link, call)
            case "ask":
                await self._ask(link, call)
            case "open":
                await self._open(link, call)
            case "models":
                operation = await asyncio.to_thread(self._found.operation, Role(call["role"]))
                options = parse_options(operation, call["options"], self._found.id)
                models = await operation.models(options, self._places.place(self._found))
                rows = [[model.name, model.description, model.installed, model.size_bytes] for model in models]
                link.send(Kind.VALUE, codec.encode_json(rows))
            case "describe":
                binding = await asyncio.to_thread(self._found.load)
                link.send(Kind.VALUE, codec.encode_json(describe(binding)))
            case other:
                raise BadRequest(f"a binding's process knows no call {other!r}")

    async def _open(self, link: Link, call: Mapping[str, Any]) -> None:
        """Hold an operation for as long as the parent holds the link."""
        await asyncio.to_thread(self._found.load)
        loaded = await self._engines.load(self._found.id, Role(call["role"]), call["options"])
        self._operations[call["id"]] = loaded
        try:
            link.send(Kind.VALUE, codec.encode_json(True))
            await link.next()
        finally:
            del self._operations[call["id"]]
            await asyncio.shield(asyncio.ensure_future(loaded.release()))
        link.send(Kind.VALUE, codec.encode_json(True))

    @contextlib.asynccontextmanager
    async def _held(self, operation_id: str) -> AsyncIterator[Any]:
        """The operation, which is not closed before the stream that uses it has ended."""
        loaded = self._operations.get(operation_id)
        if loaded is None:
            raise NotFound(f"{self._found.id}: this operation is not open", kind="operation_unloaded")
        loaded.hold()
        try:
            yield loaded.operation
        finally:
            await asyncio.shield(asyncio.ensure_future(loaded.release()))

    async def _stream(self, link: Link, call: Mapping[str, Any]) -> None:
        method = call["method"]
        if method not in STREAMS:
            raise BadRequest(f"{method!r} is no stream")
        inputs = _Inputs(link)
        try:
            async with self._held(call["id"]) as operation:
                stream = _started(operation, method, call, inputs)
                async with aclosing(_closable(stream)) as items:
                    async for item in items:
                        if link.put(item):
                            await asyncio.sleep(0)
                        if link.full:
                            await link.room()
            link.send(Kind.END)
        finally:
            inputs.close()

    async def _ask(self, link: Link, call: Mapping[str, Any]) -> None:
        method = call["method"]
        if method not in ASKED:
            raise BadRequest(f"{method!r} is nothing to ask for")
        async with self._held(call["id"]) as operation:
            result = await getattr(operation, method)(*call["arguments"])
        if method == "embed":
            link.send(Kind.ARRAY, codec.encode_array(result))
        elif method == "voices":
            rows = [[voice.id, voice.name, voice.language, voice.gender] for voice in result]
            link.send(Kind.VALUE, codec.encode_json(rows))
        else:
            link.send(Kind.VALUE, codec.encode_json(result))


def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()


class _Inputs:
    """What the parent sends into a stream."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._ended = False

    async def items(self) -> AsyncGenerator[Any, None]:
        while not self._ended:
            frame = await self._link.next()
            if frame is None:
                raise asyncio.CancelledError("the link was closed")
            kind, value = frame
            if kind is Kind.INPUT_END:
                self._ended = True
                return
            for item in value:
                yield item

    def close(self) -> None:
        """The stream has ended: what still comes belongs to nothing, and is skipped before the next call."""
        self._ended = True


def _started(operation: Any, method: str, call: Mapping[str, Any], inputs: _Inputs) -> AsyncIterator[Any]:
    match method:
        case "generate":
            return operation.generate(codec.prompt_of(call["prompt"]))  # type: ignore[no-any-return]
        case "transcribe":
            return operation.transcribe(inputs.items(), call["hint"])  # type: ignore[no-any-return]
    return getattr(operation, method)(inputs.items())  # type: ignore[no-any-return]


def _closable(stream: AsyncIterator[Any]) -> AsyncGenerator[Any, None]:
    if isinstance(stream, AsyncGenerator):
        return stream

    async def wrapped() -> AsyncGenerator[Any, None]:
        async for item in stream:
            yield item

    return wrapped()


# the process


class _AskingPlace:
    """The binding's place in a child: its secrets are asked of the parent, on two pipes, as a blocking question."""

    def __init__(self, spec: HostSpec) -> None:
        self._spec = spec
        self._ask = self._answer = -1
        if spec.ask:
            self._ask = descriptor(spec.ask, writes=True)
            self._answer = descriptor(spec.answer, writes=False)

    def place(self, found: FoundBinding) -> Place:
        return Place(found.id, found.folder, Path(self._spec.models), self._secret)

    def _secret(self, name: str, url: str) -> str | None:
        if self._ask < 0:
            return None
        os.write(self._ask, json.dumps([name, url]).encode() + b"\n")
        answer = b""
        while not answer.endswith(b"\n"):
            piece = os.read(self._answer, 65_536)
            if not piece:
                return None
            answer += piece
        value = json.loads(answer)
        return value if isinstance(value, str) else None


class _Records(logging.Handler):
    """Log records as lines that the parent reads."""

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if record.exc_info:
            message += "\n" + (logging.Formatter().formatException(record.exc_info))
        entry = {"level": record.levelno, "logger": record.name, "message": message}
        try:
            sys.stderr.write(f"{RECORD}{json.dumps(entry)}\n")
            sys.stderr.flush()
        except (OSError, ValueError):  # the parent is gone
            pass


async def serve_host(
    found: FoundBinding, places: PlaceMaker, token: str, listen: Address, ready: Callable[[Address], None]
) -> None:
    """Serve until a signal. :raises OSError: if the address cannot be listened on."""
    loop = asyncio.get_running_loop()
    host = Host(found, places, token)

    def link() -> Link:
        return Link(host.accepted, always_reads=True)

    if listen.path:
        server = await loop.create_unix_server(link, listen.path)
        os.chmod(listen.path, 0o600)
        address = listen
    else:
        server = await loop.create_server(link, listen.host, listen.port)
        address = Address(host=listen.host, port=server.sockets[0].getsockname()[1])
    stopping = asyncio.Event()
    for name in ("SIGINT", "SIGTERM", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda *_: loop.call_soon_threadsafe(stopping.set))
    ready(address)
    try:
        await stopping.wait()
    finally:
        server.close()
        if listen.path:
            with contextlib.suppress(OSError):
                os.unlink(listen.path)
                Path(listen.path).parent.rmdir()
        try:
            async with asyncio.timeout(STOP_S):
                await host.close()
        except TimeoutError:
            logger.warning("%s did not close within %g s", found.id, STOP_S)


def _say_ready(address: Address) -> None:
    sys.stdout.write(f"{READY}{address}\n")
    sys.stdout.flush()


def loop_factory() -> Any:
    """uvloop where the environment has it."""
    with contextlib.suppress(ImportError):
        import uvloop

        return uvloop.new_event_loop
    return None


def main() -> int:
    spec = HostSpec.take(os.environ)
    logging.basicConfig(level=logging.WARNING, handlers=[_Records()])
    for name in ("greenroom", "_greenroom_binding"):
        logging.getLogger(name).setLevel(spec.log_level)
    found = read_binding(spec.folder_path)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(serve_host(found, _AskingPlace(spec), spec.token, Address.parse(spec.listen), _say_ready))
        # A thread in an SDK that cannot be stopped must not keep the process: all that had to be closed is closed.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
