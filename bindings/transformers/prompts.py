"""Prompt -> the text that a model continues: by its chat template, or plainly where its tokenizer has none.

What does not fit into the model's context loses its oldest messages, never the system text or the last message.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from greenroom.bindings.chat_format import chat_messages
from greenroom.errors import BadRequest, BindingFailed
from greenroom.values import Prompt

_PLAIN_NAMES: Final = {"user": "User", "assistant": "Assistant", "system": "", "tool": "Result"}
PLAIN_STOPS: Final = ("\nUser:", "\nAssistant:")

logger = logging.getLogger("greenroom.bindings.transformers")


@dataclass(frozen=True, slots=True)
class Question:
    tokens: list[int]
    stops: tuple[str, ...] = ()
    thinks: bool = False
    """the template has already opened a thought"""


class Prompts:
    """:param limit: tokens that the model takes, answer included"""

    def __init__(self, name: str, tokenizer: Any, limit: int) -> None:
        self._name = name
        self._tokenizer = tokenizer
        self._limit = limit

    @property
    def has_template(self) -> bool:
        return bool(getattr(self._tokenizer, "chat_template", None))

    def question(self, prompt: Prompt, wanted: int) -> Question:
        """:param wanted: tokens of the longest answer; a quarter of the context is kept for it at most.

        :raises BadRequest: for an empty prompt
        :raises BindingFailed: if not even the last message fits, or the template fails
        """
        room = self._limit - max(1, min(wanted, self._limit // 4))
        if prompt.raw is not None:
            if not prompt.raw:
                raise BadRequest("there is nothing to continue: the prompt is empty")
            return Question(self._fitting(self._tokens(prompt.raw, special=True), room))
        messages = [_plain_message(message) for message in chat_messages(prompt)]
        if not any(message["role"] != "system" for message in messages):
            raise BadRequest("there is nothing to answer: the prompt is empty")
        kept = messages
        while True:
            text = self._text(kept)
            tokens = self._tokens(text, special=not self.has_template)
            shorter = _without_oldest(kept)
            if len(tokens) <= room or shorter is None:
                break
            kept = shorter
        if len(kept) < len(messages):
            logger.info("%s: %d old messages do not fit into its context", self._name, len(messages) - len(kept))
        stops = () if self.has_template else PLAIN_STOPS
        return Question(self._fitting(tokens, room), stops, text.rstrip().endswith("<think>"))

    def _fitting(self, tokens: list[int], room: int) -> list[int]:
        if len(tokens) > room:
            raise BindingFailed(
                f"the conversation has {len(tokens)} tokens and the model {self._name} takes {self._limit}, answer "
                "included: raise n_ctx, ask for a shorter answer, or shorten the character's text"
            )
        return tokens

    def _tokens(self, text: str, *, special: bool) -> list[int]:
        text = text.encode("utf-8", "replace").decode()  # a tokenizer takes no lone surrogates
        return list(self._tokenizer(text, add_special_tokens=special)["input_ids"])

    def _text(self, messages: Sequence[dict[str, Any]]) -> str:
        if not self.has_template:
            return _plain_text(messages)
        from jinja2 import TemplateError

        def applied(messages: Sequence[dict[str, Any]]) -> str:
            return str(self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))

        try:
            return _first_that_works(applied, (messages, _alternating(messages)), TemplateError)
        except TemplateError as error:
            raise BindingFailed(f"the chat template of {self._name} fails: {error}") from error


def _first_that_works(
    apply: Callable[[Sequence[dict[str, Any]]], str],
    tries: tuple[Sequence[dict[str, Any]], Sequence[dict[str, Any]]],
    error: type[Exception],
) -> str:
    try:
        return apply(tries[0])
    except error:
        return apply(tries[1])


def _plain_message(message: dict[str, Any]) -> dict[str, Any]:
    """What every template knows: a role and a text."""
    role = "user" if message["role"] == "tool" else message["role"]
    return {"role": role, "content": message["content"] or ""}


def _alternating(messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """For templates that know no system text, or want user and assistant in turns, the user first."""
    made: list[dict[str, Any]] = []
    for message in messages:
        role = "assistant" if message["role"] == "assistant" else "user"
        if made and made[-1]["role"] == role:
            made[-1] = {"role": role, "content": f"{made[-1]['content']}\n\n{message['content']}"}
        else:
            made.append({"role": role, "content": message["content"]})
    if made and made[0]["role"] == "assistant":
        made.insert(0, {"role": "user", "content": "(begins)"})
    return made


def _plain_text(messages: Sequence[dict[str, Any]]) -> str:
    lines = []
    for message in messages:
        name = _PLAIN_NAMES.get(message["role"], "User")
        lines.append(f"{name}: {message['content']}" if name else f"{message['content']}\n")
    return "\n".join([*lines, "Assistant:"])


def _without_oldest(messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]] | None:
    """``None``: there is none that may be left out."""
    places = [place for place, message in enumerate(messages) if message["role"] != "system"]
    return [message for place, message in enumerate(messages) if place != places[0]] if len(places) > 1 else None
