"""A connection that lasts: it reconnects, resumes where it was, and repeats what was asked but not answered."""

import asyncio
import logging
import random
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from greenroom import __version__
from greenroom.client.cursor import Cursor, Rejoined, Verdict
from greenroom.client.failures import refused
from greenroom.client.link import Address, Link, LinkLost, trust
from greenroom.client.received import Missed, Received, decode
from greenroom.errors import Busy, GreenroomError, TooSlow, Unavailable
from greenroom.protocol.events import AudioDropped, SessionJoined

DEFAULT_CLIENT = f"greenroom-python/{__version__}"
_FIRST_DELAY_S = 0.1
_MAX_DELAY_S = 5.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ConnectOptions:
    url: str
    session: str = "main"
    token: str | None = None
    role: str | None = None
    """ask for less than the token allows: ``viewer``, ``performer`` or ``owner``"""
    plays: bool = False
    """this client plays the voice and says with ``audio_heard`` how far"""
    debug: bool = False
    """also send ``prompt_built``"""
    client: str = DEFAULT_CLIENT
    """``name/version``, as others see it in ``state_changed.by``"""
    connect_timeout_s: float = 10.0
    away_limit_s: float = 60.0
    """how long it tries to reconnect before everything that waits fails; 0: it does not reconnect"""
    certificate: str | Path | None = None
    """a PEM file that is trusted beside the system's, such as ``tls/cert.pem`` of the server's home"""
    insecure: bool = False
    """take any certificate of an https server, whoever it is"""


class Listener:
    """What the owner of a connection is told, in order. Every method must be quick."""

    def event(self, received: Received) -> None: ...
    def rejoined(self, how: Rejoined, joined: SessionJoined) -> None: ...
    def cut(self) -> None:
        """The connection is lost for now; work that is bound to it has ended."""

    def failed(self, error: GreenroomError) -> None:
        """It is lost for good."""


