"""What a service tells of itself, and static files beside it."""

# mypy: disable-error-code="empty-body"

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import httpx
import pytest

from fakes.rpc_services import IWide, Token, Wide
from greenroom.rpc import (
    ApiCall,
    ApiDocumentation,
    CallModel,
    DocumentationService,
    EndpointDocumentation,
    File,
    IDocumentationService,
    JsonSchema,
    RequestDocumentation,
    Server,
    ServiceComponent,
    ServiceDocumentation,
    ServiceModel,
    StaticFilesComponent,
    endpoint,
    service,
)


@service
class IMyService:
    @endpoint
    def select(self, id: str, data: list[dict[str, Any]], drop_duplicates: bool | None = None) -> list[str]: ...


def test_the_example_of_the_public_document() -> None:
    found = ApiDocumentation.parse(IMyService).services["my-service"].endpoints["select"]
    assert found == EndpointDocumentation(
        name="select",
        docstring=None,
        url_template="/my-service/select/<id>?drop_duplicates=<drop_duplicates>",
        json_schema=JsonSchema(
            schema={
                "properties": {
                    "data": {"items": {"additionalProperties": {}, "type": "object"}, "type": "array"},
                },
                "type": "object",
            },
            defs={},
        ),
        file_params=[],
        return_type="list",
        return_is_file=False,
    )
    assert (found.http_method, found.is_websocket, found.required) == ("POST", False, ["id", "data"])


def test_files_streams_and_their_items() -> None:
    endpoints = ServiceDocumentation.parse(IWide).endpoints
    found = endpoints["ws_all"]
    assert found.file_params == ["file", "items"]
    assert found.is_websocket
    assert found.http_method == ""
    assert found.required == ["name", "file", "items"]
    assert set(found.items) == {"items", "return"}
    assert "index" in str(found.items["items"])
    assert found.return_type == "Iterable"
    assert endpoints["content"].return_is_file
    assert endpoints["chunks"].items == {}
    assert endpoints["fetch"].http_method == "GET"
    assert endpoints["nothing"].return_type == "NoneType"
    assert endpoints["ws_maybe"].required == []


def test_each_service_class_is_listed_on_its_own() -> None:
    @service
    class IDerived(IMyService):
        """More."""

        @endpoint
        def more(self) -> Iterable[int]: ...

    services = ApiDocumentation.parse(IDerived).services
    assert list(services) == ["derived", "my-service"]
    assert services["derived"].docstring == "More."
    assert list(services["my-service"].endpoints) == ["select"]
    with pytest.raises(TypeError, match="is no service"):
        ApiDocumentation.parse(int)


def test_a_call_can_be_shown() -> None:
    model = ServiceModel.parse(IWide)["form"]
    shown = RequestDocumentation.parse(CallModel.Factory("http://x", model)({"a": 1}, File("a.txt", "hi"), b"x"))
    assert shown.url == "/wide/form"
    assert shown.json == {"name": {"a": 1}}
    assert {name: (file.name, file.content) for name, file in shown.files.items()} == {
        "file": ("a.txt", b"hi"),
        "other": ("other", b"x"),
    }


def test_the_documentation_is_served() -> None:
    component = ServiceComponent(Wide(), "some/where")
    documentation = ServiceComponent(DocumentationService([component]), "doc")
    with Server(0, component, documentation).running() as url:

        class Api(IDocumentationService):
            def __init__(self) -> None:
                self.client = ApiCall.define_endpoints(self, url, IDocumentationService, "doc")

        api = Api()
        (told,) = api.json()
        assert told.name == "wide"
        assert told.docstring == "Everything at once."
        assert told.endpoints["fetch"].url_template == "/some/where/fetch/<number>"
        assert told.endpoints["fetch"].http_method == "GET"
        assert told.endpoints["json"].required == ["tokens"]
        assert Token.__qualname__ in str(told.endpoints["json"].json_schema.to_dict())
        answer = httpx.get(f"{url}/doc/html")
        assert answer.headers["content-type"].startswith("text/html")
        assert "/some/where/fetch/&lt;number&gt;" in answer.text
        api.client.close()


def test_static_files_lie_beside_the_services(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "page.html").write_text("hello", encoding="utf-8")
    (tmp_path / "outside.html").write_text("secret", encoding="utf-8")
    with Server(0, StaticFilesComponent(folder)).running() as url:
        assert httpx.get(f"{url}/static/page.html").text == "hello"
        assert httpx.get(f"{url}/static/missing").status_code == 404
        assert httpx.get(f"{url}/static/%2e%2e/outside.html").status_code == 404
