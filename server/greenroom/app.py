"""The composition root: everything is built here and passed on; nothing is global, so two servers fit in one process.

home, .env, config.yaml -> store, bindings, personalities -> sessions -> doors -> uvicorn
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn

from greenroom import __version__, garbage
from greenroom.bindings.discovery import BindingShelf, FoundBinding
from greenroom.bindings.engines import Engines
from greenroom.bindings.isolation.isolation import Isolation, IsolationSettings
from greenroom.config.load import LoadedConfig, load_config
from greenroom.config.named import NamedConfigs
from greenroom.config.schema import Config
from greenroom.config.secrets import Secrets, read_dotenv
from greenroom.doors.safety import Guard, Token
from greenroom.doors.socketio.client import Limits
from greenroom.doors.socketio.door import SocketDoor
from greenroom.doors.web.app import create_asgi_app, create_web_app, uvicorn_settings
from greenroom.errors import BadRequest, GreenroomError, Unavailable
from greenroom.log import set_up_logging
from greenroom.metrics import Metrics
from greenroom.paths import Home, find_home, make_folder
from greenroom.personalities.shelf import PersonalityShelf
from greenroom.places import BindingPlaces
from greenroom.session.directory import SessionDirectory
from greenroom.session.house import House
from greenroom.session.operations import release_all
from greenroom.session.settings import CurrentConfig
from greenroom.store import Store
from greenroom.values import Access, Role

if TYPE_CHECKING:
    from greenroom.bindings.environments import Environments
    from greenroom.bindings.programs import Programs

logger = logging.getLogger(__name__)

_JOBS_END_S = 0.7
"""how long running turns may take to end when the server stops; with the rest it stays below two seconds"""
EXIT_OK = 0
EXIT_REFUSED = 2


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """What the command line says; ``None``: nothing was said."""

    home: Path | None = None
    config: Path | None = None
    host: str | None = None
    port: int | None = None
    token: str | None = None
    log_level: str | None = None
    insecure: bool | None = None

    def overrides(self) -> dict[str, Any]:
        return {
            "server.host": self.host,
            "server.port": self.port,
            "server.insecure": self.insecure or None,
            "log.level": self.log_level,
        }


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a server is built from."""

    home: Home
    loaded: LoadedConfig
    secrets: Secrets
    tokens: tuple[Token, ...]
    overrides: Mapping[str, Any]
    notes: tuple[str, ...] = ()


def prepare(options: ServeOptions, environ: Mapping[str, str]) -> Prepared:
    """Read home, ``.env`` and configuration. :raises GreenroomError: with a sentence for the terminal."""
    home = find_home(options.home, env=environ)
    dotenv, notes = read_dotenv(home.env_file)
    secrets = Secrets(environ, dotenv)
    path = options.config or home.config_file
    if path is not None and not path.is_file():
        raise BadRequest(f"there is no configuration file {path}")
    overrides = options.overrides()
    loaded = load_config(path, secrets.environment(), overrides)
    tokens = _tokens(loaded.config, secrets, options.token)
    return Prepared(home, loaded, secrets, tokens, overrides, (*home.notes, *notes, *loaded.warnings))


def _tokens(config: Config, secrets: Secrets, given: str | None) -> tuple[Token, ...]:
    tokens = []
    for entry in config.server.tokens:
        value = secrets.get(entry.env)
        if not value:
            raise BadRequest(
                f"server.tokens: {entry.name}: the environment variable {entry.env} is not set; "
                "set it there or in the .env file"
            )
        tokens.append(Token(value, Access.parse(entry.role), frozenset(entry.sessions)))
    owner = given or secrets.get("GREENROOM_TOKEN")
    if owner:
        tokens.append(Token(owner, Access.OWNER))
    return tuple(tokens)


