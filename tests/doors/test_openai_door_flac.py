"""The length in a FLAC file's head: there where it is known in time, and nothing waits for it."""

import asyncio
import io
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

import av
import pytest

from greenroom.doors.openai import flac
from greenroom.doors.openai.flac import telling, with_length
from greenroom.doors.openai.sound import encoded
from greenroom.errors import BindingFailed
from greenroom.values import Audio

PATIENCE_S = 20.0
SOUND = Audio(b"\x10\x20" * 12_000, 24_000)


def length_of(file: bytes) -> int:
    """Of the head: how many samples."""
    assert file[:4] == b"fLaC"
    return int.from_bytes(file[21:26]) & 0xFFFFFFFFF


async def test_what_is_done_soon_says_how_long_it_is() -> None:
    async def sounds() -> AsyncIterator[Audio]:
        yield SOUND
        yield SOUND

    whole = b"".join([piece async for piece in encoded(sounds(), "flac", 1.0, av)])
    assert length_of(whole) == 24_000
    with av.open(io.BytesIO(whole)) as container:
        assert container.duration == 1_000_000
        assert sum(frame.samples for frame in container.decode(audio=0)) == 24_000


async def test_what_takes_long_is_not_waited_for() -> None:
    may_end = asyncio.Event()

    async def pieces() -> AsyncGenerator[bytes, None]:
        yield b"fLaC"
        yield b"and more"
        await may_end.wait()
        yield b"the end"

    async with asyncio.timeout(PATIENCE_S), aclosing(with_length(pieces(), lambda: 1, held_s=0.01)) as found:
        assert [await anext(found), await anext(found)] == [b"fLaC", b"and more"]
        may_end.set()
        assert [piece async for piece in found] == [b"the end"]


async def test_a_slow_reader_holds_the_voice_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flac, "_AHEAD", 3)
    made = 0

    async def pieces() -> AsyncGenerator[bytes, None]:
        nonlocal made
        for made in range(1, 21):  # noqa: B007 -- what counts is how far it came
            yield b"fLaC"

    async with asyncio.timeout(PATIENCE_S), aclosing(with_length(pieces(), lambda: 1, held_s=0.01)) as found:
        await anext(found)
        for _ in range(50):
            await asyncio.sleep(0)
        assert made < 10
        assert len([piece async for piece in found]) == 19


@pytest.mark.parametrize("held_s", [0.0, PATIENCE_S])
async def test_a_failure_is_passed_on(held_s: float) -> None:
    sent: list[bytes] = []
    may_fail = asyncio.Event()
    if held_s:
        may_fail.set()

    async def pieces() -> AsyncGenerator[bytes, None]:
        yield b"fLaC"
        await may_fail.wait()
        raise BindingFailed("no more", retryable=True)

    async def read() -> None:
        async with aclosing(with_length(pieces(), lambda: 1, held_s)) as found:
            async for piece in found:
                sent.append(piece)
                may_fail.set()

    with pytest.raises(BindingFailed, match="no more"):
        await read()
    assert sent == ([] if held_s else [b"fLaC"])


@pytest.mark.parametrize("held_s", [0.01, PATIENCE_S])
async def test_whoever_leaves_ends_the_work(held_s: float) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def pieces() -> AsyncGenerator[bytes, None]:
        try:
            yield b"fLaC"
            begun.set()
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def read() -> None:
        async with aclosing(with_length(pieces(), lambda: 1, held_s)) as found:
            async for _ in found:
                pass

    reading = asyncio.create_task(read())
    async with asyncio.timeout(PATIENCE_S):
        await begun.wait()
        reading.cancel()
        await asyncio.wait({reading})
    assert reading.cancelled() and ended.is_set()


async def test_nothing_stays_nothing() -> None:
    async def pieces() -> AsyncGenerator[bytes, None]:
        return
        yield

    assert [piece async for piece in with_length(pieces(), lambda: 0)] == []


def test_only_what_is_flac_is_told() -> None:
    head = b"fLaC" + bytes(17) + b"\xf0" + bytes(4) + b"rest"
    assert telling(head, 0x123456789) == b"fLaC" + bytes(17) + b"\xf1\x23\x45\x67\x89rest"
    assert telling(head, 0) == telling(head, 1 << 36) == head
    assert telling(b"fLaC", 5) == b"fLaC" and telling(b"RIFF" + head[4:], 5) == b"RIFF" + head[4:]
