"""What a person, or a program that writes clients, wants to know of a service."""

import html
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from greenroom.rpc.address import url_template
from greenroom.rpc.annotation import DeclaredType
from greenroom.rpc.content import CallModel
from greenroom.rpc.declaration import endpoint, is_service, service
from greenroom.rpc.files import File, FileLikeHandler
from greenroom.rpc.model import EndpointModel, ServiceModel
from greenroom.rpc.result import ResultType
from greenroom.rpc.serialization import JSON, JsonSchema


@dataclass
class EndpointDocumentation:
    """
    :param json_schema: of the JSON arguments.
    :param file_params: files and streams.
    :param return_type: type names joined by ``|``.
    :param http_method: empty for a websocket.
    :param required: the arguments that a call must give.
    :param items: JSON schema of a stream's items, by argument, ``return`` for the result; bytes have none.
    """

    name: str
    docstring: str | None
    url_template: str
    json_schema: JsonSchema
    file_params: list[str]
    return_type: str
    return_is_file: bool
    http_method: str = field(default="", compare=False, repr=False)
    is_websocket: bool = field(default=False, compare=False, repr=False)
    required: list[str] = field(default_factory=list, compare=False, repr=False)
    items: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def parse(cls, ep: EndpointModel, prefix: str | None = None) -> "EndpointDocumentation":
        params = ep.params
        carried = [*params.file_params, *((params.stream_param,) if params.stream_param else ())]
        method = ep.protocol.http_method
        return cls(
            ep.name,
            ep.signature.callable.__doc__,
            url_template(ep, ep.address(prefix)),
            JsonSchema.from_fields({param.name: param.serializer for param in params.json_params}),
            [param.name for param in sorted(carried, key=lambda one: one.argument.index)],
            ep.signature.returned_type.names,
            ep.result.type is ResultType.BinaryFile,
            method.value if method else "",
            ep.protocol.is_websocket,
            [one.name for one in ep.signature.arguments if one.is_required],
            _items(ep),
        )


@dataclass
class ServiceDocumentation:
    name: str
    docstring: str | None
    endpoints: dict[str, EndpointDocumentation]

    @classmethod
    def parse(cls, interface: Any, prefix: str | None = None) -> "ServiceDocumentation":
        """:param prefix: in place of the service's name in URLs. :raises TypeError: if it is no service."""
        model = interface if isinstance(interface, ServiceModel) else ServiceModel.parse(interface)
        endpoints = {one.name: EndpointDocumentation.parse(one, prefix) for one in model.endpoints}
        return cls(model.name, model.docstring, endpoints)


@dataclass
class ApiDocumentation:
    """:param services: by name; each ``@service`` class of the parsed one on its own."""

    services: dict[str, ServiceDocumentation] = field(default_factory=dict)

    @classmethod
    def parse(cls, tp: Any) -> "ApiDocumentation":
        """:raises TypeError: if no class of it is a service."""
        declared = DeclaredType.parse(tp)
        found = [ServiceDocumentation.parse(_typed(base)) for base in declared.mro if is_service(base.type)]
        if not found:
            raise TypeError(f"{declared.name} is no service: decorate the class with @service")
        return cls({one.name: one for one in found})


@dataclass
class RequestDocumentation:
    url: str
    json: JSON
    files: dict[str, File]

    @classmethod
    def parse(cls, call: CallModel) -> "RequestDocumentation":
        """What a call sends. Only files can be shown, a stream cannot: it would be used up."""
        content = call.content
        files = {
            name: File(FileLikeHandler.guess_name(value) or name, FileLikeHandler.to_bytes(value))
            for name, value in content.raw_values.items()
            if FileLikeHandler.is_file_like(value)
        }
        return cls(content.url, content.json_values, files)


@dataclass
class ResponseDocumentation:
    json: JSON
    file: File | None
    error: str | None


@dataclass
class CallDocumentation:
    request: RequestDocumentation
    response: ResponseDocumentation


@service
class IDocumentationService:
    """What the server offers."""

    @endpoint(method="GET")
    def json(self) -> list[ServiceDocumentation]:  # type: ignore[empty-body]
        """Every service, for programs."""

    @endpoint(method="GET", content_type="text/html")
    def html(self) -> bytes:  # type: ignore[empty-body]
        """Every service, for people."""


class DocumentationService(IDocumentationService):
    """:param components: what has a ``service`` and a ``prefix``, as a ``ServiceComponent`` does."""

    def __init__(self, components: Iterable[Any]) -> None:
        self._services = [ServiceDocumentation.parse(one.service, one.prefix) for one in components]

    def json(self) -> list[ServiceDocumentation]:
        return self._services

    def html(self) -> bytes:
        body = "\n".join(_service_html(one) for one in self._services)
        return f"<!doctype html>\n<meta charset=utf-8>\n<title>Services</title>\n{body}\n".encode()


def _items(ep: EndpointModel) -> dict[str, Any]:
    found = {"return": ep.result.serializer} if ep.result.is_stream else {}
    if ep.params.stream_param:
        found[ep.params.stream_param.name] = ep.params.stream_param.serializer
    return {name: one.to_json_schema().to_dict() for name, one in found.items() if one is not None}


def _typed(base: DeclaredType) -> Any:
    return base.type[base.arguments] if base.arguments else base.type


def _service_html(found: ServiceDocumentation) -> str:
    endpoints = "\n".join(_endpoint_html(one) for one in found.endpoints.values())
    return f"<h1>{html.escape(found.name)}</h1>\n{_paragraph(found.docstring)}{endpoints}"


def _endpoint_html(found: EndpointDocumentation) -> str:
    how = "websocket" if found.is_websocket else found.http_method
    rows = {
        "JSON": found.json_schema.to_dict() if found.json_schema.schema.get("properties") else "",
        "files and streams": ", ".join(found.file_params),
        "required": ", ".join(found.required),
        "items": found.items or "",
        "returns": found.return_type,
    }
    listed = "".join(f"<dt>{name}<dd><code>{html.escape(str(value))}</code>" for name, value in rows.items() if value)
    head = f"<h2>{html.escape(found.name)}</h2>\n<p>{how} <code>{html.escape(found.url_template)}</code>\n"
    return f"{head}{_paragraph(found.docstring)}<dl>{listed}</dl>"


def _paragraph(text: str | None) -> str:
    return f"<p>{html.escape(text.strip())}\n" if text else ""
