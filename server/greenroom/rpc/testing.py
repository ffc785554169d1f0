"""A service and its client for the length of a ``with`` block, as tests want them.

with TestApi(GreeterApi, Server(8080, ServiceComponent(Greeter()))) as api:     in a process of its own
with ThreadTestApi(GreeterApi, Server(0, ServiceComponent(Greeter()))) as api:  in a thread of this one
with TestEndpointApi(function) as call:                                         one function, in a thread
"""

import threading
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Any, ClassVar, Generic, TypeVar

from greenroom.rpc.client import ApiCall
from greenroom.rpc.fork import Fork, signal_ready
from greenroom.rpc.model import EndpointModel
from greenroom.rpc.server import EndpointComponent, IServer, Server

T = TypeVar("T")

START_S = 60.0


class _Running:
    """What runs beside the API, and ends in the reverse order."""

    __test__: ClassVar[bool] = False  # for pytest a class named Test... is one to run

    def __init__(self, on_exit: Callable[[], object] | None = None) -> None:
        self._on_exit = on_exit
        self._stack = ExitStack()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def _enter(self, begin: Callable[[ExitStack], str]) -> str:
        with ExitStack() as stack:
            if self._on_exit is not None:
                stack.callback(self._on_exit)
            base_url = begin(stack)
            self._stack = stack.pop_all()
        return base_url


class ThreadTestApi(_Running, Generic[T]):
    """:param api_class: called with the base URL.
    :param on_exit: called when the server has ended.
    """

    def __init__(
        self, api_class: Callable[[str], T], server: IServer, on_exit: Callable[[], object] | None = None
    ) -> None:
        super().__init__(on_exit)
        self._api_class = api_class
        self._server = server

    def __enter__(self) -> T:
        """:raises OSError: if the server cannot listen on its port"""
        return self._api_class(self._enter(self._begin))

    def _begin(self, stack: ExitStack) -> str:
        return stack.enter_context(self._server.create_web_app_entry_point().running())


class TestApi(ThreadTestApi[T]):
    """The server runs in a fork of its own; what it raises while it starts is raised here."""

    def _begin(self, stack: ExitStack) -> str:
        server = self._server
        fork = stack.enter_context(Fork(lambda: _serve(server)))
        return str(fork.wait_ready(START_S))


class TestEndpointApi(_Running):
    """One function, declared with ``@endpoint(verify_abstract=False)``, as a call over the wire."""

    def __init__(self, function: Callable[..., Any], port: int = 11512) -> None:
        super().__init__()
        self._function = function
        self._port = port

    def __enter__(self) -> ApiCall:
        """:raises TypeError: if the function was not declared. :raises OSError: if the port is taken."""
        component = EndpointComponent(self._function)
        server = Server(self._port, component)
        base_url = self._enter(lambda stack: stack.enter_context(server.running()))
        call = ApiCall(base_url, _model_of(component))
        self._stack.callback(call.client.close)
        return call


def _serve(server: IServer) -> None:
    entry = server.create_web_app_entry_point()
    for target in entry.daemon_threads:
        threading.Thread(target=target, daemon=True).start()
    with entry.running() as base_url:
        signal_ready(base_url)
        threading.Event().wait()


def _model_of(component: EndpointComponent) -> EndpointModel:
    if component.model is None:
        raise TypeError(f"{component.method} is no endpoint")
    return component.model
