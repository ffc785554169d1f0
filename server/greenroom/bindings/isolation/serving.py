"""The process of a binding: the host on a server of :mod:`greenroom.rpc`, its log records, and its end."""

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from greenroom.bindings.discovery import FoundBinding, read_binding
from greenroom.bindings.engines import PlaceMaker
from greenroom.bindings.isolation.address import Address
from greenroom.bindings.isolation.host import BindingHost
from greenroom.bindings.isolation.places import ChildPlaces
from greenroom.bindings.isolation.service import prefix
from greenroom.bindings.isolation.spec import READY, RECORD, HostSpec
from greenroom.log import bound_ids
from greenroom.rpc.limits import Limits
from greenroom.rpc.server.components import ServiceComponent
from greenroom.rpc.server.server import Server

logger = logging.getLogger(__name__)

STOP_S: Final = 1.5
"""how long streams and engines may take to close"""
MESSAGE_BYTES: Final = 256 * 1024 * 1024
"""of a prompt, or of one text to embed"""


async def serve_host(
    found: FoundBinding, places: PlaceMaker, token: str, listen: Address, ready: Callable[[Address], None]
) -> None:
    """Serve until a signal, then let engines close, within :data:`STOP_S`.

    :raises OSError: if the address cannot be listened on.
    """
    loop = asyncio.get_running_loop()
    host = BindingHost(found, places)
    component = ServiceComponent(host, prefix(found.id), limits=Limits(message_bytes=MESSAGE_BYTES))
    server = (
        Server(None, component, uds=listen.path, secret=token)
        if listen.path
        else Server(listen.port, component, host=listen.host, secret=token)
    )
    stopping = asyncio.Event()
    for name in ("SIGINT", "SIGTERM", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda *_: loop.call_soon_threadsafe(stopping.set))
    try:
        async with contextlib.AsyncExitStack() as serving:
            base_url = await serving.enter_async_context(server.serving())
            told = Address.parse(base_url)
            ready(told if listen.path else Address(host=listen.host, port=told.port))
            await stopping.wait()
            async with asyncio.timeout(STOP_S):
                await serving.aclose()
                await host.close()
    except TimeoutError:
        logger.warning("%s did not close within %g s", found.id, STOP_S)


class _Records(logging.Handler):
    """Log records as lines that the parent reads."""

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if record.exc_info:
            message += "\n" + (logging.Formatter().formatException(record.exc_info))
        entry = {"level": record.levelno, "logger": record.name, "message": message, "ids": bound_ids()}
        try:
            sys.stderr.write(f"{RECORD}{json.dumps(entry)}\n")
            sys.stderr.flush()
        except (OSError, ValueError):  # the parent is gone
            pass


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
    logging.getLogger("greenroom").setLevel(spec.log_level)
    found = read_binding(spec.folder_path)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_serve_child(found, spec))
        # A thread in an SDK that cannot be stopped must not keep the process: all that had to be closed is closed.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


async def _serve_child(found: FoundBinding, spec: HostSpec) -> None:
    places = ChildPlaces(spec)
    listen = Address.parse(spec.listen)
    try:
        await serve_host(found, places, spec.token, listen, _say_ready)
    finally:
        await places.close()
        if listen.path:
            with contextlib.suppress(OSError):
                Path(listen.path).parent.rmdir()
