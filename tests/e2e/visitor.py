"""A client as found in the wild: python-socketio's own, which notes everything it is told in the order of the wire.

async with visitor(url, session="den") as ana:
    job_id = await ana.job("response", text="Hello")
    told = await ana.finished(job_id)
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self

import aiohttp
import socketio

PATIENCE_S = 150.0
"""how long a test waits for what must come; only a broken server makes it wait so long"""
ACKNOWLEDGED = "(acknowledged)"
"""name under which acknowledgements stand among the events"""


@dataclass(frozen=True, slots=True)
class Told:
    name: str
    data: Any

    @property
    def job_id(self) -> str | None:
        return self.data.get("job_id") if isinstance(self.data, dict) else None


class Visitor:
    def __init__(self, http: aiohttp.ClientSession, *, reconnects: bool = False) -> None:
        self.sio = socketio.AsyncClient(
            http_session=http,
            reconnection=reconnects,
            reconnection_delay=0.02,
            reconnection_delay_max=0.2,
            randomization_factor=0,
        )
        self.told: list[Told] = []
        self.gone = asyncio.Event()
        self.times: list[float] = []
        """loop time of each of ``told``"""
        self._more = asyncio.Event()
        self._read = 0
        self.sio.on("*", self._hear)
        self.sio.on("disconnect", self._left)

    def note(self, name: str, data: Any) -> None:
        self.told.append(Told(name, data))
        self.times.append(asyncio.get_running_loop().time())
        self._more.set()

    async def _hear(self, name: str, *data: Any) -> None:
        self.note(name, data[0] if data else None)

    async def _left(self, *_: object) -> None:
        self.gone.set()
        self._more.set()

    # asking

    async def tell(self, name: str, *arguments: Any) -> None:
        """An event for which no acknowledgement is wanted."""
        await self.sio.emit(name, tuple(arguments) if arguments else None)

    async def ask(self, name: str, *arguments: Any) -> Any:
        """The acknowledgement of an event with any arguments."""
        answers: list[Any] = []

        def acknowledged(*answer: Any) -> None:
            answers.append(answer[0] if len(answer) == 1 else answer)
            self.note(ACKNOWLEDGED, answers[0])

        await self.sio.emit(name, tuple(arguments) if arguments else None, callback=acknowledged)
        await self._until(lambda: bool(answers))
        return answers[0]

    async def done(self, name: str, /, **data: Any) -> dict[str, Any]:
        """The acknowledgement of what must succeed."""
        answer: dict[str, Any] = await self.ask(name, data)
        assert answer["success"], repr((name, answer))
        return answer

    async def refused(self, name: str, /, **data: Any) -> dict[str, Any]:
        """The acknowledgement of what must be refused: a sentence and a code."""
        answer: dict[str, Any] = await self.ask(name, data)
        assert answer["success"] is False, (name, answer)
        assert answer["error"] and answer["code"], (name, answer)
        return answer

    async def job(self, name: str, /, **data: Any) -> str:
        """Queue a job. -> its id"""
        return str((await self.done(name, **data))["job_id"])

    async def run(self, name: str, /, **data: Any) -> list[Told]:
        """Queue a job, and wait for its end. -> its events"""
        return await self.finished(await self.job(name, **data))

    # listening

    async def seen(self, test: Callable[[Told], bool], start: int = 0) -> int:
        """Index of the first event from ``start`` on that passes the test, now or when it comes."""
        found = start

        def is_found() -> bool:
            nonlocal found
            while found < len(self.told) and not test(self.told[found]):
                found += 1
            return found < len(self.told)

        await self._until(is_found)
        return found

    async def _until(self, true: Callable[[], bool]) -> None:
        """Looks again whenever something was told."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not true():
                    if self.gone.is_set() and not self.sio.reconnection:
                        raise AssertionError(f"the connection is gone; told before: {self.told[-5:]}")
                    self._more.clear()
                    await self._more.wait()
        except TimeoutError:
            raise AssertionError(f"waited in vain; the last that was told: {self.told[-5:]}") from None

    async def next(self, *names: str, **wanted: Any) -> dict[str, Any]:
        """The next event of one of these names with these members, after the one that ``next`` gave before."""

        def fits(told: Told) -> bool:
            return told.name in names and all(told.data.get(key) == value for key, value in wanted.items())

        at = await self.seen(fits, self._read)
        self._read = at + 1
        data: dict[str, Any] = self.told[at].data
        return data

    async def finished(self, job_id: str) -> list[Told]:
        """All events of a job, once it has ended."""
        await self.seen(lambda told: told.name == "job_finished" and told.job_id == job_id)
        return self.of(job_id)

    def of(self, job_id: str) -> list[Told]:
        return [told for told in self.told if told.job_id == job_id and told.name != ACKNOWLEDGED]

    def named(self, *names: str) -> list[dict[str, Any]]:
        return [told.data for told in self.told if told.name in names]

    @property
    def names(self) -> list[str]:
        return [told.name for told in self.told if told.name != ACKNOWLEDGED]

    def numbers(self) -> list[int]:
        """``seq`` of every session event, in the order in which they came."""
        return [
            told.data["seq"]
            for told in self.told
            if isinstance(told.data, dict)
            and "session" in told.data
            and told.name not in (ACKNOWLEDGED, "session_joined")
        ]

    async def caught_up(self, seq: int) -> None:
        """Every session event up to this number has been told."""
        await self.seen(lambda told: isinstance(told.data, dict) and told.data.get("seq", 0) >= seq)

    # connecting

    async def connect(
        self,
        url: str,
        auth: Any = None,
        *,
        transports: Sequence[str] = ("websocket",),
        headers: dict[str, str] | None = None,
    ) -> Self:
        await self.sio.connect(url, auth=auth, transports=list(transports), headers=headers or {}, wait_timeout=60)
        return self

    async def close(self) -> None:
        await self.sio.shutdown()
        ws = self.sio.eio.ws
        if ws is not None:
            await ws.close()
            ws._response.close()  # engine.io leaves it open where the server hung up first

    async def drop(self) -> None:
        """The network goes away: no word to the server."""
        ws = self.sio.eio.ws
        assert ws is not None
        transport = ws._response.connection.transport
        assert transport is not None
        transport.abort()


@asynccontextmanager
async def visitor(
    url: str,
    auth: Any = None,
    *,
    transports: Sequence[str] = ("websocket",),
    headers: dict[str, str] | None = None,
    **more_auth: Any,
) -> AsyncGenerator[Visitor, None]:
    """A client that has connected; keywords become its ``auth``. Without any it is one of lollms' old clients."""
    async with aiohttp.ClientSession() as http:
        one = Visitor(http)
        try:
            await one.connect(url, more_auth or auth, transports=transports, headers=headers)
            if more_auth.get("session"):
                await one.next("session_joined")
            yield one
        finally:
            await one.close()


def end_of(told: Sequence[Told]) -> dict[str, Any]:
    """What the end event of a job says."""
    (end,) = [each.data for each in told if each.name == "job_finished"]
    assert isinstance(end, dict)
    return end


def text_of(told: Sequence[Told]) -> str:
    return "".join(each.data["chunk"] for each in told if each.name == "text_chunk" and each.data["type"] == 0)


def pcm_of(told: Sequence[Told]) -> bytes:
    return b"".join(each.data["audio"] for each in told if each.name == "audio_chunk")
