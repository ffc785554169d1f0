"""Role embedding: texts -> vectors of length 1, by any encoder of the hub."""

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from pydantic import Field

from greenroom.bindings.embedding_format import load_numpy
from greenroom.bindings.roles import Embedding, Options
from greenroom.bindings.threads import Emit

from .loading import ModelOptions, TorchModel, TransformersOperation

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_DEFAULT_LIMIT: Final = 512
_MAX_BATCH_TOKENS: Final = 16_384
"""texts times tokens worked on together: bounds the memory that attention takes"""
_ROOM: Final = 2
"""positions that RoBERTa and its kin keep for padding"""


class EmbeddingOptions(ModelOptions):
    pooling: Literal["auto", "mean", "cls", "last"] = Field(
        "auto", description="how a text's tokens become one vector; auto: as the model's folder says, else their mean"
    )
    prefix: str = Field("", max_length=200, description="put before every text, as some models want it: `query: `")
    max_tokens: int = Field(512, ge=8, le=1 << 17, description="tokens after which a text is cut")
    batch_size: int = Field(32, ge=1, le=1024, description="texts worked on together")


class Encoder(TorchModel):
    kind = "embedding model"

    def load(self) -> None:
        from transformers import AutoModel, AutoTokenizer

        self.tokenizer: Any = AutoTokenizer.from_pretrained(self.folder, **self.loading)
        self._model = self.placed(AutoModel.from_pretrained(self.folder, **self.weights))
        self._told_pooling = self._pooling()

    def warm_up(self) -> None:
        self.vectors([self.tokens("warming up", 8)], "auto")

    @property
    def limit(self) -> int:
        """Tokens that it takes."""
        told = getattr(self.model.config, "max_position_embeddings", None)
        positions = told - _ROOM if isinstance(told, int) and told > 2 * _ROOM else _DEFAULT_LIMIT
        return int(min(positions, self.tokenizer.model_max_length))

    def tokens(self, text: str, longest: int) -> list[int]:
        text = text.encode("utf-8", "replace").decode()  # a tokenizer takes no lone surrogates
        found = self.tokenizer(text, truncation=True, max_length=min(longest, self.limit))["input_ids"]
        return list(found) or [self.tokenizer.pad_token_id or 0]

    def vectors(self, batch: Sequence[Sequence[int]], pooling: str) -> "NDArray[np.float32]":
        """In a thread -> ``[len(batch), dimensions]``, each of length 1."""
        import torch

        model = self.model
        longest = max(map(len, batch))
        ids = torch.full((len(batch), longest), self.tokenizer.pad_token_id or 0)
        mask = torch.zeros((len(batch), longest), dtype=torch.long)
        for row, tokens in enumerate(batch):
            ids[row, : len(tokens)] = torch.tensor(tokens)
            mask[row, : len(tokens)] = 1
        ids, mask = ids.to(model.device), mask.to(model.device)
        hidden = model(input_ids=ids, attention_mask=mask).last_hidden_state.float()
        match self._told_pooling if pooling == "auto" else pooling:
            case "cls":
                pooled = hidden[:, 0]
            case "last":
                pooled = hidden[torch.arange(len(batch), device=hidden.device), mask.sum(1) - 1]
            case _:
                shares = mask[..., None].float()
                pooled = (hidden * shares).sum(1) / shares.sum(1)
        found: NDArray[np.float32] = torch.nn.functional.normalize(pooled, dim=1).cpu().numpy()
        return found

    def _pooling(self) -> str:
        """As sentence-transformers writes it into the model's folder."""
        path = self.folder / "1_Pooling" / "config.json"
        told = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        if told.get("pooling_mode_cls_token"):
            return "cls"
        return "last" if told.get("pooling_mode_lasttoken") else "mean"


class TextEmbedding(TransformersOperation, Embedding[TorchModel]):
    Options: ClassVar[type[Options]] = EmbeddingOptions
    options: EmbeddingOptions
    engine: Encoder
    default_model = "sentence-transformers/all-MiniLM-L6-v2"
    engine_type = Encoder
    architectures = ("Model", "ForMaskedLM")
    other_architectures = ("VitsModel", "BarkModel")

    async def embed(self, texts: Sequence[str]) -> "NDArray[np.float32]":
        """Given up, it stops after the batch that it is at. :raises BindingFailed: if the model fails"""
        await load_numpy()
        import numpy as np

        options, engine = self.options, self.engine
        if not texts:
            return np.zeros((0, int(engine.model.config.hidden_size)), np.float32)
        placed: dict[int, Any] = {}
        left = threading.Event()

        def produce(emit: "Emit[tuple[list[int], NDArray[np.float32]]]") -> None:
            tokens = [engine.tokens(options.prefix + text, options.max_tokens) for text in texts]
            for places in _batches([len(each) for each in tokens], options.batch_size):
                made = engine.vectors([tokens[place] for place in places], options.pooling)
                if left.is_set() or not emit((places, made)):
                    return

        try:
            async with aclosing(engine.stream(produce)) as batches:
                async for places, vectors in batches:
                    placed.update(zip(places, vectors, strict=True))
        finally:
            left.set()
        return np.stack([placed[place] for place in range(len(texts))]).astype(np.float32)


def _batches(lengths: Sequence[int], size: int) -> Iterator[list[int]]:
    """Places of the texts that go together, short ones first, so that little is padded."""
    batch: list[int] = []
    for place in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and (len(batch) == size or (len(batch) + 1) * lengths[place] > _MAX_BATCH_TOKENS):
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch
