"""Drawing the next token, by a generator of one's own: answers made at once do not disturb each other's dice.

scores of all tokens -> penalty for repetition -> temperature -> top_k -> top_p -> all but the drawn one forbidden
"""

from dataclasses import dataclass
from typing import Any

_COLDEST = 1e-3


@dataclass(frozen=True, slots=True)
class Dice:
    """How one answer is drawn; ``temperature`` 0: always the likeliest token."""

    temperature: float
    top_p: float
    top_k: int
    """0: of all"""
    repeat_penalty: float
    repeat_last_n: int
    """tokens looked back upon; 0: none, -1: all"""
    seed: int | None = None


class Drawing:
    """A logits processor. transformers then takes the likeliest token, of which there is but one."""

    def __init__(self, dice: Dice, device: str) -> None:
        import torch

        self._dice = dice
        self._generator = torch.Generator(device=device)
        if dice.seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(dice.seed % (1 << 63))

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """``[1, length], [1, vocabulary] -> [1, vocabulary]``"""
        import torch

        scores = self._penalised(input_ids, scores.float())
        if self._dice.temperature < _COLDEST:
            return scores
        chances = torch.softmax(self._narrowed(scores / self._dice.temperature), -1)
        drawn = torch.multinomial(chances, 1, generator=self._generator)
        return torch.full_like(scores, -torch.inf).scatter(1, drawn, 0.0)

    def _penalised(self, input_ids: Any, scores: Any) -> Any:
        """As in https://arxiv.org/abs/1909.05858, 4.1: scores above 0 are divided, those below multiplied."""
        import torch

        dice = self._dice
        if dice.repeat_penalty == 1 or not dice.repeat_last_n:
            return scores
        recent = input_ids if dice.repeat_last_n < 0 else input_ids[:, -dice.repeat_last_n :]
        known = scores.gather(1, recent)
        known = torch.where(known > 0, known / dice.repeat_penalty, known * dice.repeat_penalty)
        return scores.scatter(1, recent, known)

    def _narrowed(self, scores: Any) -> Any:
        import torch

        if 0 < self._dice.top_k < scores.shape[-1]:
            least = torch.topk(scores, self._dice.top_k).values[:, -1:]
            scores = scores.masked_fill(scores < least, -torch.inf)
        if self._dice.top_p < 1:
            ordered, places = torch.sort(scores, descending=True)
            shares = torch.softmax(ordered, -1)
            beyond = shares.cumsum(-1) - shares >= self._dice.top_p  # of those before it; the first one always stays
            beyond[:, 0] = False
            scores = scores.masked_fill(beyond.scatter(1, places, beyond), -torch.inf)
        return scores
