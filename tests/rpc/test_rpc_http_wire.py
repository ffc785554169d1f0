"""The server's HTTP, spoken by hand: what any client that is not of this library gets."""

import json
import socket
from collections.abc import Iterator

import httpx
import pytest

from fakes.rpc_services import PATIENCE_S, watched, wide
from greenroom.rpc import EndpointComponent, Server, endpoint


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with wide() as (_, base_url):
        yield base_url


@pytest.fixture(scope="module")
def http(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=PATIENCE_S) as client:
        yield client


def raw(url: str, request: bytes, shut: bool = False) -> bytes:
    """Everything that the server says to these bytes until it closes."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), PATIENCE_S) as link:
        link.sendall(request)
        if shut:
            link.shutdown(socket.SHUT_WR)
        found = b""
        while data := link.recv(65536):
            found += data
        return found


def test_a_rest_of_the_path_that_must_be_there_is_asked_for() -> None:
    @endpoint(is_pathlike="path", verify_abstract=False)
    def read(path: str) -> str:
        return path

    with Server(0, EndpointComponent(read)).running() as base_url, httpx.Client(base_url=base_url) as http:
        answer = http.post("/read")
        assert (answer.status_code, answer.text) == (422, "missing a required argument: 'path'")
        assert http.post("/read/a/b").json() == "a/b"


@pytest.mark.parametrize("path", ["/", "/heartbeat"])
def test_the_probes_say_ok(http: httpx.Client, path: str) -> None:
    answer = http.get(path)
    assert (answer.status_code, answer.text) == (200, "OK")
    assert answer.headers["content-type"].startswith("text/plain")


def test_a_json_result(http: httpx.Client) -> None:
    answer = http.post("/wide/json", content=b'{"tokens":[{"text":"a","index":1}],"unknown":[1]}')
    assert answer.headers["content-type"] == "application/json"
    assert answer.content == b'[{"text":"a","index":1},{"text":"None","index":1}]'
    assert http.post("/wide/nothing").content == b"null"


def test_bytes_come_in_chunks_and_nothing_has_a_length(http: httpx.Client) -> None:
    answer = http.post("/wide/content/100000")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["transfer-encoding"] == "chunked"
    assert answer.content == bytes(100_000)
    empty = http.post("/wide/content/0")
    assert (empty.status_code, empty.headers["content-length"], empty.content) == (200, "0", b"")
    assert http.post("/wide/chunks/3").headers["content-type"] == "audio/wav"


def test_text_is_one_line_an_item(http: httpx.Client) -> None:
    answer = http.post("/wide/lines/3")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.content == b"line:0\nline:1\nline:2\n"


def test_items_are_json_lines(http: httpx.Client) -> None:
    answer = http.post("/wide/tokens/2")
    assert answer.headers["content-type"] == "application/jsonlines+json"
    assert answer.content == b'{"text":"t","index":0}\n{"text":"t","index":1}\n'
    assert http.post("/wide/drawn/1").content == b'{"text":"d","index":0}\n'


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/json"])
def test_the_content_type_of_a_request_does_not_matter(http: httpx.Client, content_type: str | None) -> None:
    headers = {"content-type": content_type} if content_type else {}
    assert http.post("/wide/one-file", content=b"hello", headers=headers).json() == 5
    assert http.post("/wide/forced", content=b'{"number": 2}', headers=headers).json() == "xx"


def test_a_form_whose_json_part_looks_like_a_file(http: httpx.Client) -> None:
    files = [("json_arguments", b'{"name": {"a": 3}}'), ("file", b"hello")]
    assert http.post("/wide/form", files=files).json() == [3, 5, -1]


def test_an_absent_file_and_an_empty_one(http: httpx.Client) -> None:
    octets = {"content-type": "application/octet-stream"}
    assert http.post("/wide/maybe-file").json() == -1
    assert http.post("/wide/maybe-file", content=b"", headers=octets).json() == 0
    assert http.post("/wide/one-file").json() == 0


def test_a_slash_too_many_is_redirected(http: httpx.Client) -> None:
    answer = http.post("/wide/fetch/")
    assert answer.status_code in (400, 405)
    answer = http.post("/wide/text/a%2Fb/?x=1")
    assert answer.status_code == 307
    assert answer.headers["location"] == "/wide/text/a%2Fb?x=1"
    assert http.post("/wide/text/a%2Fb/", follow_redirects=True).json() == "a/b"


@pytest.mark.parametrize(
    ("method", "path", "status", "body"),
    [
        ("GET", "/nothing", 404, {"detail": "Not Found"}),
        ("POST", "/wide", 404, {"detail": "Not Found"}),
        ("POST", "/wide/text", 404, {"detail": "Not Found"}),
        ("POST", "/wide/text/a/b", 404, {"detail": "Not Found"}),
        ("GET", "/wide/text/a", 405, {"detail": "Method Not Allowed"}),
        ("PUT", "/wide/text/a", 405, {"detail": "Method Not Allowed"}),
        ("POST", "/wide/fetch/1", 405, {"detail": "Method Not Allowed"}),
        ("POST", "/wide/ws-plain/1", 404, {"detail": "Not Found"}),
    ],
)
def test_what_is_not_there(http: httpx.Client, method: str, path: str, status: int, body: object) -> None:
    answer = http.request(method, path)
    assert (answer.status_code, answer.json()) == (status, body)


@pytest.mark.parametrize(
    ("method", "path", "content", "status", "text"),
    [
        ("GET", "/wide/fetch/abc", b"", 400, "invalid literal for int() with base 10: 'abc'"),
        ("GET", "/wide/fetch/%ff", b"", 400, "UTF-8"),
        ("POST", "/wide/query?color=PINK", b"", 400, "PINK"),
        ("POST", "/wide/query?text=%ff", b"", 400, "query"),
        ("POST", "/wide/json", b"{", 400, "JSON"),
        ("POST", "/wide/json", b"[1]", 422, "object"),
        ("POST", "/wide/json", b"{}", 422, "missing a required argument: 'tokens'"),
        ("POST", "/wide/json", b'{"tokens": [{"text": 1, "index": 1}]}', 422, "tokens"),
        ("POST", "/wide/form", b"", 400, "boundary"),
        ("POST", "/wide/fail/value", b"", 500, "ValueError: secret path"),
        ("POST", "/wide/fail/type", b"", 500, "TypeError: secret path"),
        ("POST", "/wide/fail/exit", b"", 500, "SystemExit"),
        ("POST", "/wide/fail/stop", b"", 500, "StopIteration"),
        ("POST", "/wide/fail/binding", b"", 502, "BindingFailed: the voice is gone"),
        ("POST", "/wide/chunks/3?fail_at=0", b"", 500, "ValueError: no more sound"),
    ],
)
def test_errors_are_a_sentence_without_a_traceback(
    http: httpx.Client, method: str, path: str, content: bytes, status: int, text: str
) -> None:
    answer = http.request(method, path, content=content)
    assert answer.status_code == status
    assert text in answer.text
    assert "Traceback" not in answer.text
    assert ".py" not in answer.text
    assert json.loads(answer.headers["greenroom-error"])["message"]


def test_a_bool_is_exactly_true_or_false(http: httpx.Client) -> None:
    start, end = "/wide/primitives/1/2/", "/RED/2025-01-15T12:00:00/p/g"
    assert http.post(f"{start}True{end}").status_code == 200
    answer = http.post(f"{start}yes{end}")
    assert answer.status_code == 400
    assert "yes" in answer.text


def test_an_error_after_the_first_piece_cuts_the_connection(http: httpx.Client) -> None:
    with http.stream("POST", "/wide/chunks/5?fail_at=3") as answer:
        assert answer.status_code == 200
        with pytest.raises(httpx.RemoteProtocolError):
            answer.read()


def test_a_part_of_a_form_that_is_not_closed_is_refused(url: str) -> None:
    body = b'--B\r\nContent-Disposition: form-data; name="file"\r\n\r\nhello'
    request = (
        b"POST /wide/form HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        b"Content-Type: multipart/form-data; boundary=B\r\nContent-Length: %d\r\n\r\n" % len(body)
    )
    answer = raw(url, request + body)
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"closing boundary" in answer


@pytest.mark.parametrize("head", [b"Content-Length: 1000000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n3e8\r\n"])
def test_a_cut_upload_is_an_error_and_no_end(head: bytes) -> None:
    with watched() as (_, service, url):
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), PATIENCE_S) as link:
            link.sendall(b"POST /watched/http-take HTTP/1.1\r\nHost: localhost\r\n" + head + bytes(1000))
            assert service.began.wait(PATIENCE_S)
        assert service.ended.wait(PATIENCE_S)
        assert service.seen == ["UploadCut"]


def test_a_cut_file_never_reaches_the_method(url: str) -> None:
    head = b"POST /wide/one-file HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n"
    assert b"200 OK" not in raw(url, head + bytes(1000), shut=True)


def test_a_url_without_encoding_keeps_working(http: httpx.Client, url: str) -> None:
    request = b"POST /wide/text/a:b@c,d HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    assert b'"a:b@c,d"' in raw(url, request)
    assert http.post("/wide/query?text=a+b").json() == repr(("a b", None, 7))


def test_a_result_that_is_no_json_is_an_error(http: httpx.Client) -> None:
    assert http.post("/wide/nothing").status_code == 200
