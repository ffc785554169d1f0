"""What filters say of a sentence stays with that sentence, wherever the text was cut."""

from collections.abc import AsyncIterator, Sequence
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from greenroom.pipeline.annotations import Notes, by_sentence
from greenroom.values import TextChunk

SENTENCES = ("First one.", " And a second!", " Third, at last.")


async def stream(chunks: Sequence[TextChunk]) -> AsyncIterator[TextChunk]:
    for chunk in chunks:
        yield chunk


def test_a_note_does_not_slip_to_the_sentence_before() -> None:
    """The first is known to be whole only when the second's chunk is there."""
    notes = Notes()
    for number, sentence in enumerate(SENTENCES):
        notes.add(TextChunk(sentence, {"number": number}))
    assert [notes.take(sentence) for sentence in SENTENCES] == [{"number": 0}, {"number": 1}, {"number": 2}]


def test_several_chunks_of_one_sentence_add_up_and_one_over_several_is_told_once() -> None:
    notes = Notes()
    notes.add(TextChunk("First ", {"a": 1}))
    notes.add(TextChunk("one. And a second! Third", {"b": 2}))
    notes.add(TextChunk(", at last.", {"c": 3}))
    assert [notes.take(sentence) for sentence in SENTENCES] == [{"a": 1, "b": 2}, {}, {"c": 3}]


def test_a_note_without_text_belongs_to_what_follows() -> None:
    notes = Notes()
    notes.add(TextChunk("First one."))
    notes.add(TextChunk("", {"a": 1}))
    notes.add(TextChunk(" And a second!"))
    assert [notes.take(sentence) for sentence in SENTENCES[:2]] == [{}, {"a": 1}]


@given(st.lists(st.integers(0, sum(map(len, SENTENCES))), max_size=6))
async def test_every_note_arrives_once_however_the_text_is_cut(cuts: list[int]) -> None:
    text = "".join(SENTENCES)
    edges = sorted({0, *cuts, len(text)})
    pieces = [text[start:end] for start, end in pairwise(edges)]
    chunks = [TextChunk(piece, {str(index): index}) for index, piece in enumerate(pieces)]
    told = [chunk async for chunk in by_sentence(stream(chunks))]
    assert "".join(chunk.text for chunk in told) == text
    assert [name for chunk in told for name in chunk.extras] == [str(index) for index in range(len(pieces))]
    offset = 0
    for chunk in told:
        begun = [edge for edge in edges[:-1] if offset <= edge < offset + len(chunk.text)]
        assert [edges[int(name)] for name in chunk.extras] == begun
        offset += len(chunk.text)
