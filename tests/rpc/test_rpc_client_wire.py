"""What the clients send, and how they take what servers of the original answer."""

# mypy: disable-error-code="empty-body"

import contextlib
import json
import socket
import threading
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from fakes.rpc_services import PATIENCE_S, Token, WideApi
from greenroom.rpc import ApiCall, ApiError, Client, ClientOptions

SECRET = "s3"  # noqa: S105 -- of a server that is gone in a moment  # noqa: S105 -- a test's own
Talk = Callable[[ServerConnection, list[Any]], Any]


@contextmanager
def answering(answer: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """A server for one HTTP request: its URL, and the bytes it got."""
    got: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as door:
        door.settimeout(PATIENCE_S)

        def run() -> None:
            link, _ = door.accept()
            with link:
                link.settimeout(PATIENCE_S)
                request = b""
                while not _is_whole(request) and (data := link.recv(65536)):
                    request += data
                got.append(request)
                link.sendall(answer)

        thread = threading.Thread(target=run)
        thread.start()
        yield f"http://127.0.0.1:{door.getsockname()[1]}", got
        thread.join(PATIENCE_S)


def _is_whole(request: bytes) -> bool:
    head, end, body = request.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" in head.lower():
        return body.endswith(b"0\r\n\r\n")
    length = next((line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), b":0")
    return bool(end) and len(body) >= int(length.partition(b":")[2])


def reply(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def request_of(call: Callable[[WideApi], Any], **options: Any) -> tuple[str, dict[str, str], bytes]:
    with answering(reply(b"null")) as (url, got):
        api = WideApi(url, options=ClientOptions(**options))
        with contextlib.suppress(ApiError):  # null is not what every endpoint declares
            call(api)
        api.client.close()
    head, _, body = got[0].partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    return first, {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}, body


def test_no_body() -> None:
    first, headers, body = request_of(lambda api: api.nothing())
    assert first == "POST /wide/nothing HTTP/1.1"
    assert headers["content-length"] == "0"
    assert "content-type" not in headers
    assert "transfer-encoding" not in headers
    assert body == b""


def test_json() -> None:
    first, headers, body = request_of(lambda api: api.json([Token("ä", 1)]))
    assert first == "POST /wide/json HTTP/1.1"
    assert headers["content-type"] == "application/json"
    assert headers["content-length"] == str(len(body))
    assert json.loads(body) == {"tokens": [{"text": "ä", "index": 1}]}


def test_a_get() -> None:
    first, headers, _ = request_of(lambda api: api.fetch(3))
    assert first == "GET /wide/fetch/3 HTTP/1.1"
    assert "content-type" not in headers


def test_a_stream_is_chunked_and_a_file_has_a_length() -> None:
    _, headers, body = request_of(lambda api: api.upload([b"ab", b"c"]))
    assert headers["transfer-encoding"] == "chunked"
    assert headers["content-type"] == "application/octet-stream"
    assert body == b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
    _, headers, body = request_of(lambda api: api.one_file(b"abc"))
    assert (headers["content-length"], body) == ("3", b"abc")


def test_an_optional_file_that_is_left_out() -> None:
    _, headers, body = request_of(lambda api: api.maybe_file(None))
    assert "content-type" not in headers
    assert body == b""


def test_a_form() -> None:
    _, headers, body = request_of(lambda api: api.form({"a": 1}, b"x"))
    assert headers["content-type"].startswith("multipart/form-data; boundary=")
    assert headers["content-length"] == str(len(body))


def test_a_path_is_read_here(tmp_path: Any) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"content")
    assert request_of(lambda api: api.one_file(file))[2] == b"content"
    assert request_of(lambda api: api.one_file(str(file)))[2] == b"content"


def test_the_secret_and_further_headers_are_shown() -> None:
    _, headers, _ = request_of(lambda api: api.nothing(), secret=SECRET, headers={"x-trace": "7"})
    assert headers["authorization"] == f"Bearer {SECRET}"
    assert headers["x-trace"] == "7"


def test_an_error_is_told_with_everything() -> None:
    with answering(reply(b"Traceback: x", "500 Internal Server Error")) as (url, _):
        api = WideApi(url)
        with pytest.raises(ApiError) as caught:
            api.nothing()
        error = caught.value
        assert (error.status, error.method, error.body) == (500, "POST", "Traceback: x")
        assert error.url == f"{url}/wide/nothing"
        assert "500" in error.message
        assert error.type == ""
        assert error.restore().code == "internal"
        api.client.close()


def test_an_answer_that_was_not_declared_is_an_error() -> None:
    for body in (b'"text"', b"{", b"[1]"):
        with answering(reply(body)) as (url, _):
            api = WideApi(url)
            with pytest.raises(ApiError, match="did not declare"):
                api.fetch(1)
            api.client.close()


def test_an_answer_that_is_cut_is_an_error() -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
    with answering(chunked) as (url, _):
        api = WideApi(url)
        stream = iter(api.chunks(1))
        assert next(stream) == b"abc"
        with pytest.raises(ApiError, match="cut off"):
            next(stream)
        api.client.close()
    with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n1") as (url, _):
        api = WideApi(url)
        with pytest.raises(ApiError, match="cut off"):
            api.fetch(1)
        api.client.close()


def test_a_server_that_is_not_there_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = door.getsockname()[1]
    api = WideApi(f"http://127.0.0.1:{port}")
    with pytest.raises(ApiError) as caught:
        api.fetch(1)
    assert caught.value.status is None
    with pytest.raises(ApiError, match="cannot be reached"):
        api.ws_plain(1)
    api.client.close()


@pytest.mark.parametrize("body", [b"a\x0bb\nc\r\nd\xe2\x80\xa8e\n\nlast"])
def test_lines_end_at_line_feeds_only(body: bytes) -> None:
    with answering(reply(body)) as (url, _):
        api = WideApi(url)
        assert list(api.lines(1)) == ["a\x0bb", "c\r", "d\u2028e", "", "last"]
        api.client.close()


@pytest.mark.parametrize("url", ["", "127.0.0.1:80", "ftp://x", "http://"])
def test_what_is_no_base_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="base URL"):
        Client(url)


