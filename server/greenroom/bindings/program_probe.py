"""Whether a program that was started answers yet."""

import asyncio
from abc import ABC, abstractmethod
from dataclasses import dataclass

ANSWER_S = 5.0
"""A probe that takes longer counts as no answer yet."""
STATUS_LINE_BYTES = 4096


class Probe(ABC):
    async def answers(self, host: str, port: int) -> bool:
        try:
            async with asyncio.timeout(ANSWER_S):
                return await self._ask(host, port)
        except (OSError, EOFError, ValueError):  # a timeout is an OSError; half an answer is none
            return False

    @abstractmethod
    async def _ask(self, host: str, port: int) -> bool: ...


@dataclass(frozen=True, slots=True)
class TcpProbe(Probe):
    """Ready as soon as the port takes a connection."""

    async def _ask(self, host: str, port: int) -> bool:
        _, writer = await asyncio.open_connection(host, port)
        await _close(writer)
        return True


@dataclass(frozen=True, slots=True)
class HttpProbe(Probe):
    """Ready as soon as ``GET path`` is answered with a status below 400 (or just ``status``, where given)."""

    path: str = "/"
    status: int | None = None

    async def _ask(self, host: str, port: int) -> bool:
        reader, writer = await asyncio.open_connection(host, port, limit=STATUS_LINE_BYTES)
        try:
            request = f"GET {self.path} HTTP/1.1\r\nHost: {host}:{port}\r\nAccept: */*\r\nConnection: close\r\n\r\n"
            writer.write(request.encode())
            await writer.drain()
            protocol, code, *_ = (await reader.readuntil(b"\n")).split(maxsplit=2)
        finally:
            await _close(writer)
        if not protocol.startswith(b"HTTP/"):
            return False
        return int(code) < 400 if self.status is None else int(code) == self.status


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    try:
        await writer.wait_closed()
    except OSError:  # the other side was faster
        pass
