"""Who finds the Wyoming door, and who may come in."""

import logging
import socket
import sys
from typing import Any

import pytest

from greenroom.doors.wyoming.announcement import SERVICE, Announcement
from greenroom.doors.wyoming.door import check_address
from greenroom.errors import Forbidden


class FakeZeroconf:
    """What it is told, in place of the network."""

    refuses = False
    made: "FakeZeroconf | None" = None

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []
        type(self).made = self

    async def async_register_service(self, info: Any) -> None:
        if self.refuses:
            raise OSError("the network is unreachable")
        self.told.append(("registered", info))

    async def async_unregister_all_services(self) -> None:
        self.told.append(("unregistered", None))

    async def async_close(self) -> None:
        self.told.append(("closed", None))


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> type[FakeZeroconf]:
    class Mine(FakeZeroconf):
        pass

    monkeypatch.setattr("zeroconf.asyncio.AsyncZeroconf", Mine)
    return Mine


async def test_home_assistant_finds_it(network: type[FakeZeroconf]) -> None:
    announcement = Announcement(10200, ["192.168.1.5", "0.0.0.0", "fd00::5"])
    await announcement.begin()
    await announcement.end()
    await announcement.end()
    assert network.made is not None
    assert [what for what, _ in network.made.told] == ["registered", "unregistered", "closed"]
    info = network.made.told[0][1]
    assert info.type == SERVICE == "_wyoming._tcp.local." and info.name.endswith(f"-10200.{SERVICE}")
    assert (info.port, info.parsed_addresses()) == (10200, ["192.168.1.5", "fd00::5"])
    assert socket.gethostname().partition(".")[0] in info.name


async def test_a_network_that_cannot_be_told_is_no_reason_to_fail(
    network: type[FakeZeroconf], caplog: pytest.LogCaptureFixture
) -> None:
    network.refuses = True
    announcement = Announcement(10200, ["192.168.1.5"])
    with caplog.at_level(logging.WARNING):
        await announcement.begin()
    assert "unreachable" in caplog.text
    await announcement.end()


async def test_without_its_package(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setitem(sys.modules, "zeroconf", None)
    announcement = Announcement(10200, ["192.168.1.5"])
    with caplog.at_level(logging.WARNING):
        await announcement.begin()
    assert 'pip install "greenroom[wyoming]"' in caplog.text
    await announcement.end()


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "::1", "::ffff:127.0.0.1", "192.168.1.77", "::ffff:192.168.1.77", "fd00::7"]
)
def test_who_may_come_in(address: str) -> None:
    check_address(address, ["192.168.1.0/24", "fd00::/8"])


@pytest.mark.parametrize("address", ["192.168.2.1", "203.0.113.9", "fe80::1%eth0", "2001:db8::1"])
def test_who_may_not(address: str) -> None:
    with pytest.raises(Forbidden, match=r"wyoming\.networks"):
        check_address(address, ["192.168.1.0/24", "fd00::/8"])
