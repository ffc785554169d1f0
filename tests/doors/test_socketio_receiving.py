"""Frames to packets, the inbox, the rate."""

import asyncio

import pytest

from greenroom.doors.socketio import wire
from greenroom.doors.socketio.receiving import Arrived, Assembler, Inbox, Message


def feed(assembler: Assembler, *frames: str | bytes) -> list[Arrived]:
    return [arrived for frame in frames for arrived in assembler.feed(frame)]


def test_attachments_are_put_together() -> None:
    assembler = Assembler()
    assert feed(assembler, '52-7["a",{}]', b"one") == []
    assert assembler.held_bytes == len('["a",{}]') + 3
    (arrived,) = feed(assembler, b"two")
    assert arrived.attachments == [b"one", b"two"]
    assert arrived.header.ack_id == 7
    assert assembler.held_bytes == 0
    assert feed(assembler, b"nobody announced this") == []


def test_an_event_in_place_of_an_attachment() -> None:
    broken, whole = feed(Assembler(), '51-1["a"]', '22["b"]')
    assert broken.error is not None and broken.error.code == "bad_request"
    assert broken.header.ack_id == 1
    assert whole.error is None


def test_too_many_attachments_are_refused_and_passed_over() -> None:
    assembler = Assembler()
    (arrived,) = feed(assembler, '59999-3["context_add"]', *[b"x" * 1000] * 50)
    assert arrived.error is not None and arrived.error.code == "too_large"
    assert assembler.held_bytes == 0


def test_too_many_bytes_are_refused_and_passed_over() -> None:
    assembler = Assembler()
    piece = bytes(wire.MAX_FRAME_BYTES // 2)
    (arrived,) = feed(assembler, '53-3["context_add"]', piece, piece, piece)
    assert arrived.error is not None and arrived.error.code == "too_large"
    assert assembler.held_bytes == 0
    assert list(assembler.give_up(arrived.error)) == []


def test_a_frame_that_is_no_packet() -> None:
    with pytest.raises(wire.Malformed):
        feed(Assembler(), "hello")


def message(size: int = 1) -> Message:
    return Message("a", [], None, size)


async def test_the_inbox_is_bounded_in_events_and_bytes() -> None:
    inbox = Inbox(2, 100)
    assert inbox.put(message(1000)), "one that is larger than all waits alone"
    assert not inbox.put(message())
    assert (await inbox.get()) is not None
    assert inbox.held_bytes == 0
    assert inbox.put(message()) and inbox.put(message())
    assert not inbox.put(message())


async def test_a_closed_inbox_gives_out_what_it_has() -> None:
    inbox = Inbox(2, 100)
    getting = asyncio.create_task(inbox.get())
    await asyncio.sleep(0)
    inbox.put(message())
    assert await getting is not None
    inbox.put(message())
    inbox.close()
    assert not inbox.put(message())
    assert await inbox.get() is not None
    assert await inbox.get() is None
