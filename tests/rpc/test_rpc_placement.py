"""Where each argument travels, and what is refused when it is declared."""

# mypy: disable-error-code="empty-body"

from collections.abc import AsyncIterator, Callable, Iterable
from datetime import datetime
from enum import Enum
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from greenroom.rpc import EndpointModel, File, FileLike, ParamsModel, ResultType, endpoint, websocket


class Shade(Enum):
    DARK = 1


def model_of(function: Callable[..., Any], decorate: Any = endpoint) -> EndpointModel:
    found = EndpointModel.parse(decorate(function))
    assert found is not None
    return found


def places(params: ParamsModel) -> dict[str, str]:
    found = {param.name: "path" for param in params.path_params}
    found |= {param.name: "query" for param in params.query_params}
    found |= {param.name: "json" for param in params.json_params}
    found |= {param.name: "file?" if param.optional else "file" for param in params.file_params}
    for name in ("binary_stream_param", "custom_stream_param", "pathlike_param"):
        param = getattr(params, name)
        if param is not None:
            found[param.name] = name.removesuffix("_param")
    return found


PRIMITIVE: list[Any] = [int, float, str, bool, Shade, datetime, Path, int | str]
FILES: list[Any] = [bytes, BytesIO, File, FileLike, bytes | str, BytesIO | Path]
OTHERS: list[Any] = [list[int], dict[str, int], Any, object, int | list[int], None, list[bytes]]


def placed(annotation: Any, decorate: Any = endpoint, default: Any = ...) -> str:
    def function(x: Any) -> None: ...

    function.__annotations__["x"] = annotation
    if default is not ...:
        function.__defaults__ = (default,)
    return places(model_of(function, decorate).params)["x"]


@pytest.mark.parametrize("annotation", PRIMITIVE)
def test_primitives_are_segments_of_the_path(annotation: Any) -> None:
    assert placed(annotation) == "path"
    assert placed(annotation, default="x") == "path"
    assert placed(annotation | None) == "query"
    assert placed(annotation, endpoint(force_json_params=True)) == "json"
    assert placed(annotation | None, endpoint(force_json_params=True)) == "json"


@pytest.mark.parametrize("annotation", FILES)
def test_bytes_are_files(annotation: Any) -> None:
    assert placed(annotation) == "file"
    assert placed(annotation | None) == "file?"
    assert placed(annotation, default=None) == "file?"
    assert placed(annotation, endpoint(force_json_params=True)) == "file"


@pytest.mark.parametrize("annotation", OTHERS)
def test_everything_else_is_json(annotation: Any) -> None:
    assert placed(annotation) == "json"


def test_an_argument_without_annotation_is_json() -> None:
    def function(x) -> None: ...  # type: ignore[no-untyped-def]

    assert places(model_of(function).params) == {"x": "json"}


@pytest.mark.parametrize(
    ("annotation", "place"),
    [
        (Iterable[bytes], "binary_stream"),
        (FileLike | Iterable[bytes], "binary_stream"),
        (Iterable[bytes] | None, "binary_stream"),
        (AsyncIterator[bytes], "binary_stream"),
        (Iterable[str], "custom_stream"),
        (Iterable[dict[str, int]], "custom_stream"),
        (AsyncIterator[int], "custom_stream"),
        (FileLike | Iterable[int], "custom_stream"),
    ],
)
def test_an_iterable_is_the_stream(annotation: Any, place: str) -> None:
    assert placed(annotation, websocket) == place


@pytest.mark.parametrize("annotation", [Iterable, AsyncIterator, Iterable[int] | list[int], Iterable[int] | int])
def test_a_stream_must_say_what_it_is(annotation: Any) -> None:
    with pytest.raises(ValueError, match=r"does not say|beside"):
        placed(annotation, websocket)


def test_bytes_beside_other_types_are_refused() -> None:
    with pytest.raises(ValueError, match="beside bytes"):
        placed(bytes | int)


def test_pathlike_is_the_rest_of_the_path() -> None:
    def function(a: int, path: str | Path | None, b: int | None = None) -> None: ...

    params = model_of(function, endpoint(is_pathlike="path")).params
    assert places(params) == {"a": "path", "path": "pathlike", "b": "query"}


def test_pathlike_must_be_text_and_there() -> None:
    def number(path: int) -> None: ...
    def other(x: str) -> None: ...

    with pytest.raises(ValueError, match="str, Path or None"):
        model_of(number, endpoint(is_pathlike="path"))
    with pytest.raises(ValueError, match="no argument path"):
        model_of(other, endpoint(is_pathlike="path"))


def two_streams(a: Iterable[int], b: Iterable[int]) -> None: ...
def stream_and_json(a: Iterable[bytes], b: list[int]) -> None: ...
def stream_and_file(a: Iterable[bytes], b: FileLike) -> None: ...
def items_up(a: Iterable[int]) -> None: ...
def through(a: Iterable[bytes]) -> Iterable[bytes]: ...
def through_items(a: Iterable[bytes]) -> Iterable[int]: ...
def bare() -> Iterable: ...  # type: ignore[type-arg]


@pytest.mark.parametrize("function", [stream_and_json, stream_and_file, items_up, through, through_items])
def test_what_http_cannot_carry_a_websocket_can(function: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match="websocket"):
        model_of(function)
    model_of(function, websocket)


@pytest.mark.parametrize("decorate", [endpoint, websocket])
@pytest.mark.parametrize("function", [two_streams, bare])
def test_what_nothing_can_carry(function: Callable[..., Any], decorate: Any) -> None:
    with pytest.raises(ValueError, match=r"second stream|bare"):
        model_of(function, decorate)


@pytest.mark.parametrize(
    ("annotation", "kind", "content_type"),
    [
        (None, ResultType.Json, "application/json"),
        (list[int], ResultType.Json, "application/json"),
        (Path, ResultType.Json, "application/json"),
        (bytes, ResultType.BinaryFile, "application/octet-stream"),
        (File, ResultType.BinaryFile, "application/octet-stream"),
        (FileLike, ResultType.BinaryFile, "application/octet-stream"),
        (Iterable[bytes], ResultType.BinaryFile, "application/octet-stream"),
        (AsyncIterator[bytes], ResultType.BinaryFile, "application/octet-stream"),
        (Iterable[str], ResultType.StringIterable, "text/plain"),
        (Iterable[int], ResultType.CustomIterable, "application/jsonlines+json"),
    ],
)
def test_the_annotation_decides_what_comes_back(annotation: Any, kind: ResultType, content_type: str) -> None:
    def function() -> Any: ...

    function.__annotations__["return"] = annotation
    result = model_of(function).result
    assert (result.type, result.content_type) == (kind, content_type)
    assert model_of(function, endpoint(content_type="audio/x-wav")).result.content_type == "audio/x-wav"


def test_an_extension_is_guessed_from_the_content_type() -> None:
    def function() -> bytes: ...

    assert model_of(function, endpoint(content_type="image/png")).result.guess_extension() == ".png"
    assert model_of(function, endpoint(content_type="nothing/known")).result.guess_extension() == ""
