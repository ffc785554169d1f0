"""What stops when a client leaves, and how far a side may run ahead of one that stands still."""

import asyncio
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import pytest

from fakes.rpc_services import PATIENCE_S, Watched, WatchedApi, watched
from greenroom.rpc import ApiError, Limits, Server, ServiceComponent
from greenroom.rpc.server import entry_point

MIB = 1024 * 1024


@asynccontextmanager
async def awaited() -> AsyncGenerator[tuple[Any, Watched], None]:
    with watched() as (_, service, url):
        api: Any = WatchedApi(url, asynchronous=True)
        async with api.client:
            yield api, service


def drain(stream: Iterator[bytes]) -> None:
    for _ in stream:
        pass


async def ended(service: Watched) -> list[str]:
    assert await asyncio.to_thread(service.ended.wait, PATIENCE_S)
    return service.seen


@pytest.mark.parametrize("name", ["sync_stream", "http_sync_stream"])
def test_a_generator_is_closed_at_its_next_item(name: str) -> None:
    with watched() as (api, service, _):
        stream = getattr(api, name)()
        assert set(next(stream)) == {0}
        stream.close()
        assert service.ended.wait(PATIENCE_S)
        assert service.seen == ["closed"]


@pytest.mark.parametrize("name", ["async_stream", "http_async_stream"])
async def test_an_async_generator_is_cancelled_at_once(name: str) -> None:
    async with awaited() as (api, service):
        stream = await getattr(api, name)()
        await anext(stream)
        await stream.aclose()
        assert await ended(service) == ["cancelled"]


@pytest.mark.parametrize("name", ["http_wait", "ws_wait"])
async def test_an_async_method_is_cancelled_with_its_call(name: str) -> None:
    async with awaited() as (api, service):
        call = asyncio.create_task(getattr(api, name)())
        assert await asyncio.to_thread(service.began.wait, PATIENCE_S)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await ended(service) == ["cancelled"]


async def test_cancelling_crosses_a_stream_that_the_method_does_not_draw() -> None:
    """The window is full, so nothing more is being read: leaving must be noticed all the same."""

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(65536)

    async with awaited() as (api, service):
        call = asyncio.create_task(api.ws_hold(endless()))
        assert await asyncio.to_thread(service.began.wait, PATIENCE_S)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await ended(service) == ["cancelled"]


async def test_a_dropped_stream_lets_go() -> None:
    async with awaited() as (api, service):
        for name in ("async_stream", "http_async_stream"):
            service.ended.clear()
            stream = await getattr(api, name)()
            await anext(stream)
            del stream
            await ended(service)
        assert service.seen == ["cancelled", "cancelled"]


async def test_closing_the_client_ends_what_it_draws() -> None:
    async with awaited() as (api, service):
        stream = await api.async_stream()
        await anext(stream)
        await api.client.aclose()
        assert await ended(service) == ["cancelled"]
        with pytest.raises(ApiError):
            await anext(stream)


@pytest.mark.parametrize("name", ["ws_take", "http_take"])
async def test_a_cut_upload_is_an_error_to_the_method(name: str) -> None:
    sending = asyncio.Event()

    async def some() -> AsyncIterator[bytes]:
        yield bytes(100_000)
        sending.set()
        await asyncio.Event().wait()

    async with awaited() as (api, service):
        call = asyncio.create_task(getattr(api, name)(some()))
        await sending.wait()
        assert await asyncio.to_thread(service.began.wait, PATIENCE_S)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await ended(service) == ["UploadCut"]


async def test_a_source_is_closed_when_its_call_is_cancelled() -> None:
    closed = asyncio.Event()
    begun = asyncio.Event()

    async def source() -> AsyncIterator[bytes]:
        try:
            yield b"x"
            begun.set()
            await asyncio.Event().wait()
        finally:
            closed.set()

    async with awaited() as (api, _):
        call = asyncio.create_task(api.ws_take(source()))
        await begun.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert closed.is_set()


@pytest.mark.parametrize("name", ["sync_stream", "http_sync_stream"])
def test_a_reader_that_stands_still_holds_the_generator_back(name: str) -> None:
    with watched() as (api, service, _):
        stream = getattr(api, name)()
        next(stream)
        # Time for a server that knows no bounds: a hundred round trips beside the stream.
        for _ in range(100):
            api.produced()
        assert service.bytes < 16 * MIB
        stream.close()


