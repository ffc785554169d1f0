"""The examples of ``docs/rpc.md`` do what they say, and those of the public document give the same results."""

# mypy: disable-error-code="empty-body"

import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

from greenroom.rpc import (
    ApiCall,
    FileLike,
    FileLikeHandler,
    Server,
    ServiceComponent,
    endpoint,
    service,
    websocket,
)

GUIDE = Path(__file__).parents[2] / "docs" / "rpc.md"
EXAMPLES = re.findall(r"^```python\n(.*?)^```", GUIDE.read_text(encoding="utf-8"), re.M | re.S)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_an_example_of_the_guide(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # A module of its own, so that annotations are resolved as in a file.
    module = ModuleType(f"guide_example_{number}")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(EXAMPLES[number], f"{GUIDE.name}, example {number + 1}", "exec"), vars(module))  # noqa: S102


def test_the_guide_has_its_examples() -> None:
    assert len(EXAMPLES) >= 6


class Color(Enum):
    RED = 1
    GREEN = 2


@dataclass
class Report:
    color: Color
    when: datetime
    log_path: Path


@dataclass
class Blob:
    name: str
    content: bytes


@dataclass
class Shape:
    color: str


@dataclass
class Circle(Shape):
    radius: float


@dataclass
class Drawing:
    shape: Shape


@dataclass
class Token:
    text: str
    index: int


@service
class IMyService:
    @endpoint
    def select(self, id: str, data: list[dict[str, Any]], drop_duplicates: bool | None = None) -> list[str]: ...


class MyService(IMyService):
    def select(self, id: str, data: list[dict[str, Any]], drop_duplicates: bool | None = None) -> list[str]:
        found = [row["text"] for row in data if row["id"] == id]
        return list(dict.fromkeys(found)) if drop_duplicates else found


@service
class IFileService:
    @endpoint(force_json_params=True)
    def json_only(self, name: str) -> str: ...
    @endpoint
    def single_file(self, file: FileLike) -> int: ...
    @endpoint(force_json_params=True)
    def json_and_file(self, name: str, file: FileLike) -> int: ...
    @endpoint(force_json_params=True)
    def download_file(self, content: str) -> bytes: ...


class FileService(IFileService):
    def json_only(self, name: str) -> str:
        return name

    def single_file(self, file: FileLike) -> int:
        return len(FileLikeHandler.to_bytes(file))

    def json_and_file(self, name: str, file: FileLike) -> int:
        return self.single_file(file)

    def download_file(self, content: str) -> Any:
        for start in range(0, len(content), 4):
            yield content[start : start + 4].encode()


@service
class IStreamingService:
    @websocket(force_json_params=True)
    def binary_chunks(self, payload: str) -> Iterable[bytes]: ...
    @websocket(force_json_params=True)
    def text_lines(self, count: int) -> Iterable[str]: ...
    @websocket(force_json_params=True)
    def token_stream(self, prompt: str) -> Iterable[Token]: ...


class StreamingService(IStreamingService):
    def binary_chunks(self, payload: str) -> Iterable[bytes]:
        return (payload[start : start + 4].encode() for start in range(0, len(payload), 4))

    def text_lines(self, count: int) -> Iterable[str]:
        return (f"line:{number}" for number in range(count))

    def token_stream(self, prompt: str) -> Iterable[Token]:
        return (Token(word, index) for index, word in enumerate(prompt.split()))


class Api(IMyService, IFileService, IStreamingService):
    def __init__(self, base_url: str) -> None:
        self.clients = [
            ApiCall.define_endpoints(self, base_url, interface)
            for interface in (IMyService, IFileService, IStreamingService)
        ]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    services = (MyService(), FileService(), StreamingService())
    with Server(0, *(ServiceComponent(one) for one in services)).running() as base_url:
        yield base_url


@pytest.fixture
def api(url: str) -> Iterator[Any]:
    api = Api(url)
    yield api
    for client in api.clients:
        client.close()


ROWS = [
    {"id": "test", "text": "example 1"},
    {"id": "test", "text": "example 2"},
    {"id": "test", "text": "example 1"},
    {"id": "test_1", "text": "example 3"},
]


def test_the_selecting_service_of_the_document(url: str, api: Any) -> None:
    answer = httpx.post(
        f"{url}/my-service/select/test/?drop_duplicates=True", json={"data": ROWS}, follow_redirects=True
    )
    assert answer.json() == ["example 1", "example 2"]
    assert api.select("test", ROWS, drop_duplicates=True) == ["example 1", "example 2"]
    assert api.select("test", ROWS) == ["example 1", "example 2", "example 1"]


def test_the_file_service_of_the_document(url: str, api: Any) -> None:
    assert httpx.post(f"{url}/file-service/json-only", json={"name": "hello"}).json() == "hello"
    assert httpx.post(f"{url}/file-service/single-file", content=b"hello").json() == 5
    parts = [("json_arguments", b'{"name":"report"}'), ("file", b"hello")]
    assert httpx.post(f"{url}/file-service/json-and-file", files=parts).json() == 5
    assert httpx.post(f"{url}/file-service/download-file", json={"content": "hello"}).content == b"hello"
    assert (api.json_only("hello"), api.single_file(b"hello"), api.json_and_file("report", b"hello")) == ("hello", 5, 5)
    assert b"".join(api.download_file("hello")) == b"hello"


def test_the_streaming_service_of_the_document(api: Any) -> None:
    assert b"".join(api.binary_chunks("hello world")) == b"hello world"
    assert list(api.text_lines(3)) == ["line:0", "line:1", "line:2"]
    assert list(api.token_stream("hello world")) == [Token("hello", 0), Token("world", 1)]


def test_the_values_of_the_document_travel(tmp_path: Path) -> None:
    @service
    class IEcho:
        @endpoint
        def report(self, value: Report) -> Report: ...
        @endpoint
        def blob(self, value: Blob) -> Blob: ...
        @endpoint
        def drawing(self, value: Drawing) -> Drawing: ...

    class Echo(IEcho):
        def report(self, value: Report) -> Report:
            return value

        def blob(self, value: Blob) -> Blob:
            return value

        def drawing(self, value: Drawing) -> Drawing:
            assert isinstance(value.shape, Circle)
            return value

    class EchoApi(IEcho):
        def __init__(self, base_url: str) -> None:
            self.client = ApiCall.define_endpoints(self, base_url, IEcho)

    report = Report(Color.GREEN, datetime(2025, 1, 15, 12), tmp_path)
    blob = Blob("four", bytes(range(4)))
    drawing = Drawing(Circle("red", 5.0))
    with Server(0, ServiceComponent(Echo())).running() as url:
        echo = EchoApi(url)
        assert echo.report(report) == report
        assert echo.blob(blob) == blob
        assert echo.drawing(drawing) == drawing
        call: Any = echo.drawing
        assert list(call.last_raw_response["shape"].items())[:3] == [
            ("color", "red"),
            ("radius", 5.0),
            ("@type", "dataclass"),
        ]
        content = {"name": "four", "content": {"@type": "bytes", "value": "AAECAw=="}}
        assert httpx.post(f"{url}/echo/blob", json={"value": content}).json() == content
        echo.client.close()
