"""The composition root: everything is built here and passed on; nothing is global, so two servers fit in one process.

home, .env, config.yaml -> store, bindings, personalities -> sessions -> doors -> uvicorn
"""

import asyncio
import contextlib
import logging
import os
import socket
import sys
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from greenroom import garbage
from greenroom.bindings.discovery import BindingShelf, FoundBinding
from greenroom.bindings.engines import Engines, LoadedOperation
from greenroom.bindings.isolation.isolation import Isolation, IsolationSettings
from greenroom.bindings.programs_on_demand import ProgramsOnDemand
from greenroom.config.named import NamedConfigs
from greenroom.config.schema import Config, TlsFiles
from greenroom.doors.asgi import AsgiApp
from greenroom.doors.discretion import Discretion
from greenroom.doors.door import Rooms
from greenroom.doors.proxies import Proxies
from greenroom.doors.rates import Rates
from greenroom.doors.socketio.client import Limits
from greenroom.doors.socketio.door import SocketDoor
from greenroom.doors.table import Entrance, entrances
from greenroom.doors.web.app import create_asgi_app, create_web_app
from greenroom.errors import GreenroomError
from greenroom.log import set_up_logging
from greenroom.metrics import Metrics
from greenroom.paths import Home, make_folder
from greenroom.personalities.shelf import PersonalityShelf
from greenroom.places import BindingPlaces
from greenroom.serving.listeners import Listener, bound, guard_of
from greenroom.serving.preparation import Prepared, ServeOptions, prepare
from greenroom.serving.ready import ready_lines
from greenroom.serving.server import HttpServer, stop_signals
from greenroom.session.directory import SessionDirectory
from greenroom.session.house import House
from greenroom.session.operations import release_all
from greenroom.session.settings import CurrentConfig
from greenroom.store import Store
from greenroom.values import Role

if TYPE_CHECKING:
    from greenroom.bindings.environments import Environments
    from greenroom.doors.wyoming.door import WyomingDoor
    from greenroom.serving.certificate import Certificate

__all__ = [
    "EXIT_OK",
    "EXIT_REFUSED",
    "Greenroom",
    "Prepared",
    "ServeOptions",
    "open_greenroom",
    "prepare",
    "run",
    "serve",
]

logger = logging.getLogger(__name__)

_JOBS_END_S = 0.7
"""how long running turns may take to end when the server stops; with the rest it stays below two seconds"""
_DOORS_CLOSE_S = 0.6
EXIT_OK = 0
EXIT_REFUSED = 2


class Greenroom:
    """One server: its rooms, and the ASGI application through which clients come in."""

    def __init__(self, prepared: Prepared, store: Store) -> None:
        config = prepared.loaded.config
        home = prepared.home
        named = NamedConfigs(home.configs, prepared.secrets.environment(), prepared.overrides)
        current = CurrentConfig(prepared.loaded, named, named.name_of(prepared.loaded.path))
        self.isolation = Isolation(
            IsolationSettings(
                config.isolation,
                config.isolation_idle_s,
                prepared.secrets.get("GREENROOM_BIND_TOKEN") or "",
                home.logs,
            ),
            _interpreters(home),
        )
        bindings = BindingShelf(home.binding_roots, self.isolation)
        self.store = store
        self.programs = ProgramsOnDemand(home.logs)
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
        guard = guard_of(config, prepared.listeners, prepared.tokens)
        default = config.session.default
        limits = _limits(config)
        discretion = Discretion.of(home)
        rates = Rates(limits.requests_per_s, limits.requests_burst)
        self.rooms = Rooms(self.sessions, self.house, guard, default, rates, discretion)
        self.door = SocketDoor(self.sessions, guard, limits=limits, default_session=default, discretion=discretion)
        registry = self.house.metrics.registry
        registry.register(self.door.collector())
        assets = _Folders(self.house.personalities, bindings)
        self._web = create_web_app(guard, assets, registry, self._health)
        self._proxies = Proxies(config.server.trusted_proxies, config.server.root_path)
        self._entrances: dict[str, list[Entrance]] = {}
        self._wyoming: list[WyomingDoor] = []
        self._started_at = time.monotonic()

    def app_for(self, doors: Iterable[str]) -> AsgiApp:
        """The ASGI application of an address; a door that stands at several of them is one."""
        wanted = tuple(doors)
        for name in wanted:
            if name not in self._entrances:
                self._entrances[name] = entrances([name], self.rooms)
        return create_asgi_app(
            self.door.asgi if "socketio" in wanted else None,
            self._web if "web" in wanted else None,
            [entrance for name in wanted for entrance in self._entrances[name]],
            self._proxies,
        )

    async def open_wyoming(self, made: socket.socket, listener: Listener) -> None:
        """The Wyoming door on a bound socket."""
        from greenroom.doors.wyoming.door import open_wyoming
        from greenroom.serving.certificate import lan_addresses

        self._wyoming.append(await open_wyoming(self.rooms, made, listener.place.host, lan_addresses()))

    def _clients(self) -> dict[str, int]:
        """Lasting connections by door, of the doors that are open."""
        found = {name: sum(one.clients for one in each) for name, each in self._entrances.items()}
        if "socketio" in found:
            found["socketio"] = self.door.clients
        if self._wyoming:
            found["wyoming"] = sum(door.clients for door in self._wyoming)
        return found

    async def _health(self) -> Mapping[str, Any]:
        doors = self._clients()
        return {
            "uptime_s": round(time.monotonic() - self._started_at, 1),
            "sessions": len(self.sessions),
            "clients": sum(doors.values()),
            "doors": {name: {"clients": count} for name, count in doors.items()},
            "engines": self.engines.open_count,
            "bindings": {name: found.status for name, found in self.house.bindings.all().items()},
        }

    async def warm_up(self) -> None:
        """Open what the first turn needs, so that it is no slower than the second."""
        await asyncio.to_thread(self.house.personalities.languages)
        session = await self.sessions.get(self.house.config.value.session.default)
        operations = session.operations
        voice = None
        held: list[LoadedOperation] = []
        try:
            with _told():
                voice = session.personality().voice
            for role in (Role.T2T, Role.TTS):
                with _told():
                    if operations.has(role):
                        held.append(await operations.hold(role, voice if role is Role.TTS else None))
            with _told():
                held += await operations.hold_filters(Role.FILTER_TEXT)
        finally:
            await release_all(held)

    async def close(self) -> None:
        """Tell everyone, save everything, let go."""
        await self.sessions.close("the server is shutting down", _JOBS_END_S)
        others = [one.close() for each in self._entrances.values() for one in each]
        others += [door.close() for door in self._wyoming]
        told = self.door.close("shutdown", "the server is shutting down; it may come back in a moment")
        ended = await asyncio.gather(
            told, *(asyncio.wait_for(one, _DOORS_CLOSE_S) for one in others), return_exceptions=True
        )
        for failure in ended:
            if isinstance(failure, TimeoutError):
                logger.warning("a door did not close within %g s", _DOORS_CLOSE_S)
            elif isinstance(failure, BaseException):
                logger.error("a door did not close: %s", failure, exc_info=failure)

    async def release(self) -> None:
        await self.engines.close()
        await self.isolation.close()
        await self.programs.close()
        await self.store.close()