@asynccontextmanager
async def talking(*answers: Any, until: str = "args") -> AsyncGenerator[tuple[str, list[Any]], None]:
    """A websocket server of the original's kind: it hears everything up to ``until``, says its answers and closes."""
    heard: list[Any] = []

    async def talk(link: ServerConnection) -> None:
        assert link.request is not None
        heard.append(link.request.path)
        heard.append(link.request.headers.get("Sec-WebSocket-Extensions"))
        while True:
            message = await link.recv()
            heard.append(message if isinstance(message, bytes) else json.loads(message))
            if isinstance(heard[-1], dict) and heard[-1]["type"] == until:
                break
        for answer in answers:
            await link.send(answer if isinstance(answer, bytes) else json.dumps(answer))
        await link.close()

    async with serve(talk, "127.0.0.1", 0, compression=None) as server:
        yield f"http://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}", heard


async def call(url: str, name: str, *args: Any) -> Any:
    """What an endpoint gives, streams as lists."""
    api = WideApi(url)
    try:
        found = await getattr(api, name).acall(*args)
        return [item async for item in found] if hasattr(found, "__aiter__") else found
    finally:
        await api.client.aclose()


async def test_a_plain_call_is_one_message() -> None:
    async with talking({"type": "result", "value": "x"}) as (url, heard):
        assert await call(url, "ws_plain", 3, "a b") == "x"
        assert heard == ["/wide/ws-plain/3?query=a%20b", None, {"type": "args", "json": {}}]


async def test_arguments_then_files_then_the_stream() -> None:
    answers: tuple[Any, ...] = (
        {"type": "stream"},
        {"type": "item", "value": {"text": "A", "index": 1}},
        {"type": "end"},
    )
    async with talking(*answers, until="end") as (url, heard):
        found = await call(url, "ws_all", {"times": 1}, bytes(70_000), [Token("a", 1), Token("b", 2)])
    assert found == [Token("A", 1)]
    assert heard[2:] == [
        {"type": "args", "json": {"name": {"times": 1}}, "files": ["file"]},
        {"type": "file", "name": "file"},
        bytes(65536),
        bytes(4464),
        {"type": "file_end"},
        {"type": "stream", "name": "items"},
        {"type": "item", "value": {"text": "a", "index": 1}},
        {"type": "item", "value": {"text": "b", "index": 2}},
        {"type": "end"},
    ]


