"""Speaker labels vanish under every cut of the text, and nothing else does."""

import re
import sys
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
LABEL = re.compile(r"\[[^\[\]]+\]:\s*")
PIECES = st.sampled_from(["[", "]", ":", "]:", "]: ", " ", "\n", "a", "Mira", "[Mira]: ", "[]", "é", "[a][b]: :"])


def filter_type() -> Any:
    return BindingShelf((ROOT,)).get("filter_clean").operation(Role.FILTER_TEXT)


async def opened() -> TextFilter[Any]:
    operation = filter_type()
    options = parse_options(operation, {}, "filter_clean")
    engine = await operation.open_engine(options, Place("filter_clean", ROOT / "filter_clean", ROOT / "none"))
    return operation(engine, options)  # type: ignore[no-any-return]


async def stream(*texts: str) -> AsyncIterator[TextChunk]:
    for number, text in enumerate(texts):
        yield TextChunk(text, {"number": number})


async def cleaned(*texts: str) -> list[TextChunk]:
    operation = await opened()
    return [chunk async for chunk in operation.apply(stream(*texts))]


def remover() -> Any:
    return sys.modules[filter_type().__module__].LabelRemover()


def at_once(text: str) -> str:
    while (shorter := LABEL.sub("", text)) != text:
        text = shorter
    return text


def test_card_is_ready() -> None:
    found = BindingShelf((ROOT,)).get("filter_clean")
    assert (found.status, found.card.roles, found.model_entries) == ("ready", (Role.FILTER_TEXT,), [])
    assert (filter_type().unit, filter_type().effect) == (Unit.DELTA, Effect.TRANSFORM)
    with pytest.raises(BadRequest):
        parse_options(filter_type(), {"pattern": "x"}, "filter_clean")


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("[Mira]: Hello.", "Hello."),
        ("[Mira]:Hello. [Tom]:\n\n Hi.", "Hello. Hi."),
        ("[a][b]: : c", "c"),
        ("[a [b]: c]: d", "d"),
        ("[[a]: ]: b", "[]: b"),
        ("see [1] and [2], [x]y: z", "see [1] and [2], [x]y: z"),
        ("[]: a [open", "[]: a [open"),
        ("at 10:30 [am]", "at 10:30 [am]"),
        ("[a]", "[a]"),
        ("[a]:", ""),
        ("", ""),
    ],
)
async def test_labels_vanish(text: str, left: str) -> None:
    assert "".join(chunk.text for chunk in await cleaned(text)) == left == at_once(text)
    assert "".join(chunk.text for chunk in await cleaned(*text)) == left


@settings(deadline=None, max_examples=500)
@given(st.lists(PIECES, max_size=40).map("".join), st.lists(st.integers(0, 80), max_size=10))
def test_every_cut_leaves_what_the_pattern_leaves(text: str, cuts: list[int]) -> None:
    labels = remover()
    bounds = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    passed = [labels.feed(text[start:end]) for start, end in pairwise(bounds)]
    assert "".join(passed) + labels.finish() == at_once(text)


async def test_only_what_may_be_a_label_is_held_back() -> None:
    labels = remover()
    assert labels.feed("Well, ") == "Well, "
    assert labels.feed("see [") == "see "
    assert labels.feed("1") == ""
    assert labels.feed("] ") == "[1] "
    assert labels.feed("[" + "x" * 199) == ""
    assert labels.feed("y") == "[" + "x" * 199 + "y"
    assert labels.feed("]: z") == "]: z"
    assert labels.feed("[" + "x" * 190 + "[Mira]: ") == ""
    assert labels.feed("ok" + "x" * 20) == "[" + "x" * 190 + "ok" + "x" * 20
    assert labels.finish() == ""


async def test_empty_chunks_are_dropped_and_extras_ride_on() -> None:
    assert await cleaned("[Mi", "ra]", ": ", "", "Hi", " [x") == [
        TextChunk("Hi", {"number": 4}),
        TextChunk(" ", {"number": 5}),
        TextChunk("[x", {"number": 5}),
    ]
    assert await cleaned("[Mira]: ") == []
    assert await cleaned() == []
