"""Decorators and names: what makes a class a service, and what of it survives."""

# mypy: disable-error-code="empty-body"

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from typing import Any, Generic, TypeVar

import pytest

from greenroom.rpc import (
    EndpointAttributes,
    EndpointModel,
    HttpMethod,
    ProtocolType,
    ServiceModel,
    build_decorator,
    convert_name,
    endpoint,
    service,
    websocket,
)

In = TypeVar("In")
Out = TypeVar("Out")


@pytest.mark.parametrize(
    ("name", "converted"),
    [
        ("IMyService", "my-service"),
        ("TortoiseTTS", "tortoise-tts"),
        ("IoService", "io-service"),
        ("MyInterface", "my"),
        ("IMyInterface", "my"),
        ("Interface", "interface"),
        ("Plain", "plain"),
        ("I", "i"),
        ("Vits2Voice", "vits2-voice"),
        ("HTTPServer", "httpserver"),
    ],
)
def test_a_service_is_called_after_its_class(name: str, converted: str) -> None:
    assert convert_name(name) == converted


def test_decorators_work_with_and_without_parentheses() -> None:
    @service()
    class IService:
        @endpoint
        def bare(self) -> int: ...
        @endpoint()
        def called(self) -> int: ...
        @endpoint(method="GET")
        def fetched(self) -> int: ...
        @websocket
        def bare_socket(self) -> int: ...
        @websocket()
        def called_socket(self) -> int: ...

    model = ServiceModel.parse(IService)
    assert model.name == "service"
    assert [one.name for one in model.endpoints] == ["bare", "called", "fetched", "bare_socket", "called_socket"]
    assert [one.protocol.type for one in model.endpoints] == [ProtocolType.HTTP] * 3 + [ProtocolType.WebSockets] * 2
    assert model["fetched"].protocol.http_method is HttpMethod.GET
    assert model["bare_socket"].protocol.http_method is None
    assert model["bare_socket"].endpoint_address == "service/bare-socket"
    with pytest.raises(KeyError):
        model["missing"]


def test_a_declared_method_becomes_a_stub_that_keeps_its_name_annotations_and_attributes() -> None:
    def greet(self: object, name: str) -> str:
        """Says hello."""

    greet.mark = "kept"  # type: ignore[attr-defined]
    stub: Any = endpoint(greet)
    assert stub.__name__ == "greet"
    assert stub.__doc__ == "Says hello."
    assert stub.__annotations__ == greet.__annotations__
    assert stub.mark == "kept"
    with pytest.raises(NotImplementedError, match="greet"):
        stub(None, "you")


async def test_the_stub_of_an_async_method_is_awaitable() -> None:
    @endpoint
    async def greet(name: str) -> str: ...

    assert inspect.iscoroutinefunction(greet)
    with pytest.raises(NotImplementedError):
        await greet("you")


def with_code() -> int:
    return 1


def with_docstring_and_code() -> int:
    """Counts."""
    print("x")
    return 1


def with_docstring() -> None:
    """Only told."""


def with_pass() -> None:
    pass


def with_dots() -> None:
    """Told."""


@pytest.mark.parametrize("function", [with_code, with_docstring_and_code])
def test_a_body_that_no_call_would_reach_is_refused(function: Callable[[], Any]) -> None:
    with pytest.raises(TypeError, match="has a body"):
        endpoint(function)


@pytest.mark.parametrize("function", [with_docstring, with_pass, with_dots])
def test_an_empty_body_is_a_declaration(function: Callable[[], Any]) -> None:
    endpoint(function)


def test_without_source_the_body_is_not_looked_at() -> None:
    names: dict[str, Any] = {}
    exec("def made() -> int:\n    return 1", names)  # noqa: S102 -- the one way to have no source
    assert EndpointModel.parse(endpoint(names["made"])) is not None


def test_a_real_method_keeps_its_body_when_asked_to() -> None:
    assert endpoint(verify_abstract=False)(with_code)() == 1


def test_a_method_other_than_get_and_post_is_refused() -> None:
    with pytest.raises(ValueError, match="PUT"):
        endpoint(method="PUT")


def test_a_decorator_can_be_built_from_attributes() -> None:
    decorate = build_decorator(EndpointAttributes(method=HttpMethod.GET, verify_abstract=False))
    model = EndpointModel.parse(decorate(with_code))
    assert model is not None
    assert model.protocol.http_method is HttpMethod.GET
    assert model.endpoint_address == "with-code"


def test_what_was_not_declared_is_no_endpoint() -> None:
    assert EndpointModel.parse(with_pass) is None


def test_what_was_not_decorated_is_no_service() -> None:
    class Plain:
        pass

    with pytest.raises(TypeError, match="is no service"):
        ServiceModel.parse(Plain)


