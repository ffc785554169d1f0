"""What text filters add to the text, kept with the sentence that it was said of."""

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from greenroom.bindings.guard import guarded
from greenroom.bindings.roles import Effect, TextFilter, Unit
from greenroom.pipeline.chain import one, stacked
from greenroom.pipeline.sentences import SentenceSplitter
from greenroom.values import TextChunk

Stage = Callable[[AsyncIterator[TextChunk]], AsyncIterator[TextChunk]]


class Notes:
    """The extras of a text that comes in chunks, taken by the sentence in which the chunk began.

    A sentence is known to be whole only when the next has begun, so its notes are found by where it ends.
    """

    def __init__(self) -> None:
        self._added = 0
        self._taken = 0
        self._waiting: deque[tuple[int, Mapping[str, Any]]] = deque()

    def add(self, chunk: TextChunk) -> None:
        if chunk.extras:
            self._waiting.append((self._added, chunk.extras))
        self._added += len(chunk.text)

    def take(self, sentence: str) -> dict[str, Any]:
        """For the next sentence, with the white space around it, so that all of them together are the text."""
        self._taken += len(sentence)
        extras: dict[str, Any] = {}
        while self._waiting and self._waiting[0][0] < self._taken:
            extras.update(self._waiting.popleft()[1])
        return extras


async def by_sentence(text: AsyncIterator[TextChunk]) -> AsyncGenerator[TextChunk, None]:
    """Whole sentences for filters that judge them."""
    splitter = SentenceSplitter(first_clause=False)
    notes = Notes()
    async for chunk in text:
        notes.add(chunk)
        for sentence in splitter.feed(chunk.text):
            yield TextChunk(sentence.text, notes.take(sentence.text))
    for sentence in splitter.finish():
        yield TextChunk(sentence.text, notes.take(sentence.text))


def text_stages(filters: Sequence[TextFilter[Any]]) -> list[Stage]:
    """What an answer passes on its way to being shown, in order; annotators change no text and are left out."""
    stages: list[Stage] = []
    for item in filters:
        if item.effect is Effect.ANNOTATE:
            continue
        if item.unit is Unit.SENTENCE and by_sentence not in stages:
            stages.append(by_sentence)
        stages.append(item.apply)
    return stages


async def annotated(annotators: Sequence[TextFilter[Any]], text: str) -> dict[str, Any]:
    """What the annotators say of one sentence; their text is not used."""
    notes: dict[str, Any] = {}
    for annotator in annotators:
        with guarded("a text filter"):
            async with stacked(one(TextChunk(text, dict(notes))), [annotator.apply]) as stream:
                async for chunk in stream:
                    notes.update(chunk.extras)
    return notes
