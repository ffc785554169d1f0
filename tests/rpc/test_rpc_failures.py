"""What becomes of a method's error: told to the caller as what it is; logged only where nobody else hears of it."""

import logging

import pytest

from greenroom.errors import BindingFailed, Busy, GreenroomError
from greenroom.rpc import ApiCall, ApiError, Server, ServiceComponent, Unreachable, endpoint, service, websocket


class OutOfPaper(BindingFailed):
    """Known to the server's own program alone."""


@service
class IPrinter:
    @endpoint
    async def over_http(self, what: str) -> None: ...

    @websocket
    async def over_websocket(self, what: str) -> None: ...


class Printer(IPrinter):
    async def over_http(self, what: str) -> None:
        match what:
            case "paper":
                raise OutOfPaper("no paper", details={"tray": 2}, retryable=True)
            case "busy":
                raise Busy("another one prints")
            case "jam":
                raise ZeroDivisionError("jam")

    over_websocket = over_http


class PrinterApi(IPrinter):
    def __init__(self, base_url: str) -> None:
        self.client = ApiCall.define_endpoints(self, base_url, IPrinter)


@pytest.fixture(autouse=True)
def propagating(monkeypatch: pytest.MonkeyPatch) -> None:
    """caplog listens at the root."""
    monkeypatch.setattr(logging.getLogger("greenroom"), "propagate", True)


@pytest.mark.parametrize("name", ["over_http", "over_websocket"])
async def test_errors(name: str, caplog: pytest.LogCaptureFixture) -> None:
    async def failure(what: str) -> ApiError:
        with pytest.raises(ApiError) as caught:
            await getattr(api, name)(what)
        return caught.value

    async with Server(0, ServiceComponent(Printer())).serving() as base_url:
        api = PrinterApi(base_url)
        async with api.client:
            paper = await failure("paper")
            assert paper.type == "OutOfPaper"
            restored = paper.restore()
            assert type(restored) is BindingFailed
            assert (restored.message, restored.details, restored.retryable) == ("no paper", {"tray": 2}, True)
            assert type((await failure("busy")).restore()) is Busy
            assert not [record for record in caplog.records if record.exc_info], "the caller was told"
            jam = await failure("jam")
            assert type(jam.restore()).__name__ == "Internal" and "ZeroDivisionError: jam" in str(jam.restore())
            assert [record.exc_info for record in caplog.records if record.exc_info], "its own bug"


@pytest.mark.parametrize("name", ["over_http", "over_websocket"])
async def test_a_call_that_was_never_sent_says_so(name: str) -> None:
    api = PrinterApi("http://127.0.0.1:9")
    async with api.client:
        with pytest.raises(Unreachable) as caught:
            await getattr(api, name)("paper")
        assert caught.value.retryable and isinstance(caught.value, GreenroomError)