@contextmanager
def _told() -> Iterator[None]:
    """What does not open is said, and the rest is opened all the same."""
    try:
        yield
    except GreenroomError as error:
        logger.warning("warming up: %s", error.message)


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


async def serve(prepared: Prepared) -> None:
    """Serve until a signal. :raises GreenroomError: when it cannot start."""
    listeners = prepared.listeners
    certificate = _certificate(prepared)
    context = certificate.context() if certificate is not None else None
    with bound(listeners) as sockets:
        async with open_greenroom(prepared) as greenroom:
            opened = list(zip(listeners, sockets, strict=True))
            servers = [
                (HttpServer(greenroom.app_for(listener.doors), context if listener.tls else None), made)
                for listener, made in opened
                if not listener.is_wyoming
            ]
            stopping = asyncio.Event()
            with stop_signals(stopping):
                serving = [asyncio.create_task(server.serve(sockets=[made])) for server, made in servers]
                starting = asyncio.create_task(_started(greenroom, servers, opened, certificate), name="start")
                stopped = asyncio.create_task(stopping.wait(), name="wait for a signal")
                failing = asyncio.create_task(_failed(starting), name="wait for a failed start")
                await asyncio.wait({*serving, stopped, failing}, return_when=asyncio.FIRST_COMPLETED)
                logger.info("stopping")
                for task in (starting, stopped, failing):
                    task.cancel()
                ended = await asyncio.gather(starting, stopped, failing, return_exceptions=True)
                await greenroom.close()
                for server, _ in servers:
                    server.leave()
                await asyncio.gather(*serving)
                if isinstance(ended[0], GreenroomError):
                    raise ended[0]


def _certificate(prepared: Prepared) -> "Certificate | None":
    """What https is served with; ``None`` where nothing is. :raises GreenroomError: it cannot be used."""
    if not any(listener.tls for listener in prepared.listeners):
        return None
    from greenroom.serving.certificate import given_certificate, own_certificate

    server = prepared.loaded.config.server
    if isinstance(server.tls, TlsFiles):
        return given_certificate(server.tls.cert, server.tls.key, prepared.home.root)
    hosts = [listener.place.host for listener in prepared.listeners if not listener.place.path]
    names = [name.rpartition(":")[0] or name for name in server.allowed_hosts]
    return own_certificate(prepared.home.tls, [*hosts, *names])


async def _failed(starting: "asyncio.Task[None]") -> None:
    """Returns only when the start has failed."""
    await asyncio.wait({starting})
    if starting.cancelled() or starting.exception() is None:
        await asyncio.Event().wait()


async def _started(
    greenroom: Greenroom,
    servers: Sequence[tuple[HttpServer, socket.socket]],
    opened: Sequence[tuple[Listener, socket.socket]],
    certificate: "Certificate | None",
) -> None:
    for server, _ in servers:
        await server.listening.wait()
    for listener, made in opened:
        if listener.is_wyoming:
            await greenroom.open_wyoming(made, listener)
    lines = ready_lines([listener for listener, _ in opened], [made for _, made in opened], certificate)
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()
    try:
        await greenroom.warm_up()
    except GreenroomError as error:
        logger.warning("warming up: %s", error.message)
    await garbage.collect_when(lambda: greenroom.sessions.idle)


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