class Greenroom:
    """One server: its rooms, and the ASGI application through which clients come in."""

    def __init__(self, prepared: Prepared, store: Store) -> None:
        config = prepared.loaded.config
        home = prepared.home
        named = NamedConfigs(home.configs, prepared.secrets.environment(), prepared.overrides)
        current = CurrentConfig(prepared.loaded, named)
        self.isolation = Isolation(
            IsolationSettings(
                config.isolation, config.isolation_idle_s, prepared.secrets.get("GREENROOM_BIND_TOKEN") or ""
            ),
            _interpreters(home),
        )
        bindings = BindingShelf(home.binding_roots, self.isolation)
        self.store = store
        self.programs = _LazyPrograms(home.logs)
        places = BindingPlaces(home, prepared.secrets, lambda: current.value, self.programs.get)
        self.engines = Engines(bindings, places)
        self.house = House(
            config=current,
            store=store,
            bindings=bindings,
            engines=self.engines,
            environments=partial(_environments, home),
            personalities=PersonalityShelf(home.personality_roots),
            metrics=Metrics(),
            prompts=home.prompts,
        )
        self.sessions = SessionDirectory(self.house)
        guard = Guard(
            host=config.server.host,
            tokens=prepared.tokens,
            allowed_hosts=config.server.allowed_hosts,
            allowed_origins=config.server.allowed_origins,
            insecure=config.server.insecure,
        )
        self.door = SocketDoor(self.sessions, guard, limits=_limits(config), default_session=config.session.default)
        registry = self.house.metrics.registry
        registry.register(self.door.collector())
        assets = _Folders(self.house.personalities, bindings)
        self.app = create_asgi_app(self.door.asgi, create_web_app(guard, assets, registry, self._health))
        self._started_at = time.monotonic()

    async def _health(self) -> Mapping[str, Any]:
        return {
            "uptime_s": round(time.monotonic() - self._started_at, 1),
            "sessions": len(self.sessions),
            "clients": self.door.clients,
            "engines": self.engines.open_count,
            "bindings": {name: found.status for name, found in self.house.bindings.all().items()},
        }

    async def warm_up(self) -> None:
        """Open what the first turn needs, so that it is no slower than the second."""
        await asyncio.to_thread(self.house.personalities.languages)
        session = await self.sessions.get(self.house.config.value.session.default)
        held = []
        try:
            personality = session.personality()
            for role in (Role.T2T, Role.TTS):
                if session.operations.has(role):
                    held.append(await session.operations.hold(role, personality.voice if role is Role.TTS else None))
            held += await session.operations.hold_filters(Role.FILTER_TEXT)
        except GreenroomError as error:
            logger.warning("warming up: %s", error.message)
        finally:
            await release_all(held)

    async def close(self) -> None:
        """Tell everyone, save everything, let go."""
        await self.sessions.close("the server is shutting down", _JOBS_END_S)
        await self.door.close("shutdown", "the server is shutting down; it may come back in a moment")

    async def release(self) -> None:
        await self.engines.close()
        await self.isolation.close()
        await self.programs.close()
        await self.store.close()


class _LazyPrograms:
    """What runs external programs is imported when a binding needs one."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._programs: Programs | None = None

    def get(self) -> "Programs":
        if self._programs is None:
            from greenroom.bindings.programs import Programs

            self._programs = Programs(self._logs)
        return self._programs

    async def close(self) -> None:
        if self._programs is not None:
            await self._programs.close()


def _environments(home: Home) -> "Environments":
    from greenroom.bindings.environments import Environments

    return Environments(home)


def _interpreters(home: Home) -> Callable[[FoundBinding], Path | None]:
    """What knows the bindings' own environments is imported when a binding that runs in a process of its own asks."""

    def python_for(found: FoundBinding) -> Path | None:
        return _environments(home).python_for(found)

    return python_for


class _Folders:
    """Where the files are that browsers may ask for."""

    def __init__(self, personalities: PersonalityShelf, bindings: BindingShelf) -> None:
        self._personalities = personalities
        self._bindings = bindings

    def personality_folder(self, language: str, category: str, name: str) -> Path | None:
        try:
            return self._personalities.get(f"{language}/{category}/{name}").folder
        except GreenroomError:
            return None

    def binding_folder(self, binding: str) -> Path | None:
        found = self._bindings.all().get(binding)
        return found.folder if found else None


def _limits(config: Config) -> Limits:
    limits = config.limits
    return Limits(
        max_clients=config.server.max_clients,
        requests_per_s=limits.requests_per_s,
        requests_burst=limits.requests_burst,
        outbox_bytes=limits.outbox_bytes,
        inbox_events=limits.inbox_events,
        send_packets=limits.send_packets,
    )


@asynccontextmanager
async def open_greenroom(prepared: Prepared) -> AsyncGenerator[Greenroom, None]:
    """:raises Unavailable: when the database cannot be opened."""
    store_config = prepared.loaded.config.store
    if not store_config.url:
        make_folder(prepared.home.data)
    store = await Store.open(store_config.url or prepared.home.database, store_config.synchronous)
    try:
        greenroom = Greenroom(prepared, store)
    except BaseException:
        await store.close()
        raise
    try:
        yield greenroom
    finally:
        await greenroom.release()


