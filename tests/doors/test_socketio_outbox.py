"""What waits for one client: order, bounds, and that a slow reader costs nothing but its cursor."""

import asyncio
from collections.abc import Iterable

import pytest
from engineio.packet import NOOP, PING, Packet

from greenroom.doors.socketio.metrics import DoorCounts
from greenroom.doors.socketio.outbox import Outbox
from greenroom.doors.socketio.wire import Encoded
from greenroom.protocol.events import AudioChunk, TextChunk
from greenroom.session.replay import ReplayLog


def make(limit_bytes: int = 1000, batch: int = 4) -> Outbox:
    return Outbox(limit_bytes, batch, DoorCounts())


def text(packet: Packet | None) -> str:
    assert packet is not None
    return str(packet.data)


async def drain(outbox: Outbox) -> list[str]:
    """Everything that can be had now, as engine.io's writer takes it."""
    found: list[str] = []
    while True:
        getter = outbox.get()
        if not getter.done():
            return found
        packet = await getter
        while packet is not None:
            found.append(text(packet))
            try:
                packet = outbox.get_nowait()
            except asyncio.QueueEmpty:
                break
        else:
            return [*found, "end"]


def chunk(number: int) -> TextChunk:
    return TextChunk(chunk=f"c{number}")


async def test_a_waiting_socket_gets_an_event_at_once() -> None:
    outbox, log = make(), ReplayLog(10_000)
    outbox.follow("main", log, 0)
    getter = outbox.get()
    assert not getter.done()
    log.append(chunk(1))
    assert getter.done()
    assert text(await getter) == '2["text_chunk",{"chunk":"c1","type":0,"session":"main","seq":1}]'


async def test_a_batch_is_bounded_and_the_rest_stays_in_the_log() -> None:
    outbox, log = make(batch=4), ReplayLog(100_000)
    outbox.follow("main", log, 0)
    for number in range(10):
        log.append(chunk(number))
    await outbox.get()
    for _ in range(3):
        outbox.get_nowait()
    with pytest.raises(asyncio.QueueEmpty):
        outbox.get_nowait()
    assert len(await drain(outbox)) == 6


async def test_an_event_is_encoded_once_for_all_websockets() -> None:
    first, second, polling = make(), make(), make()
    first.share = second.share = lambda: True
    log = ReplayLog(10_000)
    for outbox in (first, second, polling):
        outbox.follow("main", log, 0)
    log.append(chunk(1))
    one, other, own = await first.get(), await second.get(), await polling.get()
    assert one is other
    assert own is not one
    assert text(own) == text(one)


async def test_what_is_private_comes_first_but_never_before_its_own_past() -> None:
    outbox, log = make(limit_bytes=100_000), ReplayLog(100_000)
    outbox.follow("main", log, 0)
    for number in range(4):
        log.append(chunk(number))
    for number in range(20):
        outbox.send(Encoded(f"p{number}"))
    log.append(chunk(99))
    found = await drain(outbox)
    assert found[:8] == [f"p{number}" for number in range(8)]
    assert '"c0"' in found[8], "session events are not starved"
    assert [item for item in found if item[0] == "p"] == [f"p{number}" for number in range(20)]
    late = next(index for index, item in enumerate(found) if '"c99"' in item)
    assert late > found.index("p19"), "an event does not overtake what was sent to this client before it"


async def test_an_attachment_follows_its_packet() -> None:
    outbox, log = make(batch=1), ReplayLog(100_000)
    outbox.follow("main", log, 0)
    log.append(AudioChunk(index=0, part=0, audio=b"\x01\x02", sr=8000, sw=2, ch=1, t_ms=0, duration_ms=1, volumes=[]))
    first = await outbox.get()
    outbox.put_nowait(Packet(PING))
    outbox.send(Encoded("private"))
    second = await outbox.get()
    assert text(first).startswith("51-")
    assert second is not None and second.data == b"\x01\x02"
    assert (await outbox.get()).packet_type == PING  # type: ignore[union-attr]
    assert await drain(outbox) == ["private"]


async def test_more_private_packets_than_fit_make_it_too_slow() -> None:
    outbox = make(limit_bytes=1000)
    called: list[str] = []
    outbox.too_slow = lambda: called.append("slow")
    outbox.send(Encoded("x" * 5000))
    assert not called, "one that is larger than all waits alone"
    outbox.send(Encoded("y"))
    outbox.send(Encoded("z"))
    assert called == ["slow"]
    assert await drain(outbox) == ["x" * 5000]


async def test_a_reader_that_the_log_leaves_behind_is_too_slow() -> None:
    outbox, log = make(), ReplayLog(2000)
    called: list[str] = []
    outbox.too_slow = lambda: called.append("slow")
    outbox.follow("main", log, 0)
    for number in range(50):
        log.append(chunk(number))
    assert called == ["slow"]


