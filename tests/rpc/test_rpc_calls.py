"""Both ends together: every kind of call, from threads and from loops, over TCP and unix sockets."""

import asyncio
import gc
import socket
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from fakes.rpc_services import Color, IWide, Token, Wide, WideApi, watched, wide
from greenroom.errors import BindingFailed, Internal
from greenroom.rpc import (
    ApiCall,
    ApiError,
    ApiUtils,
    Client,
    ClientOptions,
    EndpointComponent,
    Server,
    ServiceComponent,
    Stream,
    endpoint,
)

WHEN = datetime(2025, 1, 15, 12)


@pytest.fixture(scope="module")
def api() -> Iterator[WideApi]:
    with wide() as (api, _):
        yield api


def test_plain_calls(api: WideApi) -> None:
    api.nothing()
    assert api.primitives(1, 2.5, True, Color.GREEN, WHEN, Path("a b")) == repr(
        (1, 2.5, True, "GREEN", WHEN.isoformat(), "a b", "given")
    )
    assert api.query(None, Color.RED, None) == repr((None, "RED", 7))
    assert api.json([Token("a", 1)], {"k": [1, None]}) == [Token("a", 1), Token("{'k': [1, None]}", 1)]
    assert api.forced(2, name="y") == "yy"
    assert api.fetch(3) == 3
    assert api.static(3) == 4
    assert api.ws_plain(3) == "3 None"


def test_files(api: WideApi, tmp_path: Path) -> None:
    assert api.one_file(b"") == 0
    assert api.maybe_file() == api.maybe_file(None) == api.ws_maybe() == api.ws_maybe(None) == -1
    assert api.maybe_file(b"") == api.ws_maybe(b"") == 0
    assert api.form({"a": 1}, b"x") == [1, 1, -1]
    assert api.form({"a": 1}, bytes(300_000), b"y") == [1, 300_000, 1]
    assert api.ws_files([1], bytes(300_000), b"y") == [1, 300_000, 1]
    assert api.ws_files([1], b"x", None) == [1, 1, -1]
    path = tmp_path / "file"
    path.write_bytes(bytes(200_000))
    assert api.one_file(path) == api.upload(path) == api.ws_files([], path)[1] == 200_000


def test_streams(api: WideApi) -> None:
    content: Any = api.content
    assert b"".join(content(200_000)) == bytes(200_000)
    assert list(content(0)) == []
    assert list(api.lines(3)) == ["line:0", "line:1", "line:2"]
    assert list(api.tokens(2)) == [Token("t", 0), Token("t", 1)]
    assert list(api.tokens(0)) == []
    assert list(api.lines(0)) == []
    assert api.upload(iter([b"ab", b"c"])) == 3
    assert list(api.ws_echo([Token("a", 1)])) == [Token("A", 10)]
    assert list(api.ws_lines(["ä\nb", ""])) == ["Ä\nB", ""]
    assert list(api.ws_bytes([b"a", b"", b"bc"])) == [b"aa", b"", b"bcbc"]
    assert list(api.ws_all({"times": 2}, b"xyz", [Token("a", 1)])) == [Token("aa", 3)]
    assert api.ws_maybes([1, None, 2]) == [1, None, 2]
    assert len(list(api.ws_echo(Token("a", index) for index in range(5000)))) == 5000


def test_a_binary_result_is_a_generator(api: WideApi) -> None:
    stream = api.content(10)
    assert isinstance(stream, Stream)
    assert next(iter(stream)) == bytes(10)
    stream.close()
    with pytest.raises(StopIteration):
        next(iter(stream))


def test_a_large_piece_arrives_whole(api: WideApi) -> None:
    assert sum(map(len, api.ws_bytes([bytes(9_000_000)]))) == 18_000_000


def test_full_duplex_from_a_thread(api: WideApi) -> None:
    """Each item is sent only when the answer to the last one is there."""
    answered: list[Token] = []

    def source() -> Iterator[Token]:
        for index in range(5):
            assert len(answered) == index
            yield Token("a", index)
            turn.wait()
            turn.clear()

    turn = threading.Event()
    for token in api.ws_echo(source()):
        answered.append(token)
        turn.set()
    assert [token.index for token in answered] == [0, 10, 20, 30, 40]


