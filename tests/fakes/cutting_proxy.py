"""A TCP relay that cuts connections after so many bytes, wherever that is: in a header, a frame, an attachment."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager


class CuttingProxy:
    """:param cuts: for each connection in turn, after how many bytes from the server it ends; then no more cuts."""

    def __init__(self, port: int, cuts: Iterator[int]) -> None:
        self._port = port
        self._cuts = cuts
        self._tasks: set[asyncio.Task[None]] = set()
        self.made = 0
        """cuts so far"""
        self.url = ""

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        back: asyncio.StreamWriter | None = None
        try:
            front, back = await asyncio.open_connection("127.0.0.1", self._port)
            up = asyncio.create_task(_copy(reader, back, None))
            down = asyncio.create_task(_copy(front, writer, next(self._cuts, None)))
            await asyncio.wait((up, down), return_when=asyncio.FIRST_COMPLETED)
            self.made += int(down.done() and not down.cancelled() and down.result())
            for one in (up, down):
                one.cancel()
            await asyncio.gather(up, down, return_exceptions=True)
        except (OSError, asyncio.CancelledError):
            pass  # the server is away, or the relay stops: this connection ends too
        finally:
            for end in (writer, back):
                if end is not None:
                    end.transport.abort()
            self._tasks.discard(task)


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter, limit: int | None) -> bool:
    """True if it ended at the limit."""
    left = limit
    try:
        while data := await source.read(4096):
            piece = data if left is None else data[:left]
            target.write(piece)
            await target.drain()
            if left is not None:
                left -= len(piece)
                if left <= 0:
                    return True
    except OSError:
        pass  # either end has gone
    return False


@asynccontextmanager
async def cutting_proxy(server_url: str, cuts: Iterator[int]) -> AsyncIterator[CuttingProxy]:
    proxy = CuttingProxy(int(server_url.rsplit(":", 1)[1]), cuts)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()
