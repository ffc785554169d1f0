"""Bodies: how much of them there may be at once, how they are nested, and how long they may take."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from starlette.requests import Request

from greenroom.doors import bounds
from greenroom.doors.bounds import Room, check_structure
from greenroom.doors.openai.exchange import Exchange
from greenroom.doors.openai.requests import ChatRequest, parse
from greenroom.doors.rest.reading import Bodies
from greenroom.errors import Busy, TooLarge, TooSlow

SCOPE: dict[str, Any] = {"type": "http", "method": "POST", "path": "/", "headers": []}


async def unsent(_message: Any) -> None: ...


def pieces(*given: bytes) -> Callable[[], Any]:
    """What receives them, and then waits for ever."""
    left = list(given)

    async def receive() -> dict[str, Any]:
        if not left:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": left.pop(0), "more_body": True}

    return receive


async def by_openai(receive: Callable[[], Any], room: Room) -> bytes:
    exchange = Exchange(SCOPE, receive, unsent, room)
    found = b""

    async def work() -> None:
        nonlocal found
        found = await exchange.body(1000)

    await exchange.run(work())
    return found


async def test_a_body_that_does_not_come_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "SILENT_S", 0.02)
    with pytest.raises(TooSlow, match="nothing of the request's body came"):
        await Bodies().read(Request(SCOPE, pieces(b"{", b'"a"')))
    room = Room(10)
    with pytest.raises(TooSlow):
        await by_openai(pieces(b"{", b'"a"'), room)
    room.take(10)  # all of it was given back


async def test_all_bodies_together_have_their_bound() -> None:
    room = Room(100)
    room.take(60)
    with pytest.raises(Busy):
        await by_openai(pieces(bytes(50)), room)
    room.take(40)
    bodies = Bodies(limit_bytes=100)
    with pytest.raises(Busy):
        await bodies.read(Request(SCOPE, pieces(bytes(101))))
    with pytest.raises(Busy):  # and nothing of the first is held any more
        await bodies.read(Request(SCOPE, pieces(bytes(99), bytes(2))))


def test_what_is_nested_and_listed_is_counted_before_it_is_parsed() -> None:
    check_structure(b"[" * 3 + b"," * 5, nested=3, listed=5)
    for body in (b"[{[{", b"," * 6):
        with pytest.raises(TooLarge):
            check_structure(body, nested=3, listed=5)
    with pytest.raises(TooLarge, match="objects and lists"):
        parse(ChatRequest, b'{"model":"x","messages":[' + b"[]," * 200_001 + b"[]]}")
    with pytest.raises(TooLarge, match="values"):
        parse(ChatRequest, b'{"model":"x","stop":[' + b'"",' * 2_000_001 + b'""]}')
