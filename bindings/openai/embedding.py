"""Role embedding: texts in batches, vectors as packed 32-bit floats.

texts -> POST /embeddings -> [len(texts), dimensions]
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from greenroom.bindings.chat_format import error_message
from greenroom.bindings.embedding_format import load_numpy, read_vectors
from greenroom.bindings.roles import Embedding, Options, Place
from greenroom.errors import BindingFailed

from .connection import ConnectionOptions, OpenAIEngine, OpenAIOperation, read_whole

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_MAX_ANSWER_BYTES = 256 << 20


class EmbeddingOptions(ConnectionOptions):
    model: str = Field("text-embedding-3-small", min_length=1, description="the model, by the server's name for it")
    dimensions: int = Field(
        1536, ge=1, le=65_536, description="length of a vector; asked of the server only if it is set, or at OpenAI"
    )
    batch_size: int = Field(256, ge=1, le=2048, description="texts in one request")


class TextEmbedding(OpenAIOperation, Embedding[OpenAIEngine]):
    Options: ClassVar[type[Options]] = EmbeddingOptions
    options: EmbeddingOptions

    @classmethod
    async def open_engine(cls, options: Any, place: Place) -> OpenAIEngine:
        """With numpy, and so with a pool of its own. :raises Unavailable: if it is not installed."""
        await load_numpy()
        return await super().open_engine(options, place)

    async def embed(self, texts: Sequence[str]) -> "NDArray[np.float32]":
        """:raises BindingFailed: also for a wrong number of vectors, or some of another length."""
        import numpy as np

        size = self.options.batch_size
        batches: list[NDArray[np.float32]] = []
        for at in range(0, len(texts), size):
            batches.append(await self._embed_batch(texts[at : at + size]))
        if not batches:
            return np.zeros((0, self.options.dimensions), np.float32)
        if len({batch.shape[1] for batch in batches}) > 1:
            raise self._nonsense()
        return np.concatenate(batches)

    async def _embed_batch(self, texts: Sequence[str]) -> "NDArray[np.float32]":
        body: dict[str, Any] = {
            "model": self.options.model,
            "input": [text or " " for text in texts],  # an empty text is refused by most
            "encoding_format": "base64",
        }
        if "dimensions" in self.options.model_fields_set or self._shortens():
            body["dimensions"] = self.options.dimensions
        async with self.engine.request("/embeddings", body, retries=self.options.max_retries) as response:
            answer = await read_whole(response, _MAX_ANSWER_BYTES)
        try:
            parsed = self.engine.parse_json(answer)
        except ValueError:
            raise self._nonsense() from None
        if isinstance(parsed, dict) and parsed.get("error"):
            said = self.engine.failures.clean(error_message(parsed["error"]))
            raise BindingFailed(f"{self.engine.failures.host} failed while embedding: {said}")
        try:
            return read_vectors(parsed, len(texts))
        except ValueError:
            raise self._nonsense() from None

    def _shortens(self) -> bool:
        return self.engine.is_official and self.options.model.startswith("text-embedding-3")

    def _nonsense(self) -> BindingFailed:
        return self.engine.failures.nonsense("something that is not one vector for each text")
