"""Whole sentences, whatever the cut; nothing but white space lost."""

from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenroom.bindings.discovery import BindingShelf
from greenroom.bindings.engines import parse_options
from greenroom.bindings.roles import Effect, Place, TextFilter, Unit
from greenroom.errors import BadRequest
from greenroom.values import Role, TextChunk

ROOT = Path(__file__).parents[2] / "bindings"
PIECES = st.sampled_from(
    ["Hello", " ", ". ", "! ", "?", "\n", "Mr. ", "3.14", "你好。", "“yes”", "…", "`a.b`", "https://a.b "]
)


def filter_type() -> Any:
    return BindingShelf((ROOT,)).get("chunker_sentence").operation(Role.FILTER_TEXT)


async def opened(**options: Any) -> TextFilter[Any]:
    operation = filter_type()
    parsed = parse_options(operation, options, "chunker_sentence")
    place = Place("chunker_sentence", ROOT / "chunker_sentence", ROOT / "none")
    return operation(await operation.open_engine(parsed, place), parsed)  # type: ignore[no-any-return]


async def stream(*texts: str) -> AsyncIterator[TextChunk]:
    for number, text in enumerate(texts):
        yield TextChunk(text, {"number": number, f"seen{number}": True})


async def sentences(*texts: str) -> list[str]:
    operation = await opened()
    return [chunk.text async for chunk in operation.apply(stream(*texts))]


def test_card_is_ready() -> None:
    found = BindingShelf((ROOT,)).get("chunker_sentence")
    assert (found.status, found.card.roles, found.model_entries) == ("ready", (Role.FILTER_TEXT,), [])
    assert (filter_type().unit, filter_type().effect) == (Unit.SENTENCE, Effect.ANNOTATE)


async def test_a_language_is_accepted_and_a_wrong_option_refused() -> None:
    operation = await opened(language="de")
    assert [chunk.text async for chunk in operation.apply(stream("Ja. Nein."))] == ["Ja.", "Nein."]
    with pytest.raises(BadRequest, match="its options: language"):
        await opened(spacy="x")


async def test_sentences_come_whole_and_stripped() -> None:
    text = "Hello, Mr. Tom!  It costs 3.50 here.\n\nHow are you? 你好。再见。 And that is"
    wanted = ["Hello, Mr. Tom!", "It costs 3.50 here.", "How are you?", "你好。", "再见。", "And that is"]
    assert await sentences(text) == wanted
    assert await sentences(*text) == wanted


@pytest.mark.parametrize("text", ["", " \n\t ", "\n"])
async def test_nothing_comes_of_nothing(text: str) -> None:
    assert await sentences(text) == []


async def test_a_sentence_is_told_as_soon_as_it_is_proven() -> None:
    asked: list[str] = []

    async def typed() -> AsyncIterator[TextChunk]:
        for text in ("One is done. ", "Two ", "is not"):
            asked.append(text)
            yield TextChunk(text)

    operation = await opened()
    told = operation.apply(typed())
    assert (await anext(told)).text == "One is done."
    assert len(asked) <= 2
    assert [chunk.text async for chunk in told] == ["Two is not"]


async def test_extras_of_all_its_chunks_ride_on_a_sentence() -> None:
    operation = await opened()
    chunks = [chunk async for chunk in operation.apply(stream("Hel", "lo there. Bye", " now."))]
    assert chunks[0].text == "Hello there." and {"seen0", "seen1"} <= set(chunks[0].extras)
    assert chunks[1].text == "Bye now." and {"seen1", "seen2"} <= set(chunks[1].extras)
    assert "seen0" not in chunks[1].extras


@settings(deadline=None, max_examples=100)
@given(st.lists(PIECES, max_size=30).map("".join), st.lists(st.integers(0, 100), max_size=10))
async def test_every_cut_gives_the_same_sentences(text: str, cuts: list[int]) -> None:
    bounds = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    found = await sentences(*(text[start:end] for start, end in pairwise(bounds)))
    assert found == await sentences(text)
    assert "".join("".join(found).split()) == "".join(text.split())