class Connection:
    def __init__(self, options: ConnectOptions, listener: Listener) -> None:
        self.options = options
        self.joined: SessionJoined | None = None
        """what the server said last about the session"""
        self._address = Address.parse(options.url)
        self._listener = listener
        self._tls: ssl.SSLContext | None = None
        self._cursor = Cursor()
        self._link: Link | None = None
        self._ready = asyncio.Event()
        self._greeted: asyncio.Future[None] | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._rejoining: asyncio.Task[None] | None = None
        self._failure: GreenroomError | None = None

    async def open(self) -> None:
        """:raises GreenroomError: why the server cannot be used. A first connection is tried once."""
        await self._connect()
        self._keeper = asyncio.create_task(self._keep(), name="greenroom client: keep connected")

    async def close(self) -> None:
        self._fail(Unavailable("this connection was closed"))
        for task in (self._keeper, self._rejoining):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        if self._link is not None:
            await self._link.close()

    async def request(self, event: str, data: Mapping[str, Any]) -> Mapping[str, Any]:
        """The successful acknowledgement. Asked again after a cut, so what changes something needs a ``command_id``.

        :raises GreenroomError: what the server refused it with, or that the connection is gone for good.
        """
        while True:
            await self._ready.wait()
            if self._failure is not None:
                raise self._failure
            link = self._link
            try:
                return await self.request_once(event, data)
            except LinkLost:
                if self._link is link:  # else it has been replaced meanwhile
                    self._ready.clear()

    async def request_once(self, event: str, data: Mapping[str, Any]) -> Mapping[str, Any]:
        """:raises LinkLost: the connection ended before the answer. :raises GreenroomError: as refused."""
        link = self._link
        if link is None or not self._ready.is_set():
            raise LinkLost
        answer = await link.call(event, data)
        if answer.get("success") is not True:
            raise refused(answer)
        return answer

    # Staying connected

    async def _connect(self) -> None:
        options = self.options
        greeted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._greeted = greeted
        tls = self._tls = self._tls or trust(self._address, options.certificate, options.insecure)
        link = Link(self._address, self._event, tls)
        try:
            await link.open(self._auth(), options.connect_timeout_s)
            lost = asyncio.create_task(link.lost.wait())
            try:
                await asyncio.wait((greeted, lost), timeout=options.connect_timeout_s, return_when="FIRST_COMPLETED")
            finally:
                lost.cancel()
                await asyncio.gather(lost, return_exceptions=True)
            if link.lost.is_set():
                raise Unavailable(f"{options.url} closed the connection at once")
            if not greeted.done():
                raise Unavailable(f"something answers at {options.url}, but it is no Greenroom", kind="foreign_server")
        except BaseException:
            await link.close()
            raise
        self._link = link
        self._ready.set()

    def _auth(self) -> dict[str, Any]:
        options = self.options
        auth: dict[str, Any] = {"session": options.session, "client": options.client, "plays": options.plays}
        if options.token:
            auth["token"] = options.token
        if options.role:
            auth["role"] = options.role
        if options.debug:
            auth["debug"] = True
        if self._cursor.epoch is not None:
            auth["epoch"], auth["last_seq"] = self._cursor.epoch, self._cursor.last_seq
        return auth

    async def _keep(self) -> None:
        while self._link is not None:
            await self._link.lost.wait()
            self._ready.clear()
            self._listener.cut()
            link, self._link = self._link, None
            await link.close()
            if self.options.away_limit_s <= 0:
                self._fail(Unavailable(f"the connection to {self.options.url} was lost"))
                return
            try:
                async with asyncio.timeout(self.options.away_limit_s):
                    await self._reconnect()
            except TimeoutError:
                away = f"{self.options.away_limit_s:g} s"
                self._fail(
                    Unavailable(f"the connection to {self.options.url} was lost and did not come back in {away}")
                )
            except GreenroomError as error:
                self._fail(error)

    async def _reconnect(self) -> None:
        delay = _FIRST_DELAY_S
        while True:
            try:
                await self._connect()
                return
            except (Unavailable, Busy, TooSlow) as error:
                logger.debug("not yet connected again: %s", error.message)
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311 -- spreads clients, guards nothing
            delay = min(2 * delay, _MAX_DELAY_S)

    def _fail(self, error: GreenroomError) -> None:
        if self._failure is None:
            self._failure = error
            self._listener.failed(error)
        self._ready.set()

    # What comes in

    def _event(self, name: str, data: object) -> None:
        received = decode(name, data)
        event = received.event
        if isinstance(event, SessionJoined):
            self._session_joined(event)
        elif received.session not in (None, self.options.session):
            logger.debug("an event of another session was ignored")
        elif isinstance(event, AudioDropped):
            self._number(received, event.from_seq, event.to_seq)
        elif received.seq is not None:
            self._number(received, received.seq, received.seq)
        else:
            self._listener.event(received)

    def _session_joined(self, event: SessionJoined) -> None:
        self.joined = event
        how = self._cursor.joined(epoch=event.epoch, seq=event.seq, resumed=event.resumed)
        self._listener.rejoined(how, event)
        if self._greeted is not None and not self._greeted.done():
            self._greeted.set_result(None)

    def _number(self, received: Received, first: int, last: int) -> None:
        step = self._cursor.take(first, last)
        if step.missed:
            gap = Missed(from_seq=step.missed.start, to_seq=step.missed.stop - 1)
            self._listener.event(Received(gap, received.session))
        if step.verdict is Verdict.TAKE:
            self._listener.event(received)
        elif step.verdict is Verdict.REJOIN:
            self._rejoining = asyncio.create_task(self._rejoin(), name="greenroom client: fill a gap")

    async def _rejoin(self) -> None:
        asked = {
            "session": self.options.session,
            "epoch": self._cursor.epoch,
            "last_seq": self._cursor.last_seq,
            "plays": self.options.plays,
        }
        try:
            await self.request_once("session_join", asked)
        except LinkLost:
            self._cursor.give_up()
        except GreenroomError as error:
            self._cursor.give_up()
            logger.warning("a gap in the events could not be filled: %s", error.message)
