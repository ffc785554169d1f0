import asyncio

import pytest

from greenroom.client.mailbox import Mailbox
from greenroom.client.received import Received
from greenroom.errors import Restarted, TooSlow
from greenroom.protocol.events import AudioChunk, AudioDropped, TextChunk


def text(word: str, seq: int = 1) -> Received:
    return Received(TextChunk(job_id="j", chunk=word), "main", seq)


def sound(seq: int, size: int = 1000) -> Received:
    chunk = AudioChunk(
        job_id="j", index=0, part=0, audio=bytes(size), sr=8000, sw=2, ch=1, t_ms=0, duration_ms=1, volumes=[]
    )
    return Received(chunk, "main", seq)


async def rest(mailbox: Mailbox) -> list[Received]:
    found = []
    while True:
        try:
            found.append(await mailbox.get())
        except StopAsyncIteration:
            return found


async def test_a_reader_waits_for_what_comes() -> None:
    mailbox = Mailbox()
    reading = asyncio.create_task(rest(mailbox))
    await asyncio.sleep(0)
    mailbox.put(text("a"))
    await asyncio.sleep(0)
    mailbox.put(text("b"))
    mailbox.close()
    mailbox.put(text("too late"))
    assert [received.text for received in await reading] == ["a", "b"]


async def test_the_error_comes_after_what_was_there() -> None:
    mailbox = Mailbox()
    mailbox.put(text("a"))
    mailbox.close(Restarted("gone"))
    mailbox.close()
    assert (await mailbox.get()).text == "a"
    for _ in range(2):
        with pytest.raises(Restarted):
            await mailbox.get()


async def test_past_its_bound_the_oldest_audio_leaves_and_text_stays() -> None:
    mailbox = Mailbox(limit_bytes=10_000)
    for seq in range(1, 21):
        mailbox.put(text(f"{seq} ", seq) if seq == 3 else sound(seq))
    mailbox.close()
    kept = await rest(mailbox)
    assert "".join(received.text for received in kept) == "3 "
    dropped = [received.event for received in kept if isinstance(received.event, AudioDropped)]
    gone = {seq for event in dropped for seq in range(event.from_seq, event.to_seq + 1)}
    left = [received.seq for received in kept if isinstance(received.event, AudioChunk)]
    assert gone | set(left) | {3} == set(range(1, 21))
    assert left == list(range(21 - len(left), 21))
    assert 3 <= len(left) <= 8


async def test_text_without_end_ends_the_stream() -> None:
    mailbox = Mailbox(limit_bytes=10_000)
    for seq in range(200):
        mailbox.put(text("word ", seq))
    with pytest.raises(TooSlow):
        await mailbox.get()
