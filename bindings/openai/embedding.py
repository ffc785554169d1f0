"""Role embedding: texts in batches, vectors as packed 32-bit floats.

texts -> POST /embeddings -> [len(texts), dimensions]
"""

import base64
import binascii
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from greenroom.bindings.chat_format import error_message
from greenroom.bindings.roles import Embedding, Options
from greenroom.errors import BindingFailed, Unavailable

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

    async def embed(self, texts: Sequence[str]) -> "NDArray[np.float32]":
        """:raises BindingFailed: also for a wrong number of vectors, or some of another length."""
        try:
            import numpy as np
        except ImportError:
            raise Unavailable("embeddings need numpy; install it with: pip install numpy") from None
        size = self.options.batch_size
        rows: list[NDArray[np.float32]] = []
        for at in range(0, len(texts), size):
            rows += await self._embed_batch(texts[at : at + size])
        if not rows:
            return np.zeros((0, self.options.dimensions), np.float32)
        if len({len(row) for row in rows}) > 1:
            raise self._nonsense()
        return np.stack(rows)

    async def _embed_batch(self, texts: Sequence[str]) -> "list[NDArray[np.float32]]":
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
        entries = parsed.get("data") if isinstance(parsed, dict) else None
        if not isinstance(entries, list) or len(entries) != len(texts):
            raise self._nonsense()
        placed: dict[int, NDArray[np.float32]] = {}
        for position, entry in enumerate(entries):
            vector = _vector(entry.get("embedding")) if isinstance(entry, dict) else None
            if vector is None:
                raise self._nonsense()
            placed[entry.get("index", position)] = vector
        if set(placed) != set(range(len(texts))):
            raise self._nonsense()
        return [placed[index] for index in range(len(texts))]

    def _shortens(self) -> bool:
        return self.engine.is_official and self.options.model.startswith("text-embedding-3")

    def _nonsense(self) -> BindingFailed:
        return self.engine.failures.nonsense("something that is not one vector for each text")


def _vector(value: Any) -> "NDArray[np.float32] | None":
    """From base64 of little-endian floats, or from a list of numbers; ``None`` if it is neither, or empty."""
    import numpy as np

    try:
        if isinstance(value, str):
            vector = np.frombuffer(base64.b64decode(value, validate=True), "<f4").astype(np.float32)
        else:
            vector = np.asarray(value, np.float32)
    except (binascii.Error, ValueError, TypeError):
        return None
    return vector if vector.ndim == 1 and len(vector) else None