async def test_an_empty_file_has_no_piece_and_an_absent_one_nothing() -> None:
    async with talking({"type": "result", "value": [1]}, until="file_end") as (url, heard):
        assert await call(url, "ws_files", [1], b"", None) == [1]
    assert heard[3:] == [{"type": "file", "name": "file"}, {"type": "file_end"}]


async def test_binary_streams_keep_their_boundaries() -> None:
    answers: tuple[Any, ...] = ({"type": "stream"}, b"x", b"yz", {"type": "end"})
    async with talking(*answers, until="end") as (url, heard):
        assert await call(url, "ws_bytes", [b"a", b"", b"bc"]) == [b"x", b"yz"]
    assert heard[3:] == [{"type": "stream", "name": "data"}, b"a", b"", b"bc", {"type": "end"}]


async def test_a_file_may_stand_for_a_binary_stream() -> None:
    async with talking({"type": "stream"}, {"type": "end"}, until="end") as (url, heard):
        assert await call(url, "ws_bytes", bytes(65540)) == []
    assert heard[4:] == [bytes(65536), bytes(4), {"type": "end"}]


@pytest.mark.parametrize("early", [True, False])
async def test_an_error_is_raised_by_the_call_or_where_the_stream_breaks(early: bool) -> None:
    start: list[Any] = [] if early else [{"type": "stream"}, {"type": "item", "value": 1}]
    async with talking(*start, {"type": "error", "message": "no voice"}) as (url, _):
        api = WideApi(url)
        if early:
            with pytest.raises(ApiError, match="no voice"):
                await api.ws_fail.acall(1)  # type: ignore[attr-defined]
        else:
            stream = await api.ws_fail.acall(1)  # type: ignore[attr-defined]
            assert await anext(stream) == 1
            with pytest.raises(ApiError, match="no voice"):
                await anext(stream)
        await api.client.aclose()


@pytest.mark.parametrize(
    "answers", [[], [{"type": "stream"}], [{"type": "strange"}], ["not an object"], [b"bytes"]], ids=str
)
async def test_nonsense_and_a_lost_connection_are_errors(answers: list[Any]) -> None:
    async with talking(*answers) as (url, _):
        with pytest.raises(ApiError):
            await call(url, "ws_plain", 1)


async def test_a_stream_that_breaks_off_is_an_error() -> None:
    async with talking({"type": "stream"}, {"type": "item", "value": 1}) as (url, _):
        with pytest.raises(ApiError, match="closed the connection"):
            await call(url, "ws_fail", 1)


async def test_a_refused_handshake_is_an_error_with_its_status() -> None:
    async def refuse(link: ServerConnection, _: Any) -> Any:
        return link.respond(403, "no")

    async def never(_: ServerConnection) -> None: ...

    async with serve(never, "127.0.0.1", 0, process_request=refuse) as server:
        url = f"http://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
        with pytest.raises(ApiError) as caught:
            await call(url, "ws_plain", 1)
        assert (caught.value.status, caught.value.body) == (403, "no")


async def test_silence_is_bounded_where_a_timeout_is_given() -> None:
    async def silent(link: ServerConnection) -> None:
        await link.wait_closed()

    async with serve(silent, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
        api = WideApi(url, options=ClientOptions(timeout_s=0.05))
        with pytest.raises(ApiError, match="said nothing"):
            await api.ws_plain.acall(1)  # type: ignore[attr-defined]
        await api.client.aclose()


async def test_only_the_first_raw_items_are_kept() -> None:
    items = [{"type": "item", "value": index} for index in range(9)]
    async with talking({"type": "stream"}, *items, {"type": "end"}) as (url, _):
        api = WideApi(url)
        api_call = api.ws_fail
        assert isinstance(api_call, ApiCall)
        assert [item async for item in await api_call.acall(1)] == list(range(9))
        assert api_call.last_raw_response == [0, 1, 2, 3, 4]
        assert api_call.last_request is not None
        assert api_call.last_request.content.url == "/wide/ws-fail/1"
        await api.client.aclose()


def test_what_the_source_of_an_upload_raises_the_call_raises() -> None:
    class Broken(Exception):
        pass

    def source() -> Iterable[bytes]:
        yield b"a"
        raise Broken

    with answering(reply(b"1")) as (url, got):
        api = WideApi(url)
        with pytest.raises(Broken):
            api.upload(source())
        api.client.close()
    assert not got[0].endswith(b"0\r\n\r\n"), "an upload that broke off must not look complete"
