"""Text classification by a transformers model, for filters that judge sentences. Runs in a thread of its own.

classifier = await Classifier.open(folder, device="auto")
await classifier.scores("I am so happy")    {"joy": 0.93, "neutral": 0.04, ...}
"""

from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any

from greenroom.bindings.roles import Engine
from greenroom.bindings.threads import Worker
from greenroom.bindings.wire_text import encodable
from greenroom.errors import BindingFailed, Unavailable

_WARM_UP = "Hello there, how are you today?"
_SHORTEST_PART = 16
_OVERLAP = 40
"""characters that two parts of a long text share at most, on either side of the cut"""


class Classifier(Engine):
    """One model; its calls take turns. Closing the last operation that uses it frees the weights."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._worker = Worker(f"classifier {name}")
        self._model: Any = None
        self._tokenizer: Any = None
        self._many = False
        """labels do not exclude each other: each has a probability of its own"""
        self._longest = 512
        self.device = "cpu"
        self.labels: tuple[str, ...] = ()

    @classmethod
    async def open(cls, folder: Path, device: str = "auto") -> "Classifier":
        """Load and warm up. :raises Unavailable: if it is no classifier, or does not load."""
        made = cls(folder.name)
        try:
            await made._worker.call(lambda: made._load(folder, device))
            await made.scores(_WARM_UP)
        except BaseException:
            made._worker.close()
            raise
        return made

    def _load(self, folder: Path, device: str) -> None:
        import torch
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        self.device = chosen_device(device)
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            model = AutoModelForSequenceClassification.from_pretrained(folder, local_files_only=True)
        except ImportError as error:
            needed = " ".join(str(error).split())[:500]
            raise Unavailable(f"the model in {folder} needs a further package: {needed}") from error
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise Unavailable(f"the model in {folder} does not load: {error}") from error
        self._model = model.to(self.device).eval()
        config = self._model.config
        self.labels = tuple(str(config.id2label[index]) for index in range(config.num_labels))
        self._many = config.problem_type == "multi_label_classification"
        limits = [self._tokenizer.model_max_length, getattr(config, "max_position_embeddings", 512) - 2]
        self._longest = int(max(8, min(*limits, 512)))
        torch.set_grad_enabled(False)

    async def scores(self, text: str) -> dict[str, float]:
        """The probability of each label, the likeliest first; of what is longer than the model takes, its beginning.

        :raises BindingFailed: if the model fails.
        """
        return await self._worker.call(lambda: self._scores(text))

    async def scores_of_parts(self, text: str) -> AsyncGenerator[dict[str, float], None]:
        """The same for parts that the model takes whole, which overlap and together are all of the text."""
        for part in await self._worker.call(lambda: list(self._parts(text))):
            yield await self.scores(part)

    def _parts(self, text: str) -> Iterator[str]:
        """Halves of halves, as only the tokenizer knows how much of a text is too much."""
        if len(text) <= _SHORTEST_PART or self._count(text) <= self._longest:
            yield text
            return
        middle, overlap = len(text) // 2, min(_OVERLAP, len(text) // 8)
        yield from self._parts(text[: middle + overlap])
        yield from self._parts(text[middle - overlap :])

    def _count(self, text: str) -> int:
        """Tokens. :raises BindingFailed: if the tokenizer fails."""
        try:
            return len(self._tokenizer(encodable(text), verbose=False)["input_ids"])
        except (RuntimeError, ValueError, IndexError, TypeError) as error:
            raise BindingFailed(f"{self.name} could not judge a sentence: {error}") from error

    def _scores(self, text: str) -> dict[str, float]:
        import torch

        try:
            with torch.inference_mode():
                encoded = self._tokenizer(
                    encodable(text), truncation=True, max_length=self._longest, return_tensors="pt"
                )
                logits = self._model(**encoded.to(self.device)).logits[0].float()
                values = (logits.sigmoid() if self._many else logits.softmax(-1)).tolist()
        except (RuntimeError, ValueError, IndexError) as error:
            raise BindingFailed(f"{self.name} could not judge a sentence: {error}") from error
        return dict(sorted(zip(self.labels, values, strict=True), key=lambda item: -item[1]))

    async def close(self) -> None:
        def free() -> None:
            self._model = self._tokenizer = None

        await self._worker.call(free)
        self._worker.close()


def chosen_device(wanted: str) -> str:
    """``auto`` -> the best that there is. :raises Unavailable: for one that this machine has not."""
    import torch

    available = ["cpu"]
    if torch.cuda.is_available():
        available.insert(0, "cuda")
    elif torch.backends.mps.is_available():
        available.insert(0, "mps")
    if wanted == "auto":
        return available[0]
    kind, _, number = wanted.partition(":")
    if kind not in available or (number and int(number) >= torch.cuda.device_count()):
        raise Unavailable(f"there is no device {wanted} here; there are: {', '.join(available)}")
    return wanted
