"""Every name that users of foundation_kaia import, from where they import it."""

import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from types import ModuleType

import pytest

from greenroom.rpc import compat

PROMISED = {
    "foundation_kaia": "Fork",
    "foundation_kaia.fork": "Fork ForkApp",
    "foundation_kaia.marshalling": """
        service endpoint websocket build_decorator EndpointAttributes HttpMethod Server IServer ServiceComponent
        EndpointComponent StaticFilesComponent IComponent WebAppEntryPoint ApiCall ApiUtils ApiError TestApi
        ThreadTestApi TestEndpointApi FileLike FileLikeHandler File Serializer SerializationContext TypeTools JSON
        JsonSchema EndpointModel ServiceModel CallModel ContentModel ContentProducer ParamsModel ResultModel ResultType
        ProtocolType ProtocolModel convert_name parse_json parse_url parse_content build_route_path Signature
        DeclaredType Annotation IStorage Storage StorageApi StorageApiWrap FileDetails IDocumentationService
        DocumentationService BytesHandler DataclassHandler DictHandler EnumHandler ListHandler UnionHandler
    """,
    "foundation_kaia.marshalling.documenter": """
        ApiDocumentation ServiceDocumentation EndpointDocumentation CallDocumentation RequestDocumentation
        ResponseDocumentation JsonSchema
    """,
    "foundation_kaia.marshalling.serialization.tools": "TypeTools",
    "foundation_kaia.prompters": """
        Referrer Prompter IPrompter Address IAddressElement DefaultElement AddressBuilder AddressBuilderGC ITemplatePart
        ConstantTemplatePart AddressTemplatePart SubpromptPropagationTemplatePart
    """,
}
EVERY = [(module, name) for module, names in PROMISED.items() for name in names.split()]


@pytest.fixture(autouse=True)
def installed() -> Iterator[None]:
    compat.install()
    yield
    compat.uninstall()


@pytest.mark.parametrize(("module", "name"), EVERY, ids=[f"{module}.{name}" for module, name in EVERY])
def test_every_name_is_there(module: str, name: str) -> None:
    found = importlib.import_module(module)
    assert getattr(found, name) is not None
    assert name in dir(found)
    assert name in found.__all__


def test_they_are_ours() -> None:
    namespace: dict[str, object] = {}
    exec("from foundation_kaia import *\nimport foundation_kaia.fork, foundation_kaia.prompters as p", namespace)  # noqa: S102
    from greenroom.rpc.fork import Fork
    from greenroom.rpc.prompters import Prompter

    assert namespace["Fork"] is Fork
    assert getattr(namespace["p"], "Prompter", None) is Prompter


def test_other_names_are_not() -> None:
    with pytest.raises(ImportError, match="no_such"):
        exec("from foundation_kaia.marshalling import no_such")  # noqa: S102
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("foundation_kaia.brainbox_utils")


def test_twice_is_once_and_none_is_none() -> None:
    compat.install()
    importlib.import_module("foundation_kaia.fork")
    compat.uninstall()
    assert not compat.is_installed()
    assert not [name for name in sys.modules if name.startswith("foundation_kaia")]
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("foundation_kaia")


def test_another_package_of_the_name_is_not_mixed_with_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    compat.uninstall()
    monkeypatch.setitem(sys.modules, "foundation_kaia", ModuleType("foundation_kaia"))
    with pytest.raises(ImportError, match="imported already"):
        compat.install()


def test_importing_it_costs_nothing_until_a_name_is_used() -> None:
    script = """
        import sys, greenroom.rpc.compat
        greenroom.rpc.compat.install()
        import foundation_kaia.marshalling
        print(sorted({"uvicorn", "starlette", "pydantic", "httpx", "websockets"} & sys.modules.keys()))
    """
    done = subprocess.run([sys.executable, "-c", dedent(script)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(("module", "name"), EVERY, ids=[f"{module}.{name}" for module, name in EVERY])
def test_every_name_is_below_our_own_module_too(module: str, name: str) -> None:
    below = importlib.import_module(module.replace("foundation_kaia", "greenroom.rpc.compat"))
    assert getattr(below, name) is getattr(importlib.import_module(module), name) is getattr(compat, name)


def test_our_own_module_has_no_other_names() -> None:
    with pytest.raises(AttributeError, match="no_such"):
        compat.no_such  # noqa: B018
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("greenroom.rpc.compat.brainbox_utils")


EXAMPLE = """
    {first}
    {imports}
    from collections.abc import Iterable
    from dataclasses import dataclass, field
    from decimal import Decimal
    from enum import Enum

    class Colour(Enum):
        RED = 1

    class Outer:
        @dataclass
        class Shape:
            colour: Colour = Colour.RED
            parts: "list[Outer.Shape]" = field(default_factory=list)

    @dataclass
    class Circle(Outer.Shape):
        radius: float = 1.0

    @service
    class IFileService:
        @endpoint(verify_abstract=False)
        def size(self, file: FileLike | Iterable[bytes]) -> int:
            return len(FileLikeHandler.to_bytes(file)) * int(Decimal(1))
        @endpoint(verify_abstract=False)
        def echo(self, shape: Outer.Shape) -> Outer.Shape:
            assert isinstance(shape.parts[1], Circle)
            return shape

    class Api(IFileService):
        def __init__(self, base_url):
            ApiCall.define_endpoints(self, base_url, IFileService)

    if __name__ == "__main__":
        import socket
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        with Fork(Server(port, ServiceComponent(IFileService()))):
            ApiUtils.wait_for_reply(f"http://localhost:{{port}}", 60)
            api = Api(f"http://localhost:{{port}}")
            shape = Outer.Shape(parts=[Outer.Shape(), Circle()])
            assert api.echo(shape) == shape
            print(api.size(b"hello"))
"""
NEEDED = "service, endpoint, FileLike, FileLikeHandler, ApiCall, ApiUtils, Server, ServiceComponent"


@pytest.mark.parametrize("first", ["", "from __future__ import annotations"])
@pytest.mark.parametrize(
    "imports",
    [
        f"from greenroom.rpc import Fork, {NEEDED}",
        f"from greenroom.rpc.compat import Fork, {NEEDED}",
        f"from greenroom.rpc.compat.fork import Fork; from greenroom.rpc.compat.marshalling import {NEEDED}",
        "import greenroom.rpc.compat; from foundation_kaia import Fork; "
        f"from foundation_kaia.marshalling import {NEEDED}",
    ],
)
def test_a_script_serves_its_own_classes_from_a_fork(imports: str, first: str, tmp_path: Path) -> None:
    """As the examples do: everything is in ``__main__``, and so goes along by value with all that it mentions."""
    script = tmp_path / "script.py"
    script.write_text(dedent(EXAMPLE.format(imports=imports, first=first)))
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr, done.returncode) == ("5", "", 0)


def test_a_fork_sees_it_too() -> None:
    script = """
        import greenroom.rpc.compat
        from foundation_kaia import Fork

        def look():
            from foundation_kaia.fork import Fork
            return Fork.__module__

        if __name__ == "__main__":
            print(Fork(look).start().result())
    """
    done = subprocess.run([sys.executable, "-c", dedent(script)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "greenroom.rpc.fork"
