import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from websockets.protocol import State

from greenroom.bindings.live_socket import Sockets
from greenroom.bindings.service_failures import ServiceFailures

URL = "wss://service.invalid/"


async def test_a_spare_connection_that_stands_just_as_its_taker_leaves_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    closed = asyncio.Event()

    async def close() -> None:
        closed.set()

    connected = asyncio.get_running_loop().create_future()

    async def connect(*_: object) -> Any:
        return await connected

    sockets = Sockets(ServiceFailures("service.invalid", "KEY", None, 1.0), 1.0)
    monkeypatch.setattr(sockets, "_connect", connect)
    sockets.prepare(URL, {})
    (spare,) = sockets._spares.values()
    spare.add_done_callback(lambda _: taking.cancel())  # before the taker is told
    taking = asyncio.create_task(sockets._take(URL, {}))
    await asyncio.sleep(0)  # one turn of the loop, in which it takes the spare
    assert not sockets._spares
    connected.set_result(SimpleNamespace(state=State.OPEN, close=close))
    await asyncio.wait((taking,))
    await sockets.close()
    assert taking.cancelled() and closed.is_set()
