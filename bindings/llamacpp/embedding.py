"""Role embedding: texts -> vectors of length 1, by a model of this machine loaded for that alone."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from greenroom.bindings.chat_format import error_message
from greenroom.bindings.embedding_format import load_numpy, read_vectors
from greenroom.bindings.roles import Embedding, Options
from greenroom.errors import BindingFailed

from .model_files import ModelFile
from .runtime import LlamaEngine, LlamaOperation, LlamaServer, ModelOptions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class EmbeddingOptions(ModelOptions):
    n_ctx: int = Field(2048, ge=128, le=1 << 20, description="longest text in tokens")
    pooling: Literal["auto", "mean", "cls", "last"] = Field(
        "auto", description="how a text's tokens become one vector; auto: as the model says, else their mean"
    )


class TextEmbedding(LlamaOperation, Embedding[LlamaEngine]):
    Options: ClassVar[type[Options]] = EmbeddingOptions
    options: EmbeddingOptions
    embeds = True

    @classmethod
    def _load_options(cls) -> Sequence[str]:
        return (*super()._load_options(), "pooling")

    @classmethod
    def _prepare(cls, params: Any, options: Any) -> None:
        from xllamacpp import llama_pooling_type as kinds

        params.embedding = True
        params.n_batch = params.n_ubatch = options.n_ctx  # a text is embedded in one piece
        params.cache_ram_mib = 0
        if options.pooling != "auto":
            params.pooling_type = getattr(kinds, f"LLAMA_POOLING_TYPE_{options.pooling.upper()}")

    @classmethod
    def _start(cls, options: Any, model: ModelFile, key: str) -> LlamaServer:
        server = super()._start(options, model, key)
        if options.pooling == "auto" and server.handle_embeddings({"input": ["a"]}).get("error"):
            del server  # a model that was made for text does not say how to pool
            server = super()._start(options.model_copy(update={"pooling": "mean"}), model, key)
        return server

    async def embed(self, texts: Sequence[str]) -> "NDArray[np.float32]":
        """:raises BindingFailed: for a text longer than ``n_ctx``"""
        await load_numpy()
        import numpy as np

        if not texts:
            return np.zeros((0, 0), np.float32)
        answer = await asyncio.to_thread(self._embed, [text or " " for text in texts])
        if answer.get("error"):
            raise BindingFailed(f"the model {self.engine.name} cannot embed this: {error_message(answer['error'])}")
        try:
            return read_vectors(answer, len(texts))
        except ValueError as error:
            raise BindingFailed(f"the model {self.engine.name} gave {error}") from error

    def _embed(self, texts: list[str]) -> dict[str, Any]:
        with self.engine.use() as server:
            return server.handle_embeddings({"input": texts, "encoding_format": "base64"})
