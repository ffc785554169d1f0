"""Cutting an answer at a stop text, however it comes in pieces."""

from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenroom.personalities.stop import StopCutter, cut
from greenroom.values import Ended, FinishReason, ModelOutput, TextDelta, ToolCall


def passed(stops: tuple[str, ...], *pieces: str) -> tuple[list[str], bool]:
    cutter = StopCutter(stops)
    shown = [cutter.feed(piece) for piece in pieces]
    return [*shown, cutter.finish()], cutter.stopped


def test_only_what_may_become_a_stop_text_is_held_back() -> None:
    cutter = StopCutter(("User:", "!@>"))
    assert cutter.feed("Sure. ") == "Sure. "
    assert cutter.feed("Us") == ""
    assert cutter.feed("e it") == "Use it"
    assert cutter.feed("\n!@") == "\n"
    assert not cutter.stopped
    assert cutter.feed("> User: hi") == ""
    assert cutter.stopped and cutter.stop == "!@>"
    assert cutter.feed("more") == "" and cutter.finish() == ""


def test_case_does_not_count_and_places_are_those_of_the_text() -> None:
    assert passed(("ÜSER:",), "Straße İstanbul üser: x") == (["Straße İstanbul ", ""], True)
    assert passed(("user:",), "aßaUSER:b") == (["aßa", ""], True)


def test_what_was_held_back_comes_at_the_end() -> None:
    assert passed(("###",), "a #", "#") == (["a ", "", "##"], False)


def test_without_stop_texts_all_passes() -> None:
    assert passed((), "a", "", "b") == (["a", "", "b", ""], False)
    assert passed(("",), "a") == (["a", ""], False)


def expected(text: str, stops: tuple[str, ...]) -> str:
    """By the definition: the match that ends first, and of these the longest."""
    low = text.lower()
    ends = [
        (end, end - len(s))
        for s in stops
        for end in range(len(s), len(text) + 1)
        if low[end - len(s) : end] == s.lower()
    ]
    return text[: min(ends)[1]] if ends else text


@given(
    st.text("abA#: ", max_size=60),
    st.lists(st.text("abB#:", min_size=1, max_size=5), max_size=4),
    st.data(),
)
def test_every_way_of_cutting_the_text_gives_the_same(text: str, stops: list[str], data: st.DataObject) -> None:
    places = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    pieces = [text[start:end] for start, end in zip([0, *places], [*places, len(text)], strict=True)]
    shown, _ = passed(tuple(stops), *pieces)
    assert "".join(shown) == expected(text, tuple(stops))


class Source:
    def __init__(self, *items: ModelOutput) -> None:
        self.items = items
        self.taken = 0
        self.closed = False

    async def stream(self) -> AsyncIterator[ModelOutput]:
        try:
            for item in self.items:
                self.taken += 1
                yield item
        finally:
            self.closed = True


async def test_a_stream_is_cut_and_closed() -> None:
    call = ToolCall("1", "look", {})
    thought = TextDelta("User: thinks", thought=True)
    source = Source(TextDelta("Hi"), thought, call, TextDelta("\nUs"), TextDelta("er: x"), TextDelta("never"))
    got = [item async for item in cut(source.stream(), ("user:",))]
    assert got == [TextDelta("Hi"), thought, call, TextDelta("\n")]
    assert source.closed and source.taken == 5


async def test_a_stream_without_a_stop_text_is_whole() -> None:
    source = Source(TextDelta("Hi #"), TextDelta("#"))
    assert "".join([d.text async for d in cut(source.stream(), ("###",)) if isinstance(d, TextDelta)]) == "Hi ##"
    assert source.closed


async def test_what_a_stream_tells_of_its_end_stays_last_and_is_missing_where_it_was_cut() -> None:
    ended = Ended(FinishReason.STOP, 3, 2)
    held = Source(TextDelta("Hi #"), TextDelta("#"), ended)
    assert [item async for item in cut(held.stream(), ("###",))] == [TextDelta("Hi "), TextDelta("##"), ended]
    stopped = Source(TextDelta("Hi #"), TextDelta("##"), ended)
    assert [item async for item in cut(stopped.stream(), ("###",))] == [TextDelta("Hi ")]
    assert stopped.closed


async def test_any_iterator_will_do() -> None:
    class Items:
        def __init__(self) -> None:
            self.left = ["a", "b#c"]

        def __aiter__(self) -> "Items":
            return self

        async def __anext__(self) -> TextDelta:
            if not self.left:
                raise StopAsyncIteration
            return TextDelta(self.left.pop(0))

    assert [delta.text async for delta in cut(Items(), ("#",))] == ["a", "b"]


@pytest.mark.parametrize("stops", [("a" * 50 + "b",), tuple("ab" * n + "c" for n in range(1, 20))])
def test_texts_that_almost_match_are_passed_whole(stops: tuple[str, ...]) -> None:
    text = ("a" * 40 + "ab") * 500
    shown, stopped = passed(stops, *text)
    assert "".join(shown) == expected(text, stops) or stopped