def listen(host: str, port: int) -> socket.socket:
    """A bound socket. :raises Unavailable: saying what is in the way."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise Unavailable(f"{host} is no address of this machine: {error.strerror or error}") from error
    bound = socket.socket(family, kind, protocol)
    if sys.platform != "win32":
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(address)
        bound.listen(2048)
    except OSError as error:
        bound.close()
        reason = "it is in use, perhaps by another Greenroom" if error.errno in _IN_USE else error.strerror or error
        raise Unavailable(f"port {port} on {host} cannot be opened: {reason}; choose another with --port") from error
    bound.setblocking(False)
    return bound


_IN_USE = {98, 48, 10048}
"""EADDRINUSE on Linux, macOS and Windows"""


class _Server(uvicorn.Server):
    """uvicorn without its signal handling: on a signal, clients are told and jobs end before the transports close."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()
        self._leaving = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    async def main_loop(self) -> None:
        """As uvicorn's, which wakes ten times a second to look whether it shall stop: once a second, for the clock."""
        tick = 0
        while not await self.on_tick(tick):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._leaving.wait(), 1.0)
            tick += 10

    def leave(self) -> None:
        self.should_exit = True
        self._leaving.set()


async def serve(prepared: Prepared) -> None:
    """Serve until a signal. :raises GreenroomError: when it cannot start."""
    config = prepared.loaded.config.server
    bound = listen(config.host, config.port)
    try:
        async with open_greenroom(prepared) as greenroom:
            server = _Server(
                uvicorn.Config(
                    greenroom.app,
                    log_config=None,
                    timeout_graceful_shutdown=1,
                    **uvicorn_settings(),
                )
            )
            stopping = asyncio.Event()
            with _signals(stopping):
                serving = asyncio.create_task(server.serve(sockets=[bound]), name="uvicorn")
                warming = asyncio.create_task(_started(server, greenroom, bound), name="start")
                stopped = asyncio.create_task(stopping.wait(), name="wait for a signal")
                await asyncio.wait({serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
                logger.info("stopping")
                for task in (warming, stopped):
                    task.cancel()
                await asyncio.gather(warming, stopped, return_exceptions=True)
                await greenroom.close()
                server.leave()
                await serving
    finally:
        bound.close()


async def _started(server: _Server, greenroom: Greenroom, bound: socket.socket) -> None:
    await server.listening.wait()
    host, port = bound.getsockname()[:2]
    _announce(greenroom, f"http://{f'[{host}]' if ':' in host else host}:{port}")
    try:
        await greenroom.warm_up()
    except GreenroomError as error:
        logger.warning("warming up: %s", error.message)
    await garbage.collect_when(lambda: greenroom.sessions.idle)


def _announce(greenroom: Greenroom, address: str) -> None:
    default = "" if address.endswith(":9601") else f" --url {address}"
    lines = (
        f"Greenroom {__version__} is ready at {address}",
        f'  try   greenroom say "Hello, who are you?"{default}     in another terminal',
        f"  or    greenroom chat{default}",
        "  stop  Ctrl-C",
    )
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


@contextmanager
def _signals(stopping: asyncio.Event) -> Iterator[None]:
    """The first signal asks to stop; a second one while stopping ends the process at once."""
    loop = asyncio.get_running_loop()
    names = [name for name in ("SIGINT", "SIGTERM", "SIGBREAK") if hasattr(signal, name)]

    def stop(*_: object) -> None:
        if stopping.is_set():
            os._exit(130)
        loop.call_soon_threadsafe(stopping.set)

    before = {name: signal.signal(getattr(signal, name), stop) for name in names}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)


def run(options: ServeOptions) -> int:
    """Serve until a signal; returns the exit code. What stops the start is said on standard error in one sentence."""
    try:
        prepared = prepare(options, os.environ)
        with set_up_logging(prepared.loaded.config.log, prepared.home.logs):
            for note in prepared.notes:
                logger.warning("%s", note)
            with asyncio.Runner(loop_factory=_loop_factory()) as runner:
                runner.run(serve(prepared))
    except GreenroomError as error:
        sys.stderr.write(f"greenroom: {error.message}\n")
        return EXIT_REFUSED
    except KeyboardInterrupt:
        return 130
    return EXIT_OK


def _loop_factory() -> Any:
    """uvloop where it is installed (Linux, macOS); the standard loop elsewhere."""
    with contextlib.suppress(ImportError):
        import uvloop

        return uvloop.new_event_loop
    return None
