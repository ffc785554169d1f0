"""Cuts a stream of text into whole sentences.

"Hello. How", " are you?" -> "Hello.", "How are you?"
"""

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from pydantic import Field

from greenroom.bindings.roles import Binding, Effect, Engine, Options, TextFilter, Unit
from greenroom.pipeline.sentences import Sentence, SentenceSplitter
from greenroom.values import Role, TextChunk


class ChunkerOptions(Options):
    language: str = Field("", description="kept for configurations that name one; the split needs no language")


class SentenceChunker(TextFilter[Engine]):
    """In a turn, which is split into sentences anyway, it changes nothing and delays nothing."""

    Options = ChunkerOptions
    unit = Unit.SENTENCE
    effect = Effect.ANNOTATE

    async def apply(self, text: AsyncIterator[TextChunk]) -> AsyncGenerator[TextChunk, None]:
        """Sentences without the white space around them, each with the extras of the chunks that it came in."""
        splitter = SentenceSplitter(first_clause=False)
        extras: dict[str, Any] = {}
        async for chunk in text:
            extras |= chunk.extras
            for sentence in _stripped(splitter.feed(chunk.text)):
                yield TextChunk(sentence, extras)
                extras = dict(chunk.extras)
        for sentence in _stripped(splitter.finish()):
            yield TextChunk(sentence, extras)


def _stripped(sentences: list[Sentence]) -> list[str]:
    return [text for sentence in sentences if (text := sentence.text.strip())]


BINDING = Binding({Role.FILTER_TEXT: SentenceChunker})
