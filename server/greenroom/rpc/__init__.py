"""Typed calls between processes: an interface with annotations becomes a web server and a client.

    @service
    class IGreeter:
        @endpoint
        def greet(self, name: str) -> str: ...

    Server(8080, ServiceComponent(Greeter()))()                             serves an object that has these methods
    ApiCall.define_endpoints(api, "http://127.0.0.1:8080", IGreeter)        api.greet("you") calls them

``docs/rpc.md`` shows the rest. Names are loaded when they are first used: a child that only forks needs no web server.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from greenroom.rpc.address import build_route_path, parse_url
    from greenroom.rpc.annotation import Annotation, DeclaredType
    from greenroom.rpc.body import parse_json
    from greenroom.rpc.client import ApiCall, ApiUtils, AsyncStream, Client, ClientOptions, Stream
    from greenroom.rpc.content import CallModel, ContentModel, ContentProducer, parse_content
    from greenroom.rpc.declaration import EndpointAttributes, HttpMethod, build_decorator, endpoint, service, websocket
    from greenroom.rpc.documentation import (
        ApiDocumentation,
        CallDocumentation,
        DocumentationService,
        EndpointDocumentation,
        IDocumentationService,
        RequestDocumentation,
        ResponseDocumentation,
        ServiceDocumentation,
    )
    from greenroom.rpc.failures import ApiError, CallRefused, Unreachable, UploadCut
    from greenroom.rpc.files import File, FileLike, FileLikeHandler
    from greenroom.rpc.fork import Fork, ForkApp
    from greenroom.rpc.limits import Limits
    from greenroom.rpc.model import EndpointModel, ServiceModel
    from greenroom.rpc.naming import convert_name
    from greenroom.rpc.placement import ParamsModel
    from greenroom.rpc.prompters import (
        Address,
        AddressBuilder,
        AddressBuilderGC,
        AddressTemplatePart,
        ConstantTemplatePart,
        DefaultElement,
        IAddressElement,
        IPrompter,
        ITemplatePart,
        Prompter,
        Referrer,
        SubpromptPropagationTemplatePart,
    )
    from greenroom.rpc.protocol import ProtocolModel, ProtocolType
    from greenroom.rpc.result import ResultModel, ResultType
    from greenroom.rpc.serialization import (
        JSON,
        AnyHandler,
        BoolHandler,
        BytesHandler,
        DataclassHandler,
        DatetimeHandler,
        DictHandler,
        EnumHandler,
        FloatHandler,
        IntHandler,
        JSONHandler,
        JsonSchema,
        ListHandler,
        LiteralHandler,
        NoneHandler,
        PathHandler,
        PrimitiveHandler,
        SerializationContext,
        Serializer,
        SqlAlchemyHandler,
        StrHandler,
        TupleHandler,
        TypeHandler,
        TypeTools,
        UnionHandler,
    )
    from greenroom.rpc.server import (
        EndpointComponent,
        IComponent,
        IServer,
        Server,
        ServiceComponent,
        StaticFilesComponent,
        Tls,
        WebAppEntryPoint,
    )
    from greenroom.rpc.signature import Signature
    from greenroom.rpc.storage import FileDetails, IStorage, Storage, StorageApi, StorageApiWrap
    from greenroom.rpc.testing import TestApi, TestEndpointApi, ThreadTestApi

__all__ = [
    "JSON",
    "Address",
    "AddressBuilder",
    "AddressBuilderGC",
    "AddressTemplatePart",
    "Annotation",
    "AnyHandler",
    "ApiCall",
    "ApiDocumentation",
    "ApiError",
    "ApiUtils",
    "AsyncStream",
    "BoolHandler",
    "BytesHandler",
    "CallDocumentation",
    "CallModel",
    "CallRefused",
    "Client",
    "ClientOptions",
    "ConstantTemplatePart",
    "ContentModel",
    "ContentProducer",
    "DataclassHandler",
    "DatetimeHandler",
    "DeclaredType",
    "DefaultElement",
    "DictHandler",
    "DocumentationService",
    "EndpointAttributes",
    "EndpointComponent",
    "EndpointDocumentation",
    "EndpointModel",
    "EnumHandler",
    "File",
    "FileDetails",
    "FileLike",
    "FileLikeHandler",
    "FloatHandler",
    "Fork",
    "ForkApp",
    "HttpMethod",
    "IAddressElement",
    "IComponent",
    "IDocumentationService",
    "IPrompter",
    "IServer",
    "IStorage",
    "ITemplatePart",
    "IntHandler",
    "JSONHandler",
    "JsonSchema",
    "Limits",
    "ListHandler",
    "LiteralHandler",
    "NoneHandler",
    "ParamsModel",
    "PathHandler",
    "PrimitiveHandler",
    "Prompter",
    "ProtocolModel",
    "ProtocolType",
    "Referrer",
    "RequestDocumentation",
    "ResponseDocumentation",
    "ResultModel",
    "ResultType",
    "SerializationContext",
    "Serializer",
    "Server",
    "ServiceComponent",
    "ServiceDocumentation",
    "ServiceModel",
    "Signature",
    "SqlAlchemyHandler",
    "StaticFilesComponent",
    "Storage",
    "StorageApi",
    "StorageApiWrap",
    "StrHandler",
    "Stream",
    "SubpromptPropagationTemplatePart",
    "TestApi",
    "TestEndpointApi",
    "ThreadTestApi",
    "Tls",
    "TupleHandler",
    "TypeHandler",
    "TypeTools",
    "UnionHandler",
    "Unreachable",
    "UploadCut",
    "WebAppEntryPoint",
    "build_decorator",
    "build_route_path",
    "convert_name",
    "endpoint",
    "parse_content",
    "parse_json",
    "parse_url",
    "service",
    "websocket",
]

_PLACES: Final = {
    "address": "build_route_path parse_url",
    "annotation": "Annotation DeclaredType",
    "body": "parse_json",
    "client": "ApiCall ApiUtils AsyncStream Client ClientOptions Stream",
    "content": "CallModel ContentModel ContentProducer parse_content",
    "declaration": "EndpointAttributes HttpMethod build_decorator endpoint service websocket",
    "documentation": "ApiDocumentation CallDocumentation DocumentationService EndpointDocumentation "
    "IDocumentationService RequestDocumentation ResponseDocumentation ServiceDocumentation",
    "failures": "ApiError CallRefused Unreachable UploadCut",
    "files": "File FileLike FileLikeHandler",
    "fork": "Fork ForkApp",
    "limits": "Limits",
    "model": "EndpointModel ServiceModel",
    "naming": "convert_name",
    "placement": "ParamsModel",
    "prompters": "Address AddressBuilder AddressBuilderGC AddressTemplatePart ConstantTemplatePart "
    "DefaultElement IAddressElement IPrompter ITemplatePart Prompter Referrer "
    "SubpromptPropagationTemplatePart",
    "protocol": "ProtocolModel ProtocolType",
    "result": "ResultModel ResultType",
    "serialization": "AnyHandler BoolHandler BytesHandler DataclassHandler DatetimeHandler DictHandler "
    "EnumHandler FloatHandler IntHandler JSON JSONHandler JsonSchema ListHandler "
    "LiteralHandler NoneHandler PathHandler PrimitiveHandler SerializationContext Serializer "
    "SqlAlchemyHandler StrHandler TupleHandler TypeHandler TypeTools UnionHandler",
    "server": "EndpointComponent IComponent IServer Server ServiceComponent StaticFilesComponent Tls WebAppEntryPoint",
    "signature": "Signature",
    "storage": "FileDetails IStorage Storage StorageApi StorageApiWrap",
    "testing": "TestApi TestEndpointApi ThreadTestApi",
}
_MODULES: Final = {name: module for module, names in _PLACES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"{__name__}.{module}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