def test_endpoints_are_collected_from_every_service_in_the_order_of_inheritance() -> None:
    @service
    class IBase:
        @endpoint
        def first(self, x: int) -> int: ...
        @endpoint
        def second(self) -> int: ...

    @service
    class IDerived(IBase):
        @endpoint
        def first(self, x: int) -> int: ...
        @endpoint
        def third(self) -> int: ...

    class Undecorated(IDerived):
        def first(self, x: int) -> int:
            return x

    model = ServiceModel.parse(Undecorated())
    assert model.name == "derived"
    assert {one.name: one.endpoint_address for one in model.endpoints} == {
        "first": "derived/first",
        "second": "derived/second",
        "third": "derived/third",
    }


def test_a_redeclared_endpoint_wins() -> None:
    @service
    class IBase:
        @endpoint
        def both(self) -> int: ...

    @service
    class IDerived(IBase):
        @websocket
        def both(self) -> int: ...

    assert ServiceModel.parse(IDerived)["both"].protocol.is_websocket
    assert not ServiceModel.parse(IBase)["both"].protocol.is_websocket


@service
class IGeneric(Generic[In, Out]):
    @endpoint
    def convert(self, given: In, others: list[In]) -> list[Out]: ...


class IMiddle(IGeneric[In, str]):
    pass


class Concrete(IMiddle[int]):
    pass


@pytest.mark.parametrize("value", [IGeneric[int, str], IMiddle[int], Concrete, Concrete(), IGeneric[int, str]()])
def test_type_variables_are_resolved_through_the_inheritance(value: Any) -> None:
    model = ServiceModel.parse(value)["convert"]
    assert [param.name for param in model.params.json_params] == ["given", "others"]
    given, others = model.params.json_params
    assert given.serializer.from_json(3) == 3
    assert others.argument.annotation.raw_annotation == list[int]
    assert model.signature.returned_type.raw_annotation == list[str]
    with pytest.raises(TypeError):
        given.serializer.from_json("text")


@pytest.mark.parametrize("value", [IGeneric, IMiddle])
def test_an_unbound_type_variable_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="not bound"):
        ServiceModel.parse(value)


def test_a_type_that_no_wire_carries_is_refused_with_its_place() -> None:
    class Opaque:
        pass

    @service
    class IService:
        @endpoint
        def use(self, thing: Opaque) -> int: ...

    @service
    class IOther:
        @endpoint
        def make(self) -> Opaque: ...

    with pytest.raises(TypeError, match="use, argument thing"):
        ServiceModel.parse(IService)
    with pytest.raises(TypeError, match="make, result"):
        ServiceModel.parse(IOther)


def test_an_annotation_that_cannot_be_resolved_is_named() -> None:
    @endpoint
    def lost(x: "Nowhere") -> int: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(TypeError, match="lost cannot be resolved"):
        EndpointModel.parse(lost)


@pytest.mark.parametrize("kind", ["positional", "args", "kwargs"])
def test_arguments_without_a_name_are_a_type_error_at_the_call(kind: str) -> None:
    @endpoint
    def positional(x: int, /) -> int: ...
    @endpoint
    def args(*x: int) -> int: ...
    @endpoint
    def kwargs(**x: int) -> int: ...

    model = EndpointModel.parse({"positional": positional, "args": args, "kwargs": kwargs}[kind])
    assert model is not None
    with pytest.raises(TypeError, match="no name"):
        model.signature.assign_parameters_to_names(1)


def test_a_call_is_bound_as_python_would() -> None:
    @endpoint
    def call(a: int, b: str = "b", *, c: bool = True) -> int: ...

    model = EndpointModel.parse(call)
    assert model is not None
    assert model.signature.assign_parameters_to_names(1, c=False) == {"a": 1, "c": False}
    for args, kwargs in (((), {}), ((1, "b", True), {}), ((1,), {"d": 1}), ((1,), {"a": 1})):
        with pytest.raises(TypeError):
            model.signature.assign_parameters_to_names(*args, **kwargs)


def test_static_methods_have_no_instance() -> None:
    @service
    class IService:
        @staticmethod
        @endpoint
        def inner(number: int) -> int: ...
        @endpoint
        @staticmethod
        def outer(number: int) -> int: ...

    for model in ServiceModel.parse(IService).endpoints:
        assert [argument.name for argument in model.signature.arguments] == ["number"]


def test_an_asynchronous_stream_is_one_without_async_def() -> None:
    @service
    class IService:
        @websocket
        def speak(self, text: AsyncIterator[str]) -> AsyncIterator[bytes]: ...

    model = ServiceModel.parse(IService)["speak"]
    assert model.result.is_async
    assert model.params.custom_stream_param is not None
    assert model.params.custom_stream_param.is_async


def test_models_need_no_loop() -> None:
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()
    assert ServiceModel.parse(Concrete).endpoints
