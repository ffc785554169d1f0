"""Role t2t: a causal language model, token by token out of its thread.

Prompt -> chat template -> tokens -> model.generate -> text as soon as it is certain -> TextDelta ... Ended
"""

import copy
import threading
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any, ClassVar, Final

from pydantic import Field

from greenroom.bindings.roles import Options, TextToText
from greenroom.bindings.threads import Emit
from greenroom.errors import BadRequest, BindingFailed
from greenroom.values import Ended, FinishReason, ModelOutput, Prompt, TextDelta

from .answer_text import AnswerText
from .loading import ModelOptions, TorchModel, TransformersOperation
from .prompts import Prompts
from .sampling import Dice, Drawing

_UNLIMITED: Final = 1 << 20
"""tokenizers that know no limit tell one of 30 digits"""
_DEFAULT_LIMIT: Final = 2048


class ChatOptions(ModelOptions):
    n_ctx: int = Field(
        0, ge=0, le=_UNLIMITED, description="tokens of one conversation, answer included; 0: as the model was made for"
    )
    max_new_tokens: int = Field(1024, ge=1, le=_UNLIMITED, description="longest answer")
    temperature: float = Field(0.7, ge=0, le=2, description="0: always the likeliest word; higher: freer")
    top_p: float = Field(0.95, ge=0, le=1, description="draw from the likeliest words that together reach this share")
    top_k: int = Field(40, ge=0, le=100_000, description="draw from this many likeliest words; 0: from all")
    repetition_penalty: float = Field(1.0, ge=0.1, le=3, description="above 1: repetition becomes unlikelier")
    repeat_last_n: int = Field(
        64, ge=-1, le=_UNLIMITED, description="tokens looked back upon for repetition_penalty; -1: all"
    )
    seed: int = Field(-1, ge=-1, description="the same seed makes the same answer; -1: another one each time")


class CausalModel(TorchModel):
    kind = "language model"

    def load(self) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.tokenizer: Any = AutoTokenizer.from_pretrained(self.folder, **self.loading)
        self._model = self.placed(AutoModelForCausalLM.from_pretrained(self.folder, **self.weights))
        ends = self._model.generation_config.eos_token_id
        self._ends = {*(ends if isinstance(ends, list) else [ends]), self.tokenizer.eos_token_id} - {None}

    def warm_up(self) -> None:
        Answer(self, self.tokenizer("Hello")["input_ids"], Dice(0, 1, 0, 1, 0), 2).write(lambda _: True)

    def is_end(self, token: int) -> bool:
        return token in self._ends

    @property
    def limit(self) -> int:
        """Tokens that it takes."""
        config = self.model.config
        told = [getattr(config, name, None) for name in ("max_position_embeddings", "n_positions", "n_ctx")]
        limits = [*told, self.tokenizer.model_max_length]
        return min((one for one in limits if isinstance(one, int) and 0 < one <= _UNLIMITED), default=_DEFAULT_LIMIT)

    def settings(self, max_new_tokens: int) -> Any:
        """The model's own, but for what is drawn here."""
        made = copy.deepcopy(self.model.generation_config)
        made.update(
            do_sample=False, num_beams=1, temperature=None, top_p=None, top_k=None, typical_p=None, min_p=None,
            repetition_penalty=None, max_length=None, max_new_tokens=max_new_tokens,
            eos_token_id=sorted(self._ends) or None,
            pad_token_id=made.pad_token_id if made.pad_token_id is not None else min(self._ends, default=0),
        )  # fmt: skip
        return made

    def decode(self, tokens: Sequence[int]) -> str:
        return str(self.tokenizer.decode(list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False))


