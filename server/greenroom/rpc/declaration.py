"""The decorators that make a typed interface a service.

    @service                         the class's name gives the first part of the URL
    class IGreeter:
        @endpoint                    HTTP; the signature decides where each argument travels
        def greet(self, name: str) -> str: ...
        @websocket                   a websocket: the same, and streams both ways at once
        def chat(self, lines: Iterable[str]) -> Iterable[str]: ...

A declared method keeps no body: it becomes a stub that raises NotImplementedError, unless ``verify_abstract=False``
says that the method is real.
"""

import ast
import functools
import inspect
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeVar, overload

F = TypeVar("F", bound=Callable[..., Any])
C = TypeVar("C", bound=type)

ENDPOINT_ATTRIBUTE: Final = "_endpoint_attributes"
SERVICE_ATTRIBUTE: Final = "_service_attributes"


class HttpMethod(StrEnum):
    GET = "GET"
    POST = "POST"


@dataclass(frozen=True, slots=True)
class EndpointAttributes:
    """:param content_type: of the answer, where the return annotation's own will not do.
    :param verify_abstract: refuse a body other than a docstring, ``...`` and ``pass``.
    :param force_json_params: arguments that would go into the path or the query go into the JSON body.
    :param is_pathlike: the name of the argument that is the rest of the URL's path.
    """

    method: HttpMethod = HttpMethod.POST
    content_type: str | None = None
    verify_abstract: bool = True
    is_websocket: bool = False
    force_json_params: bool = False
    is_pathlike: str | None = None


def endpoint_attributes(function: Any) -> EndpointAttributes | None:
    """What the decorator noted; ``None`` if there was none."""
    found = getattr(unwrapped(function), ENDPOINT_ATTRIBUTE, None)
    return found if isinstance(found, EndpointAttributes) else None


def is_service(cls: type) -> bool:
    """Whether this very class, not one it inherits from, was decorated."""
    return SERVICE_ATTRIBUTE in vars(cls)


def unwrapped(function: Any) -> Any:
    """The function inside a static or class method."""
    return function.__func__ if isinstance(function, (staticmethod, classmethod)) else function


def build_decorator(attrs: EndpointAttributes) -> Callable[[F], F]:
    """A decorator that marks a function or static method with ``attrs``. :raises TypeError: for a body, if verified."""

    def decorate(function: F) -> F:
        if isinstance(function, (staticmethod, classmethod)):
            return type(function)(decorate(function.__func__))
        declared: Any = function
        if attrs.verify_abstract:
            _refuse_body(function)
            declared = _stub(function)
        setattr(declared, ENDPOINT_ATTRIBUTE, attrs)
        return declared  # type: ignore[no-any-return]

    return decorate


@overload
def endpoint(func: F) -> F: ...
@overload
def endpoint(
    func: None = None,
    method: str | HttpMethod = HttpMethod.POST,
    content_type: str | None = None,
    verify_abstract: bool = True,
    force_json_params: bool = False,
    is_pathlike: str | None = None,
) -> Callable[[F], F]: ...
def endpoint(
    func: F | None = None,
    method: str | HttpMethod = HttpMethod.POST,
    content_type: str | None = None,
    verify_abstract: bool = True,
    force_json_params: bool = False,
    is_pathlike: str | None = None,
) -> F | Callable[[F], F]:
    """Declare an HTTP endpoint. :raises ValueError: for a method other than GET and POST."""
    attrs = EndpointAttributes(HttpMethod(method), content_type, verify_abstract, False, force_json_params, is_pathlike)
    decorator: Callable[[F], F] = build_decorator(attrs)
    return decorator if func is None else decorator(func)


@overload
def websocket(func: F) -> F: ...
@overload
def websocket(
    func: None = None,
    content_type: str | None = None,
    verify_abstract: bool = True,
    force_json_params: bool = False,
) -> Callable[[F], F]: ...
def websocket(
    func: F | None = None,
    content_type: str | None = None,
    verify_abstract: bool = True,
    force_json_params: bool = False,
) -> F | Callable[[F], F]:
    """Declare an endpoint that is called over a websocket, with streams in both directions at once."""
    attrs = EndpointAttributes(HttpMethod.GET, content_type, verify_abstract, True, force_json_params)
    decorator: Callable[[F], F] = build_decorator(attrs)
    return decorator if func is None else decorator(func)


@overload
def service(cls: C) -> C: ...
@overload
def service(cls: None = None) -> Callable[[C], C]: ...
def service(cls: C | None = None) -> C | Callable[[C], C]:
    """Mark a class whose endpoints are served under its name."""

    def decorate(decorated: C) -> C:
        setattr(decorated, SERVICE_ATTRIBUTE, True)
        return decorated

    return decorate if cls is None else decorate(cls)


def _stub(function: Callable[..., Any]) -> Callable[..., Any]:
    """Raises NotImplementedError; awaitable if the declaration is. Name, annotations and ``__dict__`` are kept."""

    def refuse(*_: Any, **__: Any) -> Any:
        raise NotImplementedError(f"{function.__qualname__} is declared only; a service implements it")

    async def refuse_later(*_: Any, **__: Any) -> Any:
        refuse()

    return functools.wraps(function)(refuse_later if inspect.iscoroutinefunction(function) else refuse)


def _refuse_body(function: Callable[..., Any]) -> None:
    definition = _definition(function)
    if definition is None:
        return
    body = definition.body
    if body and isinstance(body[0], ast.Expr) and _constant(body[0]) is str:
        body = body[1:]
    if any(not isinstance(statement, ast.Pass) and _constant(statement) is not type(...) for statement in body):
        raise TypeError(
            f"{function.__qualname__} has a body, which no call would reach: a declared endpoint holds a docstring "
            "and ... only; @endpoint(verify_abstract=False) keeps the body"
        )


def _definition(function: Callable[..., Any]) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
    """``None`` where there is no source to look at, as in a console or a frozen program."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return None
    first = tree.body[0] if tree.body else None
    return first if isinstance(first, (ast.FunctionDef, ast.AsyncFunctionDef)) else None


def _constant(statement: ast.stmt) -> type | None:
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return type(statement.value.value)
    return None
