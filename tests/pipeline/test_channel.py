import asyncio

import pytest

from greenroom.pipeline.channel import Channel, Closed


async def test_items_come_out_in_order_and_end_with_close() -> None:
    channel: Channel[int] = Channel()
    for number in range(5):
        await channel.send(number)
    channel.close()
    assert [item async for item in channel] == [0, 1, 2, 3, 4]
    assert channel.ended


async def test_take_gives_everything_that_waits() -> None:
    channel: Channel[str] = Channel()
    taking = asyncio.create_task(channel.take())
    await asyncio.sleep(0)
    channel.send_nowait("a")
    channel.send_nowait("b")
    assert await taking == ["a", "b"]
    channel.close()
    assert await channel.take() == []


async def test_a_full_channel_holds_the_sender_until_there_is_room() -> None:
    channel: Channel[int] = Channel(limit=2)
    await channel.send(1)
    await channel.send(2)
    sending = asyncio.create_task(channel.send(3))
    await asyncio.sleep(0)
    assert not sending.done()
    assert await anext(channel) == 1
    await sending
    assert await channel.take() == [2, 3]


async def test_a_cancelled_sender_leaves_the_queue() -> None:
    channel: Channel[int] = Channel(limit=1)
    await channel.send(1)
    first = asyncio.create_task(channel.send(2))
    second = asyncio.create_task(channel.send(3))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert await anext(channel) == 1
    await second
    assert await anext(channel) == 3


async def test_a_closed_channel_refuses_and_frees_its_senders() -> None:
    channel: Channel[int] = Channel(limit=1)
    await channel.send(1)
    waiting = asyncio.create_task(channel.send(2))
    await asyncio.sleep(0)
    channel.close()
    with pytest.raises(Closed):
        await waiting
    with pytest.raises(Closed):
        channel.send_nowait(4)
    assert await channel.take() == [1]
