"""The bodies of HTTP calls, byte for byte, and what a server reads from them."""

# mypy: disable-error-code="empty-body"

import json
import re
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.rpc_services import IWide, Token, Wide
from greenroom.rpc import (
    CallModel,
    CallRefused,
    ContentProducer,
    EndpointModel,
    File,
    FileLike,
    ServiceModel,
    UploadCut,
    endpoint,
    parse_content,
    parse_json,
)
from greenroom.rpc.body import BodyParser, check_complete
from greenroom.rpc.limits import Limits
from greenroom.rpc.multipart import MultipartParser, boundary_of

MODEL = ServiceModel.parse(IWide)


def call(name: str, *args: Any, **kwargs: Any) -> CallModel:
    return CallModel.Factory("http://x/", MODEL[name])(*args, **kwargs)


def produced(name: str, *args: Any, **kwargs: Any) -> tuple[ContentProducer, bytes]:
    made = call(name, *args, **kwargs)
    producer = ContentProducer(made.content, MODEL[name])
    return producer, b"".join(producer.produce())


def test_no_parameters_no_body() -> None:
    producer, body = produced("nothing")
    assert (producer.has_content, producer.content_type, producer.content_length, body) == (False, None, 0, b"")


def test_json_only() -> None:
    producer, body = produced("json", [Token("ä", 1)], {"k": None})
    assert producer.content_type == "application/json"
    assert json.loads(body) == {"tokens": [{"text": "ä", "index": 1}], "extra": {"k": None}}
    assert producer.content_length == len(body)


def test_omitted_arguments_are_not_sent() -> None:
    assert json.loads(produced("json", [])[1]) == {"tokens": []}
    assert json.loads(produced("forced", 3)[1]) == {"number": 3}


def test_one_file_is_the_body_in_pieces_of_64_kib() -> None:
    producer, _ = produced("one_file", b"")
    assert producer.content_type == "application/octet-stream"
    made = call("one_file", bytes(150_000))
    pieces = list(ContentProducer(made.content, MODEL["one_file"]).produce())
    assert [len(piece) for piece in pieces] == [65536, 65536, 18928]


def test_a_stream_is_the_body_and_objects_in_it_are_lines() -> None:
    producer, body = produced("upload", iter([b"ab", b"", bytearray(b"c")]))
    assert (producer.content_type, producer.content_length, body) == ("application/octet-stream", None, b"abc")
    assert produced("upload", [Token("a", 1), {"b": 2}])[1] == b'{"text":"a","index":1}\n{"b":2}\n'


def test_files_and_json_are_a_form() -> None:
    producer, body = produced("form", {"a": 1}, b"first", b"second")
    assert producer.content_type is not None
    found = re.fullmatch(r"multipart/form-data; boundary=([0-9a-f]{32})", producer.content_type)
    assert found is not None
    mark = found[1]
    assert body.decode() == (
        f'--{mark}\r\nContent-Disposition: form-data; name="json_arguments"\r\nContent-Type: application/json\r\n\r\n'
        '{"name": {"a": 1}}\r\n'
        f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="file"\r\n'
        "Content-Type: application/octet-stream\r\n\r\nfirst\r\n"
        f'--{mark}\r\nContent-Disposition: form-data; name="other"; filename="other"\r\n'
        "Content-Type: application/octet-stream\r\n\r\nsecond\r\n"
        f"--{mark}--\r\n"
    )
    assert producer.content_length == len(body)


def test_parts_that_are_not_given_are_left_out() -> None:
    @endpoint
    def both(a: FileLike | None = None, b: FileLike | None = None, c: dict[str, int] = {}) -> None: ...  # noqa: B006

    model = EndpointModel.parse(both)
    assert model is not None
    made = CallModel.Factory("http://x", model)()
    body = b"".join(ContentProducer(made.content, model).produce())
    assert body == f"--{made.content.boundary}--\r\n".encode()
    made = CallModel.Factory("http://x", model)(None, b"x")
    body = b"".join(ContentProducer(made.content, model).produce())
    assert b"json_arguments" not in body
    assert b'name="a"' not in body
    assert b'name="b"' in body