async def test_ending_with_a_flush_sends_everything_first() -> None:
    outbox, log = make(), ReplayLog(100_000)
    outbox.follow("main", log, 0)
    for number in range(6):
        log.append(chunk(number))
    outbox.send(Encoded("reply"))
    outbox.end([Encoded("last")], flush=True)
    outbox.send(Encoded("too late"))
    outbox.unfollow()
    found = await drain(outbox)
    assert found[0] == "reply"
    assert found[-2:] == ["last", "end"]
    assert len(found) == 9
    assert outbox.ended.is_set()
    assert log.listeners == 0


async def test_ending_without_a_flush_drops_what_waits() -> None:
    outbox, log = make(), ReplayLog(100_000)
    outbox.follow("main", log, 0)
    log.append(chunk(1))
    outbox.send(Encoded("reply"))
    outbox.end([Encoded("last")])
    assert await drain(outbox) == ["last", "end"]
    await outbox.put(None)


async def test_a_second_poll_ends_the_first() -> None:
    outbox = make()
    first = outbox.get()
    second = outbox.get()
    assert (await first).packet_type == NOOP  # type: ignore[union-attr]
    outbox.send(Encoded("a"))
    assert text(await second) == "a"


async def test_noops_do_not_pile_up() -> None:
    outbox = make()
    for _ in range(1000):
        outbox.put_nowait(Packet(NOOP))
    assert len(await drain(outbox)) < 10
    assert outbox.empty()


async def test_room_is_made_by_reading() -> None:
    outbox = make(limit_bytes=1000)
    await outbox.room()
    outbox.send(Encoded("x" * 900))
    waiting = asyncio.create_task(outbox.room())
    await asyncio.sleep(0)
    assert not waiting.done()
    await outbox.get()
    await waiting
    await outbox.join()
    outbox.task_done()


class Socket:
    """What a websocket takes at once."""

    def __init__(self) -> None:
        self.writable = True
        self.written: list[bytes] = []

    def write(self, frames: Iterable[bytes]) -> None:
        self.written += frames


def straight(outbox: Outbox, socket: Socket) -> None:
    outbox.straight = lambda: socket


async def test_while_engine_io_waits_events_go_straight_into_the_socket() -> None:
    outbox, log, socket = make(), ReplayLog(10_000), Socket()
    straight(outbox, socket)
    outbox.follow("main", log, 0)
    log.append(chunk(1))
    assert socket.written == [], "its writer is at work: it may have sent only a part of something"
    assert text(await outbox.get()).endswith('"seq":1}]')
    getter = outbox.get()
    log.append(chunk(2))
    outbox.send(Encoded("private"))
    assert socket.written[0].endswith(b'"seq":2}]')
    assert socket.written[1].endswith(b"4private")
    assert not getter.done()


async def test_a_socket_that_takes_no_more_leaves_the_rest_to_engine_io() -> None:
    outbox, log, socket = make(), ReplayLog(10_000), Socket()
    straight(outbox, socket)
    outbox.follow("main", log, 0)
    getter = outbox.get()
    socket.writable = False
    log.append(chunk(1))
    assert socket.written == []
    assert text(await getter).endswith('"seq":1}]')


async def test_control_packets_are_engine_ios_own_and_nothing_overtakes_them() -> None:
    outbox, socket = make(), Socket()
    straight(outbox, socket)
    getter = outbox.get()
    outbox.put_nowait(Packet(PING))
    outbox.send(Encoded("later"))
    assert (await getter or Packet(NOOP)).packet_type == PING
    assert socket.written == []
    assert text(outbox.get_nowait()) == "later"


async def test_what_was_missed_goes_behind_the_answer_by_one_batch_and_then_gives_way() -> None:
    outbox, log, socket = make(batch=4), ReplayLog(100_000), Socket()
    straight(outbox, socket)
    for number in range(10):
        log.append(chunk(number))
    getter = outbox.get()
    outbox.follow("main", log, 0)
    outbox.send(Encoded("joined"))
    fifth = text(await getter)
    assert [frame[-9:] for frame in socket.written[1:]] == [f'"seq":{number}}}]'.encode() for number in range(1, 4)]
    assert socket.written[0].endswith(b"4joined")
    assert fifth.endswith('"seq":4}]')


async def test_the_end_is_told_to_engine_io() -> None:
    outbox, log, socket = make(), ReplayLog(10_000), Socket()
    straight(outbox, socket)
    outbox.follow("main", log, 0)
    getter = outbox.get()
    outbox.end([Encoded("bye")])
    assert text(await getter) == "bye"
    assert await outbox.get() is None
    assert socket.written == []
