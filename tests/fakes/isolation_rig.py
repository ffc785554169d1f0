"""Opens isolated bindings as the server does, and hears what the fake one in the other process tells."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from fakes.binding_rig import BINDINGS, Places
from greenroom.bindings.discovery import BindingShelf
from greenroom.bindings.engines import Engines, LoadedOperation
from greenroom.bindings.isolation.children import ChildPeer
from greenroom.bindings.isolation.isolation import Isolation, IsolationSettings
from greenroom.values import Message, Prompt, Role

ISOLATED = Path(__file__).parent / "isolated"
PATIENCE_S = 30.0


class Rig:
    def __init__(self, modes: Mapping[str, str], idle_s: float, token: str, places: Places) -> None:
        self.isolation = Isolation(IsolationSettings(modes, idle_s, token))
        self.engines = Engines(BindingShelf((BINDINGS, ISOLATED), self.isolation), places)
        self.port = 0
        self._told: list[str] = []
        self._news = asyncio.Condition()
        self.hearing: list[asyncio.Task[None]] = []

    async def load(self, role: Role, binding: str = "apart", **options: Any) -> LoadedOperation:
        told = {"tell": self.port} if binding == "apart" else {}
        return await self.engines.load(binding, role, {**told, **options})

    async def text(self, **options: Any) -> Any:
        return (await self.load(Role.T2T, **options)).operation

    def child(self, binding: str = "apart") -> ChildPeer:
        peer = self.isolation.peers()[binding]
        assert isinstance(peer, ChildPeer)
        return peer

    async def heard(self, text: str, times: int = 1) -> None:
        """Wait until the backend has told this so often."""
        async with asyncio.timeout(PATIENCE_S), self._news:
            await self._news.wait_for(lambda: self._told.count(text) >= times)

    async def hear(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                async with self._news:
                    self._told.append(line.decode().strip())
                    self._news.notify_all()
        except ConnectionError:  # its process was killed
            pass
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    def hear_soon(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.hearing.append(asyncio.create_task(self.hear(reader, writer)))


@asynccontextmanager
async def isolated(
    modes: Mapping[str, str] | None = None, *, idle_s: float = 0, token: str = "", places: Places | None = None
) -> AsyncIterator[Rig]:
    rig = Rig(modes or {}, idle_s, token, places or Places())
    server = await asyncio.start_server(rig.hear_soon, "127.0.0.1", 0)
    rig.port = server.sockets[0].getsockname()[1]
    try:
        yield rig
    finally:
        await rig.engines.close()
        await rig.isolation.close()
        _, writer = await asyncio.open_connection("127.0.0.1", rig.port)
        writer.write(b"over\n")
        await rig.heard("over")  # so whoever came before has been let in
        writer.close()
        await writer.wait_closed()
        server.close()
        await asyncio.gather(*rig.hearing)  # all who tell have ended


def asked(text: str) -> Prompt:
    return Prompt(messages=(Message("user", text),))


async def answer(operation: Any, text: str) -> str:
    async with aclosing(operation.generate(asked(text))) as deltas:
        return "".join([delta.text async for delta in deltas])


async def stream(*items: Any) -> AsyncGenerator[Any, None]:
    for item in items:
        yield item


async def reaped(pid: int) -> None:
    """Wait until nothing is left of a process whose parent looks: none of its threads, no socket of its."""

    def wait() -> None:
        with suppress(psutil.NoSuchProcess):
            psutil.Process(pid).wait(PATIENCE_S)

    await asyncio.to_thread(wait)


async def gone(pid: int) -> None:
    """Wait until there is no such process, or only what is left of it until its parent looks."""

    def wait() -> None:
        try:
            process = psutil.Process(pid)
            if process.status() != psutil.STATUS_ZOMBIE:
                process.wait(PATIENCE_S)
        except psutil.NoSuchProcess:
            pass

    await asyncio.to_thread(wait)