def test_the_length_is_told_where_it_is_known(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    for value in (b"12345", BytesIO(b"12345"), File("a", b"12345"), path, str(path)):
        producer, body = produced("form", {}, value)
        assert producer.content_length == len(body)
    made = call("form", {}, iter([b"12", b"345"]))
    assert ContentProducer(made.content, MODEL["form"]).content_length is None


def test_a_get_has_no_body() -> None:
    @endpoint(method="GET")
    def fetch(x: list[int]) -> None: ...

    model = EndpointModel.parse(fetch)
    assert model is not None
    with pytest.raises(ValueError, match="GET"):
        ContentProducer(CallModel.Factory("http://x", model)([1]).content, model)


def test_a_call_made_locally_goes_through_the_wire_format() -> None:
    service = Wide()
    assert call("json", [Token("a", 1)]).call_locally(service.json) == [Token("a", 1), Token("None", 1)]
    assert call("form", {"a": 2}, b"xyz").call_locally(service.form) == [2, 3, -1]
    assert call("one_file", b"xyz").call_locally(service.one_file) == 3
    assert call("maybe_file").call_locally(service.maybe_file) == -1
    assert call("upload", [b"ab", b"c"]).call_locally(service.upload) == 3
    assert call("query", "a/b").call_locally(service.query) == repr(("a/b", None, 7))
    assert call("pathlike", 1, "a/b").call_locally(service.pathlike) == repr((1, "a/b", None))
    assert list(call("ws_echo", [Token("a", 1)]).call_locally(service.ws_echo)) == [Token("A", 10)]
    assert call("ws_files", [1], b"ab").call_locally(service.ws_files) == [1, 2, -1]
    prefixed = CallModel.Factory("http://x", MODEL["fetch"], "some/where")(3)
    assert prefixed.call_locally(service.fetch) == 3
    assert prefixed.url == "http://x/some/where/3"


def test_unknown_keys_are_ignored_and_wrong_ones_named() -> None:
    params = MODEL["json"].params.json_params
    kwargs: dict[str, Any] = {}
    parse_json(kwargs, {"tokens": [], "unknown": 1}, params)
    assert kwargs == {"tokens": []}
    with pytest.raises(CallRefused, match=r"Expected int at tokens\.0\.index, got") as caught:
        parse_json({}, {"tokens": [{"text": "a", "index": "b"}]}, params)
    assert caught.value.status == 422
    with pytest.raises(CallRefused, match="object"):
        parse_json({}, [1], params)


def test_missing_arguments_are_named_and_nullable_ones_none() -> None:
    kwargs: dict[str, Any] = {}
    with pytest.raises(CallRefused, match="tokens"):
        check_complete(kwargs, MODEL["json"].signature.arguments)
    kwargs = {}
    check_complete(kwargs, MODEL["query"].signature.arguments)
    assert kwargs == {"text": None}


@pytest.mark.parametrize("raw", [b"{", b"", b"\xff", b'{"a" 1}'])
def test_what_is_no_json_is_refused(raw: bytes) -> None:
    parser = BodyParser(MODEL["json"], "")
    parser.feed(raw)
    if raw:
        with pytest.raises(CallRefused, match="JSON") as caught:
            parser.finish()
        assert caught.value.status == 400
    else:
        assert parser.finish() == {}


def test_sizes_are_bounded() -> None:
    limits = Limits(json_bytes=10, file_bytes=20)
    for name, content in (("json", bytes(11)), ("one_file", bytes(21))):
        parser = BodyParser(MODEL[name], "", limits)
        with pytest.raises(CallRefused, match="larger than") as caught:
            parser.feed(content)
        assert caught.value.status == 413
    BodyParser(MODEL["one_file"], "", limits).feed(bytes(20))


def form(body: bytes, cuts: Iterable[int] = (), boundary: str = "BB") -> dict[str, bytes]:
    found: dict[str, bytearray] = {}

    def open_part(name: str) -> Any:
        return None if name == "skipped" else found.setdefault(name, bytearray()).extend

    parser = MultipartParser(boundary, open_part)
    start = 0
    for cut in [*sorted(cuts), len(body)]:
        parser.feed(body[start:cut])
        start = max(start, cut)
    parser.finish()
    return {name: bytes(data) for name, data in found.items()}


FORM = (
    b'a preamble\r\n--BB\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--BB\r\n'
    b'content-type: text/plain\r\nCONTENT-DISPOSITION: form-data; filename="name=no"; name="b\\"c"\r\n\r\n\r\n--B\r\n'
    b'\r\n--BB  \r\nContent-Disposition: form-data; name=skipped\r\n\r\nxxx\r\n--BB\r\nContent-Disposition: x; name="e"'
    b"\r\n\r\n\r\n--BB--\r\nan epilogue"
)
PARTS = {"a": b"1", 'b"c': b"\r\n--B\r\n", "e": b""}


@given(st.lists(st.integers(0, len(FORM))))
def test_a_form_is_the_same_however_it_is_cut(cuts: list[int]) -> None:
    assert form(FORM, cuts) == PARTS


@given(st.binary(max_size=300), st.lists(st.integers(0, 300)))
def test_any_content_survives_a_form(content: bytes, cuts: list[int]) -> None:
    body = b'--0123456789\r\nContent-Disposition: form-data; name="f"\r\n\r\n' + content + b"\r\n--0123456789--\r\n"
    assert form(body, cuts, "0123456789") == {"f": content}


@pytest.mark.parametrize("end", [0, 5, len(FORM) - 20])
def test_a_form_without_its_end_was_cut(end: int) -> None:
    with pytest.raises(UploadCut):
        form(FORM[:end])


@pytest.mark.parametrize(
    "body",
    [
        b"--BB\r\nContent-Type: text/plain\r\n\r\nx\r\n--BB--",
        b"--BBx\r\n",
        b"--BB\r\n" + b"x: " + bytes(20_000),
        b"--BB" + b" " * 20_000,
        b'--BB\r\nContent-Disposition: x; name="a"\r\n\r\n\r\n' * 300,
    ],
)
def test_what_is_no_form_is_refused(body: bytes) -> None:
    with pytest.raises(CallRefused):
        form(body)


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/form-data; boundary=abc", "abc"),
        ('multipart/form-data; boundary="a b"; charset=utf-8', "a b"),
        ("Multipart/Form-Data;BOUNDARY=abc", "abc"),
    ],
)
def test_the_boundary_is_read_from_the_header(content_type: str, boundary: str) -> None:
    assert boundary_of(content_type) == boundary


@pytest.mark.parametrize("content_type", ["", "multipart/form-data", "text/plain; xboundary=abc"])
def test_without_a_boundary_there_is_no_form(content_type: str) -> None:
    with pytest.raises(CallRefused, match="boundary"):
        boundary_of(content_type)


def test_the_declared_parameters_decide_how_a_body_is_read() -> None:
    kwargs: dict[str, Any] = {}
    parse_content(kwargs, [b"{}", b"x"], MODEL["one_file"], "application/json")
    assert kwargs == {"file": b"{}x"}
    kwargs = {}
    parse_content(kwargs, [b'{"number": 3}'], MODEL["forced"], "text/plain")
    assert kwargs == {"number": 3}
    kwargs = {}
    parse_content(kwargs, [], MODEL["maybe_file"], "application/octet-stream")
    assert kwargs == {"file": b""}
