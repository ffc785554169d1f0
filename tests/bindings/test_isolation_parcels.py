"""How items become messages: together where they are ready together, at once where one is alone."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from greenroom.bindings.isolation import codec
from greenroom.bindings.isolation.parcels import BATCH_ITEMS, packed, unpacked
from greenroom.errors import BindingFailed
from greenroom.rpc.failures import UploadCut
from greenroom.values import Audio, TextDelta


class Source:
    """Gives these items without a pause, then ends as it is told; notes how it was left."""

    def __init__(self, *items: codec.Item, end: BaseException | None = None, waits: bool = False) -> None:
        self._items = items
        self._end = end
        self._waits = waits
        self.given = 0
        self.left = ""

    async def __call__(self) -> AsyncGenerator[codec.Item, None]:
        try:
            for item in self._items:
                self.given += 1
                yield item
            if self._waits:
                await asyncio.Event().wait()
            if self._end is not None:
                raise self._end
        except BaseException as error:
            self.left = type(error).__name__
            raise


def items_of(messages: list[bytes]) -> list[list[codec.Item]]:
    return [codec.Unpacker().feed(message) for message in messages]


async def test_what_is_ready_together_leaves_together_and_in_order() -> None:
    words = [TextDelta(str(number)) for number in range(2 * BATCH_ITEMS + 3)]
    sound = Audio(b"abcd", 8000)
    source = Source(*words, sound, TextDelta("end"))
    groups = items_of([message async for message in packed(source(), owned=True)])
    assert [len(group) for group in groups] == [BATCH_ITEMS, BATCH_ITEMS, 3, 1, 1]
    assert [item for group in groups for item in group] == [*words, sound, TextDelta("end")]


async def test_one_alone_leaves_at_once() -> None:
    source = Source(TextDelta("one"), waits=True)
    async with aclosing(packed(source(), owned=True)) as messages:
        assert items_of([await anext(messages)]) == [[TextDelta("one")]]
        assert source.left == ""
    assert source.left == "CancelledError"


async def test_nobody_runs_far_ahead_of_the_reader() -> None:
    source = Source(*(Audio(b"ab", 8000) for _ in range(1000)))
    async with aclosing(packed(source(), owned=True)) as messages:
        for taken in range(1, 100):
            await anext(messages)
            assert source.given <= taken + 5
    assert source.left == "GeneratorExit"


async def test_whose_iterator_it_is_not_is_not_closed() -> None:
    source = Source(*(Audio(b"ab", 8000) for _ in range(1000)))
    items = source()
    async with aclosing(packed(items, owned=False)) as messages:
        await anext(messages)
    assert source.left == ""
    await items.aclose()


async def test_an_error_comes_after_what_came_before_it() -> None:
    source = Source(TextDelta("one"), end=LookupError("upstream"))
    messages = packed(source(), owned=True)
    assert items_of([await anext(messages)]) == [[TextDelta("one")]]
    with pytest.raises(LookupError, match="upstream"):
        await anext(messages)


async def test_a_binding_that_cancels_its_own_work_has_failed() -> None:
    with pytest.raises(BindingFailed, match="cancelled its own work"):
        await anext(packed(Source(end=asyncio.CancelledError())(), owned=True))


async def test_what_no_stream_carries_is_refused() -> None:
    with pytest.raises(TypeError, match="nothing that a binding's stream carries"):
        await anext(packed(Source("text")(), owned=True))  # type: ignore[arg-type]


async def test_a_cut_upload_neither_ends_nor_fails() -> None:
    """Its reader is about to be cancelled; an end would let it take half an utterance for a whole one."""

    async def cut() -> AsyncGenerator[bytes, None]:
        yield codec.items_message([codec.pack(TextDelta("half"))])
        raise UploadCut("the client left")

    items = unpacked(cut())
    assert await anext(items) == TextDelta("half")
    rest = asyncio.ensure_future(anext(items))
    done, _ = await asyncio.wait({rest}, timeout=0)
    for _ in range(10):
        await asyncio.sleep(0)
    assert not done and not rest.done()
    rest.cancel()
    with pytest.raises(asyncio.CancelledError):
        await rest
