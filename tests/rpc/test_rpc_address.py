"""URLs: what they look like, and that any text survives them."""

# mypy: disable-error-code="empty-body"

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path, PurePath
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes.rpc_services import Color, IWide, WideApi, wide
from greenroom.rpc import CallModel, CallRefused, ServiceModel, build_route_path, parse_url
from greenroom.rpc.address import RoutePattern, decode_segment, encode_segment, parse_query, url_template

MODEL = ServiceModel.parse(IWide)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


def url(name: str, *args: Any, address: str | None = None, **kwargs: Any) -> str:
    return CallModel.Factory("http://x", MODEL[name], address)(*args, **kwargs).content.url


@pytest.fixture(scope="module")
def api() -> Iterator[WideApi]:
    with wide() as (api, _):
        yield api


@pytest.mark.parametrize(
    ("text", "segment"),
    [
        ("plain", "plain"),
        ("a/b", "a%2Fb"),
        ("a?b#c", "a%3Fb%23c"),
        ("a+b&c d", "a%2Bb%26c%20d"),
        ("100%", "100%25"),
        (".", "%2E"),
        ("..", "%2E%2E"),
        ("...", "..."),
        ("/etc/passwd", "%2Fetc%2Fpasswd"),
        ("ä✓", "%C3%A4%E2%9C%93"),
        ("", ""),
    ],
)
def test_each_segment_is_encoded_on_its_own(text: str, segment: str) -> None:
    assert encode_segment(text) == segment
    assert decode_segment(segment) == text


def test_the_text_forms_of_primitives() -> None:
    when = datetime(2025, 1, 15, 12, 0, tzinfo=UTC)
    path = "/".join(("1", "2.0", "True", "GREEN", "2025-01-15T12%3A00%3A00%2B00%3A00", "a%2Fb", "given"))
    assert url("primitives", 1, 2, True, Color.GREEN, when, Path("a/b")) == f"/wide/primitives/{path}"


def test_none_stays_out_of_the_query() -> None:
    assert url("query", None) == "/wide/query"
    assert url("query", "a b", Color.RED) == "/wide/query?text=a%20b&color=RED"
    assert url("query", "", None, 3) == "/wide/query?text=&number=3"


def test_underscores_become_dashes_and_a_prefix_replaces_the_service() -> None:
    assert url("one_file", b"") == "/wide/one-file"
    model = MODEL["one_file"]
    assert url("one_file", b"", address=model.address("a/b")) == "/a/b/one-file"
    assert url("one_file", b"", address=model.address("/a/")) == "/a/one-file"
    assert model.address("") == model.address(None) == "wide/one-file"


@pytest.mark.parametrize(
    ("path", "rest"),
    [("a/b c", "/a/b%20c"), ("/abs", "//abs"), ("../up", "/%2E%2E/up"), ("", "/"), (None, ""), ("a%2Fb", "/a%252Fb")],
)
def test_only_the_slashes_of_a_pathlike_argument_are_slashes(path: str | None, rest: str) -> None:
    assert url("pathlike", 1, path, 2) == f"/wide/pathlike/1{rest}?part=2"


def test_templates() -> None:
    model = MODEL["pathlike"]
    assert build_route_path(model) == "/wide/pathlike/{number}/{path:path}"
    assert build_route_path(model, "x/y") == "/x/y/{number}/{path:path}"
    assert url_template(model) == "/wide/pathlike/<number>/<path>?part=<part>"


@pytest.mark.parametrize("wrong", ["1", None, 1.5, [1]])
def test_a_value_of_another_type_never_leaves_the_client(wrong: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        url("fetch", wrong)


def test_a_missing_argument_never_leaves_the_client() -> None:
    with pytest.raises(TypeError, match="missing"):
        url("fetch")
    with pytest.raises(TypeError, match="tokens"):
        url("json")
    with pytest.raises(TypeError, match="text"):
        url("query")


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        ("/wide/fetch/1", {"number": "1"}),
        ("/wide/fetch/a%2Fb", {"number": "a/b"}),
        ("/wide/fetch/", {"number": ""}),
        ("/%77ide/fetch/1", {"number": "1"}),
        ("/wide/fetch", None),
        ("/wide/fetch/1/2", None),
        ("/wide/other/1", None),
        ("/", None),
        ("", None),
    ],
)
def test_a_raw_path_is_matched_before_it_is_decoded(raw: str, found: dict[str, str] | None) -> None:
    assert RoutePattern.of(MODEL["fetch"]).match(raw) == found


def test_a_pathlike_route_takes_the_rest() -> None:
    pattern = RoutePattern.of(MODEL["pathlike"])
    assert pattern.match("/wide/pathlike/1/a/b%2Fc/") == {"number": "1", "path": "a/b/c/"}
    assert pattern.match("/wide/pathlike/1") == {"number": "1"}
    assert pattern.match("/wide/pathlike") is None


def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(CallRefused, match="UTF-8") as caught:
        decode_segment("%ff")
    assert caught.value.status == 400
    for raw in ("a=%ff", "&".join(f"a{index}=1" for index in range(101))):
        with pytest.raises(CallRefused):
            parse_query(raw)


def test_values_are_parsed_and_missing_nullables_become_none() -> None:
    kwargs: dict[str, Any] = {}
    parse_url(kwargs, MODEL["query"], {}, {"color": "RED", "unknown": "1"})
    assert kwargs == {"color": Color.RED, "text": None}
    kwargs = {}
    parse_url(kwargs, MODEL["pathlike"], {"number": "3"}, {})
    assert kwargs == {"number": 3}
    with pytest.raises(CallRefused, match="invalid literal for int"):
        parse_url({}, MODEL["fetch"], {"number": "abc"}, {})


@given(TEXTS)
@settings(max_examples=60, deadline=None)
def test_any_text_survives_path_and_query(api: WideApi, text: str) -> None:
    assert api.text(text) == text
    assert api.query(text) == repr((text, None, 7))


@given(TEXTS)
@settings(max_examples=60, deadline=None)
def test_any_text_survives_as_the_rest_of_the_path(api: WideApi, text: str) -> None:
    assert api.pathlike(1, text) == repr((1, text, None))


@pytest.mark.parametrize("path", ["..", "../..", "./x", "//", "/etc/passwd", "a//b"])
def test_dots_and_slashes_are_only_text(api: WideApi, path: str) -> None:
    assert api.text(path) == path
    assert api.pathlike(1, path) == repr((1, path, None))
    assert api.ws_plain(1, path) == f"1 {path}"


def test_a_path_object_has_forward_slashes() -> None:
    model = MODEL["pathlike"]
    made = CallModel.Factory("http://x", model)
    assert made(1, str(PurePath("a") / "b").replace("\\", "/")).content.url == "/wide/pathlike/1/a/b"