@pytest.mark.parametrize("name", ["sync_stream", "http_sync_stream"])
def test_a_server_ends_although_a_reader_stands_still(name: str, caplog: pytest.LogCaptureFixture) -> None:
    service = Watched()
    with Server(0, ServiceComponent(service)).running() as base_url:
        api = WatchedApi(base_url)
        stream = getattr(api, name)()
        next(stream)
    assert service.ended.wait(PATIENCE_S)
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []
    with pytest.raises(ApiError):
        drain(stream)
    api.client.close()


def test_a_call_at_work_when_its_server_stops_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    service = Watched()
    cut = entry_point._Server._cut

    def cut_at_once(server: entry_point._Server, spares_work: bool = False) -> None:
        cut(server, spares_work)
        service.release.set()

    monkeypatch.setattr(entry_point, "CUT_S", 0.0)
    monkeypatch.setattr(entry_point, "WORK_S", PATIENCE_S)
    monkeypatch.setattr(entry_point._Server, "_cut", cut_at_once)
    with ThreadPoolExecutor(1) as calling:
        with Server(0, ServiceComponent(service)).running() as base_url:
            api = WatchedApi(base_url)
            answer = calling.submit(api.block)
            assert service.began.wait(PATIENCE_S)
        answer.result(PATIENCE_S)
        api.client.close()


@pytest.mark.parametrize("name", ["sync_stream", "http_sync_stream"])
def test_a_stream_whose_client_is_closed_does_not_look_complete(name: str) -> None:
    with watched() as (api, _, _):
        stream = getattr(api, name)()
        next(stream)
        api.client.close()
        with pytest.raises(ApiError):
            drain(stream)


@pytest.mark.parametrize("path", ["ws_take", "http_take"])
def test_a_method_that_stands_still_holds_the_client_back(path: str) -> None:
    given = 0

    def source() -> Iterator[bytes]:
        nonlocal given
        for _ in range(100 * 16):
            given += 65536
            yield bytes(65536)

    with watched(Limits(threads=1)) as (api, service, url):
        # The only thread is taken, so the upload's method does not even begin.
        blocked = WatchedApi(url, asynchronous=True)

        async def run() -> int:
            held: Any = asyncio.create_task(blocked.block())  # type: ignore[arg-type]
            await asyncio.to_thread(service.began.wait, PATIENCE_S)
            calls: Any = WatchedApi(url, asynchronous=True)
            upload = asyncio.create_task(getattr(calls, path)(source()))
            for _ in range(100):
                await calls.ping()
            assert given < 16 * MIB
            service.release.set()
            await held
            taken: int = await upload
            await calls.client.aclose()
            await blocked.client.aclose()
            return taken

        assert asyncio.run(run()) == 100 * MIB
        assert api.produced() == 100 * MIB


def test_idle_uploads_stop_nobody_else() -> None:
    """Six of them stopped the original's whole server."""
    with watched() as (api, _, url):
        host, port = url.removeprefix("http://").split(":")
        links = [socket.create_connection((host, int(port))) for _ in range(12)]
        for link in links:
            link.sendall(b"POST /watched/http-take HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n")
        assert api.produced() == 0
        for link in links:
            link.close()


async def test_a_service_out_of_threads_still_serves_async_methods_and_refuses_what_waits_too_long() -> None:
    with watched(Limits(threads=1, waiting=1)) as (_, service, url):
        api: Any = WatchedApi(url, asynchronous=True)
        async with api.client:
            first = asyncio.create_task(api.block())
            assert await asyncio.to_thread(service.began.wait, PATIENCE_S)
            assert await api.ping() == "here"
            second = asyncio.create_task(api.produced())
            refused = asyncio.create_task(api.produced())
            done, waiting = await asyncio.wait({second, refused}, return_when=asyncio.FIRST_COMPLETED)
            (error,) = done
            failure = error.exception()
            assert isinstance(failure, ApiError)
            assert (failure.status, failure.restore().code) == (503, "busy")
            assert failure.restore().retryable
            service.release.set()
            await first
            assert await waiting.pop() == 0
