"""A service and its client for the length of a ``with`` block."""

# mypy: disable-error-code="empty-body"

import os
import socket

import pytest

from greenroom.rpc.client import ApiCall
from greenroom.rpc.declaration import endpoint, service
from greenroom.rpc.server import Server, ServiceComponent
from greenroom.rpc.testing import TestApi, TestEndpointApi, ThreadTestApi


@service
class IProcesses:
    @endpoint
    def number(self, plus: int) -> int: ...


class Processes(IProcesses):
    def number(self, plus: int) -> int:
        return os.getpid() + plus


class ProcessesApi(IProcesses):
    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self.client = ApiCall.define_endpoints(self, base_url, IProcesses)


@endpoint(verify_abstract=False)
def add(a: int, b: int) -> int:
    return a + b


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


class TestServices:
    def test_in_a_process_of_its_own(self) -> None:
        ended: list[str] = []
        port = free_port()
        server = Server(port, ServiceComponent(Processes()))
        with TestApi(ProcessesApi, server, on_exit=lambda: ended.append("x")) as api, api.client:
            assert api.base_url == f"http://127.0.0.1:{port}"
            assert api.number(1) != os.getpid() + 1
            assert ended == []
        assert ended == ["x"]
        socket.create_server(("127.0.0.1", port)).close()

    def test_in_a_thread(self) -> None:
        ended: list[str] = []
        server = Server(0, ServiceComponent(Processes()))
        with ThreadTestApi(ProcessesApi, server, on_exit=lambda: ended.append("x")) as api, api.client:
            assert api.number(1) == os.getpid() + 1
        assert ended == ["x"]

    def test_what_goes_wrong_at_the_start_is_raised_here(self) -> None:
        ended: list[str] = []
        with socket.create_server(("127.0.0.1", 0)) as taken:
            server = Server(taken.getsockname()[1], ServiceComponent(Processes()))
            for kind in (TestApi, ThreadTestApi):
                with pytest.raises(OSError, match="in use"):
                    kind(ProcessesApi, server, on_exit=lambda: ended.append("x")).__enter__()
        assert ended == ["x", "x"]


class TestOneFunction:
    def test_is_called_over_the_wire(self) -> None:
        with TestEndpointApi(add, port=free_port()) as call:
            assert call(2, b=3) == 5
            assert call.last_request is not None
            assert call.last_request.content.url == "/add/2/3"

    def test_must_be_declared(self) -> None:
        with pytest.raises(TypeError, match="no endpoint"):
            TestEndpointApi(free_port).__enter__()