class Answer:
    """One answer; at once transformers' streamer and its stopping criterion."""

    def __init__(
        self, model: CausalModel, tokens: list[int], dice: Dice, max_new_tokens: int, stops: Sequence[str] = ()
    ) -> None:
        self._model = model
        self._tokens = tokens
        self._dice = dice
        self._max_new_tokens = max_new_tokens
        self._text = AnswerText(model.decode, stops)
        self._is_prompt = True
        self._emit: Emit[str] = lambda _: True
        self.is_left = threading.Event()
        """set it from anywhere: the model stops at its next token"""
        self._count = 0
        self._last = -1

    def write(self, emit: Emit[str]) -> None:
        """In a thread."""
        import torch

        self._emit = emit
        model = self._model.model
        given = torch.tensor([self._tokens], device=model.device)
        model.generate(
            input_ids=given,
            attention_mask=torch.ones_like(given),
            generation_config=self._model.settings(self._max_new_tokens),
            logits_processor=[Drawing(self._dice, str(model.device))],
            stopping_criteria=[self],
            streamer=self,
        )

    def put(self, tokens: Any) -> None:
        """First the question, then each token of the answer."""
        if self._is_prompt:
            self._is_prompt = False
            return
        for token in tokens.flatten().tolist():
            self._count += 1
            self._last = token
            self._say(self._text.feed(token))

    def end(self) -> None:
        self._say(self._text.finish())

    def ended(self) -> Ended:
        """Once it has been written."""
        whole = self._text.has_stopped or self._model.is_end(self._last) or self._count < self._max_new_tokens
        reason = FinishReason.STOP if whole else FinishReason.LENGTH
        return Ended(reason, len(self._tokens), self._count)

    def _say(self, text: str) -> None:
        if text and not self._emit(text):
            self.is_left.set()

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
        """Whether to stop, for each answer of the batch of one."""
        import torch

        stops = self.is_left.is_set() or self._text.has_stopped
        return torch.full((input_ids.shape[0],), stops, dtype=torch.bool, device=input_ids.device)


class Chat(TransformersOperation, TextToText[TorchModel]):
    Options: ClassVar[type[Options]] = ChatOptions
    options: ChatOptions
    engine: CausalModel
    default_model = "Qwen/Qwen2.5-0.5B-Instruct"
    engine_type = CausalModel
    architectures = ("ForCausalLM", "LMHeadModel")

    async def generate(self, prompt: Prompt) -> AsyncGenerator[ModelOutput, None]:
        """Left early, the model stops at its next token.

        :raises BadRequest: for an empty prompt
        :raises BindingFailed: if it is too long, if the model fails, or says nothing
        """
        wanted = prompt.sampling.max_tokens or self.options.max_new_tokens
        limit = min(self.options.n_ctx or _UNLIMITED, self.engine.limit)
        prompts = Prompts(self.engine.name, self.engine.tokenizer, limit)
        question = await self.engine.call(lambda: prompts.question(prompt, wanted))
        answer = Answer(
            self.engine,
            question.tokens,
            self._dice(prompt),
            min(wanted, limit - len(question.tokens)),
            (*question.stops, *prompt.sampling.stop),
        )
        said = False
        try:
            if question.thinks:
                yield TextDelta("<think>")
            async with aclosing(self.engine.stream(answer.write)) as texts:
                async for text in texts:
                    said = said or bool(text.strip())
                    yield TextDelta(text)
        finally:
            answer.is_left.set()
        ended = answer.ended()
        if said or ended.reason is FinishReason.LENGTH:
            yield ended
        if not said:
            raise BindingFailed(f"the model {self.engine.name} answered with no text", retryable=True)

    def _dice(self, prompt: Prompt) -> Dice:
        options, sampling = self.options, prompt.sampling

        def chosen(asked: Any, configured: Any) -> Any:
            return configured if asked is None else asked

        seed = chosen(sampling.seed, options.seed)
        return Dice(
            temperature=chosen(sampling.temperature, options.temperature),
            top_p=chosen(sampling.top_p, options.top_p),
            top_k=chosen(sampling.top_k, options.top_k),
            repeat_penalty=chosen(sampling.repeat_penalty, options.repetition_penalty),
            repeat_last_n=chosen(sampling.repeat_last_n, options.repeat_last_n),
            seed=seed if seed >= 0 else None,
        )

    async def tokenize(self, text: str) -> list[int | str]:
        text = text.encode("utf-8", "replace").decode()
        return await self.engine.call(lambda: list(self.engine.tokenizer(text, add_special_tokens=False)["input_ids"]))

    async def detokenize(self, tokens: Sequence[int | str]) -> str:
        """:raises BadRequest: for what is no token of this model"""
        count = len(self.engine.tokenizer)
        numbers = [token for token in tokens if isinstance(token, int) and 0 <= token < count]
        if len(numbers) != len(tokens):
            raise BadRequest(f"this model's tokens are numbers from 0 to {count - 1}")
        return await self.engine.call(lambda: str(self.engine.tokenizer.decode(numbers, skip_special_tokens=False)))
