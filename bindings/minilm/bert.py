"""The forward pass of BERT in numpy, and one vector a text from it.

token numbers [batch, length], mask -> hidden states [batch, length, width] -> mean or first token -> [batch, width]
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from greenroom.errors import Unavailable

from .weights import read_weights

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CONFIG, TOKENIZER, WEIGHTS = "config.json", "tokenizer.json", "model.safetensors"
FILES: Final = (CONFIG, TOKENIZER, WEIGHTS)

_ERF: Final = (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)
"""coefficients of formula 7.1.26 in Abramowitz and Stegun, Handbook of Mathematical Functions; error below 1.5e-7"""
_ERF_SLOPE: Final = 0.3275911


class Bert:
    """Loaded weights. Reading them is all that several threads do, so they may at once.

    :raises Unavailable: for files that are missing, broken or of another kind of model
    """

    def __init__(self, folder: Path, max_tokens: int) -> None:
        from tokenizers import Tokenizer

        missing = [name for name in FILES if not (folder / name).is_file()]
        if missing:
            raise Unavailable(f"{folder} lacks {', '.join(missing)}: download the model again")
        config = _read_json(folder / CONFIG)
        if config.get("model_type") != "bert" or config.get("position_embedding_type", "absolute") != "absolute":
            raise Unavailable(f"{folder} holds a model of the kind {config.get('model_type')!r}; minilm runs bert")
        if config.get("hidden_act", "gelu") != "gelu":
            raise Unavailable(f"{folder}: minilm knows no activation {config['hidden_act']!r}")
        weights = read_weights(folder / WEIGHTS)
        self._weights = {name.removeprefix("bert."): tensor for name, tensor in weights.items()}
        try:
            self.dimensions = int(config["hidden_size"])
            self._heads = int(config["num_attention_heads"])
            self._layers = int(config["num_hidden_layers"])
            self._epsilon = float(config.get("layer_norm_eps", 1e-12))
            positions = len(self._weights["embeddings.position_embeddings.weight"])
            for layer in range(self._layers):
                self._weights[f"encoder.layer.{layer}.output.dense.weight"]
        except (KeyError, TypeError, ValueError) as error:
            raise Unavailable(f"{folder} does not hold a whole BERT: {error} is missing") from error
        self._first_token = _pools_by_first_token(folder)
        _read_json(folder / TOKENIZER)  # the package says of a broken file nothing that helps
        self._tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(min(max_tokens, positions))

    def tokens(self, text: str) -> list[int]:
        """Cut to the longest that the model takes; the special ones at both ends are among them."""
        # one text at a time: the package warns on stderr of every fork after it has used its threads
        ids: list[int] = self._tokenizer.encode(text).ids
        return ids

    def vectors(self, batch: Sequence[Sequence[int]]) -> "NDArray[np.float32]":
        """-> ``[len(batch), dimensions]``, each of length 1."""
        import numpy as np

        longest = max(len(tokens) for tokens in batch)
        ids = np.zeros((len(batch), longest), np.int64)
        mask = np.zeros((len(batch), longest), np.float32)
        for row, tokens in enumerate(batch):
            ids[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
        hidden = self._hidden(ids, mask)
        if self._first_token:
            pooled = hidden[:, 0]
        else:
            pooled = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdims=True).clip(1)
        length = np.linalg.norm(pooled, axis=1, keepdims=True)
        return np.asarray(pooled / length.clip(1e-12), np.float32)

    def _hidden(self, ids: "NDArray[np.int64]", mask: "NDArray[np.float32]") -> "NDArray[np.float32]":
        weights = self._weights
        hidden = (
            weights["embeddings.word_embeddings.weight"][ids]
            + weights["embeddings.position_embeddings.weight"][: ids.shape[1]]
            + weights["embeddings.token_type_embeddings.weight"][0]
        )
        hidden = self._normed(hidden, "embeddings.LayerNorm")
        hiding = ((mask - 1) * 1e9)[:, None, None, :]
        for number in range(self._layers):
            layer = f"encoder.layer.{number}"
            attended = self._linear(self._attention(hidden, hiding, layer), f"{layer}.attention.output.dense")
            hidden = self._normed(hidden + attended, f"{layer}.attention.output.LayerNorm")
            inner = _gelu(self._linear(hidden, f"{layer}.intermediate.dense"))
            hidden = self._normed(hidden + self._linear(inner, f"{layer}.output.dense"), f"{layer}.output.LayerNorm")
        return hidden

    def _attention(
        self, hidden: "NDArray[np.float32]", hiding: "NDArray[np.float32]", layer: str
    ) -> "NDArray[np.float32]":
        import numpy as np

        batch, length, width = hidden.shape
        query, key, value = (
            self._linear(hidden, f"{layer}.attention.self.{name}")
            .reshape(batch, length, self._heads, -1)
            .transpose(0, 2, 1, 3)
            for name in ("query", "key", "value")
        )
        scores = query @ key.transpose(0, 1, 3, 2)
        scores *= np.float32((width // self._heads) ** -0.5)
        scores += hiding
        scores -= scores.max(-1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(-1, keepdims=True)
        mixed = (scores @ value).transpose(0, 2, 1, 3).reshape(batch, length, width)
        return np.asarray(mixed, np.float32)

    def _linear(self, values: "NDArray[np.float32]", name: str) -> "NDArray[np.float32]":
        result: NDArray[np.float32] = values @ self._weights[f"{name}.weight"].T
        result += self._weights[f"{name}.bias"]
        return result

    def _normed(self, values: "NDArray[np.float32]", name: str) -> "NDArray[np.float32]":
        import numpy as np

        centered = np.asarray(values - values.mean(-1, keepdims=True), np.float32)
        centered /= np.sqrt((centered * centered).mean(-1, keepdims=True) + np.float32(self._epsilon))
        centered *= self._weights[f"{name}.weight"]
        centered += self._weights[f"{name}.bias"]
        return centered


def _gelu(values: "NDArray[np.float32]") -> "NDArray[np.float32]":
    """x times the normal distribution up to x, by the error function itself."""
    import numpy as np

    scaled = np.abs(values) * np.float32(2**-0.5)
    near = 1 / (1 + np.float32(_ERF_SLOPE) * scaled)
    series = np.zeros_like(values)
    for factor in reversed(_ERF):
        series += np.float32(factor)
        series *= near
    error_function = np.copysign(1 - series * np.exp(-scaled * scaled), values)
    return np.asarray(values * (1 + error_function) * np.float32(0.5), np.float32)


def _read_json(path: Path) -> Mapping[str, Any]:
    """:raises Unavailable: for what is no JSON object"""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise Unavailable(f"{path} cannot be read ({error}): download it again") from error
    if not isinstance(found, dict):
        raise Unavailable(f"{path} is no JSON object: download it again")
    return found


def _pools_by_first_token(folder: Path) -> bool:
    path = folder / "1_Pooling" / CONFIG
    return path.is_file() and _read_json(path).get("pooling_mode_cls_token") is True