def test_errors_keep_their_class_and_message(api: WideApi) -> None:
    with pytest.raises(ApiError) as caught:
        api.fail("value")
    assert (caught.value.status, caught.value.type) == (500, "ValueError")
    assert caught.value.response is not None
    assert (caught.value.response.status_code, caught.value.response.text) == (500, caught.value.body)
    assert isinstance(caught.value.restore(), Internal)
    for failing in (partial(api.fail, "binding"), api.ws_binding_fails):
        with pytest.raises(ApiError) as caught:
            failing()
        restored = caught.value.restore()
        assert isinstance(restored, BindingFailed)
        assert (restored.message, restored.kind, restored.retryable) == ("the voice is gone", "voice_lost", True)
        assert restored.details == {"voice": "x"}
    with pytest.raises(ApiError, match="the end") as caught:
        api.ws_fail(0)
    assert caught.value.status is None
    assert caught.value.response is None
    stream = iter(api.ws_fail(1))
    assert next(stream) == 0
    with pytest.raises(ApiError, match="the end"):
        next(stream)
    with pytest.raises(ApiError):
        api.ws_unserializable()
    with pytest.raises(ApiError, match="no more sound"):
        list(api.chunks(2, 0))
    with pytest.raises(ApiError, match="cut off"):
        list(api.chunks(2, 1))


def test_what_was_said_last_is_kept(api: WideApi) -> None:
    call = api.fetch
    assert isinstance(call, ApiCall)
    assert call(4) == 4
    assert call.last_request is not None
    assert call.last_request.content.url == "/wide/fetch/4"
    assert (call.last_response, call.last_raw_response) == (4, 4)
    lines = api.lines
    assert isinstance(lines, ApiCall)
    assert len(list(lines(9))) == 9
    assert lines.last_raw_response == [b"line:0", b"line:1", b"line:2", b"line:3", b"line:4"]


def test_a_call_can_be_made_later(api: WideApi) -> None:
    call = api.fetch
    assert isinstance(call, ApiCall)
    assert call.make_call(call.create_content_model(5)) == 5


def test_calls_of_an_interface_can_be_listed() -> None:
    names = [name for name, _ in ApiCall.iterate_endpoints("http://127.0.0.1:1", IWide)]
    assert names[:2] == ["nothing", "primitives"]
    assert len(names) == len(set(names))


def test_a_prefix_takes_the_place_of_the_name() -> None:
    with Server(0, ServiceComponent(Wide(), "a/b"), ServiceComponent(Wide())).running() as url:
        for prefix in ("a/b", None):
            api = WideApi(url, custom_prefix=prefix)
            assert api.fetch(1) == 1
            assert api.ws_plain(1) == "1 None"
            api.client.close()
        api = WideApi(url, custom_prefix="other")
        with pytest.raises(ApiError) as caught:
            api.fetch(1)
        assert caught.value.status == 404
        api.client.close()


def test_a_function_is_served_alone() -> None:
    @endpoint(verify_abstract=False)
    def add_one(number: int) -> int:
        return number + 1

    component = EndpointComponent(add_one)
    assert component.model is not None
    with Server(0, component, EndpointComponent(add_one, prefix="x")).running() as url:
        for prefix in (None, "x"):
            call = ApiCall(url, component.model, prefix)
            assert call(1) == 2
            assert call.last_request is not None
            assert call.last_request.content.url == ("/x/add-one/1" if prefix else "/add-one/1")
            call.client.close()
    with pytest.raises(TypeError, match="is no endpoint"):
        EndpointComponent(lambda: 1)


@asynccontextmanager
async def awaited(base_url: str, **options: Any) -> AsyncGenerator[Any, None]:
    """The wide service, every endpoint awaited."""
    api: Any = WideApi(base_url, asynchronous=True, options=ClientOptions(**options))
    async with api.client:
        yield api


async def source(count: int) -> AsyncIterator[Token]:
    for index in range(count):
        await asyncio.sleep(0)
        yield Token("a", index)


async def pieces() -> AsyncIterator[bytes]:
    for piece in (b"ab", b"", b"c"):
        yield piece


async def every(stream: Any) -> list[Any]:
    return [item async for item in stream]


async def test_everything_can_be_awaited(api: WideApi, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    async with awaited(api.client.base_url) as calls:
        assert await calls.fetch(3) == 3
        assert await calls.later(3) == 3
        assert await calls.ws_later(3) == 3
        assert await calls.ws_plain(3) == "3 None"
        assert await calls.form({"a": 1}, path, b"x") == [1, 5, 1]
        assert await calls.upload(pieces()) == await calls.upload([b"ab", b"c"]) == 3
        assert await every(await calls.content(100_000)) != []
        assert await every(await calls.lines(2)) == ["line:0", "line:1"]
        assert await every(await calls.tokens(1)) == [Token("t", 0)]
        assert await every(await calls.drawn(1)) == [Token("d", 0)]
        assert await every(await calls.ws_echo(source(2))) == [Token("A", 0), Token("A", 10)]
        assert await every(await calls.ws_echo(iter([Token("b", 1)]))) == [Token("B", 10)]
        assert await every(await calls.ws_drawn([Token("b", 1)])) == [Token("B", 10)]
        assert await every(await calls.ws_bytes(pieces())) == [b"abab", b"", b"cc"]
        assert await calls.ws_files([1], path) == [1, 5, -1]
        for failing in (calls.fail("binding"), calls.ws_binding_fails()):
            with pytest.raises(ApiError) as caught:
                await failing
            assert isinstance(caught.value.restore(), BindingFailed)
        with pytest.raises(ApiError, match="cut off"):
            await every(await calls.chunks(2, 1))


async def test_async_declarations_are_awaited_and_drawn(api: WideApi) -> None:
    calls = WideApi(api.client.base_url)
    async with calls.client:
        assert await calls.later(3) == 3
        assert await calls.ws_later(4) == 4
        assert await every(calls.ws_drawn(source(2))) == [Token("A", 0), Token("A", 10)]
        assert await every(calls.drawn(2)) == [Token("d", 0), Token("d", 1)]


async def test_full_duplex_on_a_loop(api: WideApi) -> None:
    queue: asyncio.Queue[Token] = asyncio.Queue()

    async def ask() -> AsyncIterator[Token]:
        while True:
            yield await queue.get()

    async with awaited(api.client.base_url) as calls:
        # The call itself returns before anything was sent.
        stream = await calls.ws_drawn(ask())
        for index in range(5):
            queue.put_nowait(Token("a", index))
            assert await anext(stream) == Token("A", index * 10)
        await stream.aclose()
        with pytest.raises(StopAsyncIteration):
            await anext(stream)


async def test_what_a_source_raises_the_call_raises(api: WideApi) -> None:
    class Broken(Exception):
        pass

    async def broken() -> AsyncIterator[Token]:
        yield Token("a", 1)
        raise Broken

    async with awaited(api.client.base_url) as calls:
        with pytest.raises(Broken):
            await every(await calls.ws_drawn(broken()))
        with pytest.raises(Broken):
            await every(await calls.ws_echo(broken()))


async def test_an_item_of_another_type_never_leaves_the_client(api: WideApi) -> None:
    async with awaited(api.client.base_url) as calls:
        with pytest.raises(TypeError):
            await every(await calls.ws_echo(["text"]))
        with pytest.raises(TypeError):
            await calls.ws_maybes(7)


async def test_a_kept_connection_serves_the_next_calls(api: WideApi) -> None:
    async with awaited(api.client.base_url) as calls:
        client: Client = calls.client
        sockets = client.sockets_here()
        for _ in range(3):
            assert await calls.ws_later(1) == 1
        assert len(sockets) == 1
        for _ in range(3):
            assert len(await every(await calls.ws_echo(source(3)))) == 3
        assert len(sockets) == 2
        await asyncio.gather(*(calls.ws_later(1) for _ in range(4)))
        assert len(sockets) == 5


async def test_spare_connections_are_opened_beforehand(api: WideApi) -> None:
    async with awaited(api.client.base_url) as calls:
        await calls.ws_later.aprepare(1, count=2)
        sockets = calls.client.sockets_here()
        assert len(sockets) == 2
        assert await calls.ws_later(1) == 1
        assert len(sockets) == 2
    async with awaited(api.client.base_url, spare_sockets=1) as calls:
        assert await calls.ws_later(1) == 1
        await calls.ws_later.aprepare(1, count=2)
        assert len(calls.client.sockets_here()) == 2


async def test_a_connection_that_the_server_closed_is_replaced() -> None:
    with wide() as (_, url):
        calls = WideApi(url)
        assert await calls.ws_later(1) == 1
    async with calls.client:
        with pytest.raises(ApiError):
            await calls.ws_later(1)


async def test_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "s"
    server = Server(None, ServiceComponent(Wide()), uds=path)
    if not hasattr(socket, "AF_UNIX"):
        with pytest.raises(OSError, match="no unix sockets"), server.running():
            pass
        return
    with server.running() as url:
        assert url == f"unix:{path}"
        assert path.stat().st_mode & 0o777 == 0o600
        ApiUtils.wait_for_reply(url, 10)
        async with awaited(url) as calls:
            assert await calls.fetch(3) == 3
            assert await every(await calls.ws_echo(source(1))) == [Token("A", 0)]
        api = WideApi(url)
        assert api.fetch(3) == 3
        assert api.ws_plain(1) == "1 None"
        api.client.close()
        other = Server(None, ServiceComponent(Wide()), uds=path)
        with pytest.raises(OSError), other.running():  # noqa: PT011 -- each system words it differently
            pass
    assert not path.exists()


async def test_a_server_on_the_running_loop() -> None:
    async with Server(0, ServiceComponent(Wide())).serving() as url, awaited(url) as calls:
        assert await calls.fetch(3) == 3
        assert await every(await calls.ws_echo(source(1))) == [Token("A", 0)]


def test_a_port_that_is_taken_is_an_error() -> None:
    with Server(0, ServiceComponent(Wide())).running() as url:
        port = int(url.rpartition(":")[2])
        server = Server(port, ServiceComponent(Wide()))
        assert server.get_port() == port
        with pytest.raises(OSError, match="in use"), server.running():
            pass


async def test_one_client_serves_threads_and_several_loops(api: WideApi) -> None:
    calls = WideApi(api.client.base_url)

    def elsewhere() -> int:
        async def there() -> int:
            found: int = await calls.ws_later.acall(2)  # type: ignore[attr-defined]
            await calls.client.aclose()
            return found

        return calls.fetch(1) + asyncio.run(there())

    assert await asyncio.to_thread(elsewhere) == 3
    assert await calls.ws_later(3) == 3
    await calls.client.aclose()


def test_a_client_that_is_dropped_lets_go_of_everything() -> None:
    with watched() as (_, service, url):
        from fakes.rpc_services import PATIENCE_S, WatchedApi

        calls = WatchedApi(url)
        stream = iter(calls.sync_stream())
        next(stream)
        del calls, stream
        gc.collect()
        assert service.ended.wait(PATIENCE_S)


@pytest.mark.parametrize("waits", [0.01, 0.0])
def test_waiting_for_a_server_that_never_comes(waits: float) -> None:
    with pytest.raises(ValueError, match=r"Endpoint voice was not reacheable within 0(.01)? seconds"):
        ApiUtils.wait_for_reply("http://127.0.0.1:9", waits, "voice")


def test_waiting_for_a_server_that_answers_something_else(api: WideApi) -> None:
    base_url = api.client.base_url
    ApiUtils.wait_for_reply(base_url, 10)
    ApiUtils.wait_for_reply(f"{base_url}/wide/fetch/1", 10)
    with pytest.raises(ValueError, match="returned bad status code 404"):
        ApiUtils.wait_for_reply(f"{base_url}/nothing", 0.01)
