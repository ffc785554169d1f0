"""What users of foundation_kaia call this library's names, and the views that answer to them.

:mod:`greenroom.rpc.compat` is the door to it.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Final

ROOT: Final = "foundation_kaia"
DOOR: Final = "greenroom.rpc.compat"

_DOCUMENTATION: Final = {
    "documentation": "ApiDocumentation ServiceDocumentation EndpointDocumentation CallDocumentation "
    "RequestDocumentation ResponseDocumentation",
    "serialization": "JsonSchema",
}

_HANDLERS: Final = (
    "AnyHandler BoolHandler BytesHandler DataclassHandler DateTimeHandler DatetimeHandler DictHandler EnumHandler "
    "FloatHandler IntHandler JSONHandler ListHandler LiteralHandler NoneHandler PathHandler PrimitiveHandler "
    "SqlAlchemyHandler StrHandler StringHandler TupleHandler TypeHandler UnannotatedHandler UnionHandler"
)

NAMES: Final[Mapping[str, Mapping[str, str]]] = {
    "": {"fork": "Fork"},
    ".fork": {"fork": "Fork ForkApp"},
    ".marshalling": {
        "declaration": "service endpoint websocket build_decorator EndpointAttributes HttpMethod",
        "server": "Server IServer ServiceComponent EndpointComponent StaticFilesComponent IComponent WebAppEntryPoint",
        "client": "ApiCall ApiUtils",
        "failures": "ApiError",
        "testing": "TestApi ThreadTestApi TestEndpointApi",
        "files": "FileLike FileLikeHandler File",
        "serialization": f"Serializer SerializationContext TypeTools JSON JsonSchema {_HANDLERS}",
        "model": "EndpointModel ServiceModel",
        "content": "CallModel ContentModel ContentProducer parse_content",
        "placement": "ParamsModel",
        "result": "ResultModel ResultType",
        "protocol": "ProtocolType ProtocolModel",
        "naming": "convert_name",
        "body": "parse_json",
        "address": "parse_url build_route_path",
        "signature": "Signature",
        "annotation": "DeclaredType Annotation",
        "storage": "IStorage Storage StorageApi StorageApiWrap FileDetails",
        "documentation": f"IDocumentationService DocumentationService {_DOCUMENTATION['documentation']}",
    },
    ".marshalling.documenter": _DOCUMENTATION,
    ".marshalling.serialization": {
        "serialization": f"Serializer SerializationContext TypeTools JSON JsonSchema {_HANDLERS}"
    },
    ".marshalling.serialization.tools": {"serialization": "TypeTools"},
    ".prompters": {
        "prompters": "Referrer Prompter IPrompter Address IAddressElement DefaultElement AddressBuilder "
        "AddressBuilderGC ITemplatePart ConstantTemplatePart AddressTemplatePart SubpromptPropagationTemplatePart"
    },
}
"""Their module, our module below ``greenroom.rpc``, the names."""


def install() -> None:
    """From now on ``import foundation_kaia`` finds ours. Again is harmless.

    :raises ImportError: if another ``foundation_kaia`` has been imported already
    """
    loaded = sys.modules.get(ROOT)
    if loaded is not None and not isinstance(loaded, _View):
        raise ImportError(f"{ROOT} is imported already, from {loaded.__spec__ and loaded.__spec__.origin}")
    if not is_installed():
        sys.meta_path.insert(0, _Finder())


def uninstall() -> None:
    """Undo :func:`install`. What was imported in between stays usable."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _Finder)]
    for name in [name for name, module in sys.modules.items() if isinstance(module, _View)]:
        del sys.modules[name]


def is_installed() -> bool:
    return any(isinstance(finder, _Finder) for finder in sys.meta_path)


class _View(ModuleType):
    """A module whose names are looked up in ours when they are asked for."""

    def __init__(self, name: str, sources: Mapping[str, str]) -> None:
        super().__init__(name, __doc__)
        self._sources = sources
        self.__all__ = sorted(self.sources())

    def sources(self) -> dict[str, str]:
        """Name to the module of ours that has it."""
        return {
            name: f"greenroom.rpc.{module}"
            for module, names in vars(self)["_sources"].items()
            for name in names.split()
        }

    def __getattr__(self, name: str) -> object:
        source = self.sources().get(name)
        if source is None:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        found: object = getattr(import_module(source), name)
        setattr(self, name, found)
        return found

    def __dir__(self) -> Iterator[str]:
        return iter(sorted({*super().__dir__(), *self.sources()}))


def _place(module: str) -> str | None:
    """The key in :data:`NAMES` of a module of theirs, whose tree is also found below :data:`DOOR`."""
    if module == ROOT:
        return ""
    root = next((root for root in (ROOT, DOOR) if module.startswith(f"{root}.")), None)
    return module.removeprefix(root) if root is not None else None


class _Finder(MetaPathFinder, Loader):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        place = _place(fullname)
        if place not in NAMES:
            return None
        is_package = any(other.startswith(f"{place}.") for other in NAMES)
        return ModuleSpec(fullname, self, origin=__file__, is_package=is_package)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _View(spec.name, NAMES[_place(spec.name) or ""])

    def exec_module(self, module: ModuleType) -> None:
        """Nothing is left to do: the names come when they are asked for."""
