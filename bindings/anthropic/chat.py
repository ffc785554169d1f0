"""Roles t2t and mcp: messages, streamed.

Prompt -> POST /v1/messages -> events -> TextDelta ... ToolCall ... Ended
"""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, ClassVar, Literal

from pydantic import Field

from greenroom.bindings.retrying import pause_s
from greenroom.bindings.roles import OWNER_ONLY, Options, TextToText
from greenroom.errors import BadRequest, BindingFailed
from greenroom.values import ModelOutput, Prompt, Role, ToolCall

from .answer import AnswerReader
from .connection import WITH_SAMPLING, AnthropicEngine, AnthropicOperation, ConnectionOptions
from .messages import api_messages, api_tools, output_format, system_blocks

_SAMPLING = ("temperature", "top_p", "top_k")
_OPTIONAL = (*_SAMPLING, "thinking", "output_config")
"""parameters without which the request still means the same"""
_WORD = re.compile(r"\w+")


class ChatOptions(ConnectionOptions):
    model: str = Field("claude-haiku-4-5", min_length=1, description="the model, by Anthropic's name for it")
    max_tokens: int = Field(1024, ge=1, le=1 << 20, description="longest answer in tokens, thinking included")
    temperature: float | None = Field(
        None, ge=0, le=1, description="0: always the likeliest word; empty: the model's own. Newer models take none"
    )
    top_p: float | None = Field(None, gt=0, le=1, description="draw from the likeliest words that reach this share")
    top_k: int | None = Field(None, ge=1, le=1 << 20, description="draw from this many likeliest words")
    thinking: Literal["", "disabled", "adaptive", "between_tools"] = Field(
        "", description="whether to think first; empty: as the model does by itself. What it thinks is not spoken"
    )
    thinking_budget: int | None = Field(
        None, ge=1024, le=1 << 20, description="tokens for thinking, added to max_tokens, for models that take a budget"
    )
    effort: Literal["", "low", "medium", "high", "xhigh", "max"] = Field(
        "", description="how much effort to put into an answer; low is quickest; empty: the model's own"
    )
    prompt_cache: bool = Field(True, description="have the stable part of the prompt cached: cheaper and quicker")
    extra_body: dict[str, Any] = Field(
        default_factory=dict,
        description="further members of the request, as the API knows them",
        json_schema_extra=OWNER_ONLY,
    )


class Chat(AnthropicOperation, TextToText[AnthropicEngine]):
    Options: ClassVar[type[Options]] = ChatOptions
    options: ChatOptions
    keeps_formats = True

    async def generate(self, prompt: Prompt) -> AsyncIterator[ModelOutput]:
        """:raises BindingFailed: also after text was yielded, if the stream breaks; :raises BadRequest: no prompt."""
        attempt = 0
        refused = self.engine.refused.setdefault(self.options.model, set())
        once: set[str] = set()
        while True:
            left_out = refused | once
            body = self._body(prompt, left_out)
            emitted = False
            try:
                async with aclosing(self._answer(body)) as items:
                    async for item in items:
                        emitted = True
                        yield item
                return
            except BindingFailed as failure:
                otherwise = not emitted and (
                    self._ask_without_thoughts(failure, prompt, once)
                    or _ask_otherwise(failure, body, left_out, refused)
                )
                if emitted or not (otherwise or failure.retryable):
                    raise
                if failure.retryable:
                    wait_s = pause_s(failure, attempt)
                    if attempt >= self.options.max_retries or wait_s is None:
                        raise
                    attempt += 1
                    await asyncio.sleep(wait_s)

    async def _answer(self, body: dict[str, Any]) -> AsyncGenerator[ModelOutput, None]:
        engine = self.engine
        reader = AnswerReader(engine.failures.host, engine.failures.clean)
        version = WITH_SAMPLING if any(name in body for name in _SAMPLING) else None
        async with aclosing(engine.events(body, version)) as events:
            async for event in events:
                for item in reader.feed(event):
                    if isinstance(item, ToolCall) and reader.thoughts:
                        engine.keep_thoughts(item.id, tuple(reader.thoughts))
                    yield item
        if not reader.ended:
            raise engine.failures.cut_off()
        for ended in reader.finish(may_be_empty=self.role is Role.MCP):
            yield ended

    def _body(self, prompt: Prompt, refused: set[str]) -> dict[str, Any]:
        options, sampling = self.options, prompt.sampling
        messages = api_messages(prompt, self.engine.thoughts, cached=options.prompt_cache)
        if not messages:
            raise BadRequest("there is nothing to answer: the prompt is empty")
        body: dict[str, Any] = {
            "model": options.model,
            "stream": True,
            "max_tokens": (sampling.max_tokens or options.max_tokens) + (options.thinking_budget or 0),
            "messages": messages,
        }
        if system := system_blocks(prompt, cached=options.prompt_cache):
            body["system"] = system
        if prompt.tools:
            body["tools"] = api_tools(prompt)
            if prompt.must_call and self._thinking() is None:  # who thinks decides by itself
                body["tool_choice"] = {"type": "any"}
        if stops := [stop for stop in sampling.stop if stop.strip()]:
            body["stop_sequences"] = stops
        wanted: dict[str, Any] = {"thinking": self._thinking()}
        if options.effort:
            wanted["output_config"] = {"effort": options.effort}
        if wanted["thinking"] is None or options.thinking == "disabled":  # who thinks draws as it finds fit
            wanted |= {
                "temperature": _within_one(options.temperature, sampling.temperature),
                "top_p": _within_one(options.top_p, sampling.top_p) or None,
                "top_k": (options.top_k if sampling.top_k is None else sampling.top_k) or None,
            }
        body |= {name: value for name, value in wanted.items() if value is not None and name not in refused}
        if prompt.response_format is not None:
            form = output_format(prompt.response_format)
            body["output_config"] = {**body.get("output_config", {}), "format": form}
        return body | options.extra_body

    def _ask_without_thoughts(self, failure: BindingFailed, prompt: Prompt, once: set[str]) -> bool:
        """Whether the request may succeed without thinking: before the tool calls of another model, or of before a
        restart, the thinking is missing that the API wants there, or is such as it cannot read."""
        of_history = "messages" in failure.message and "thinking" in failure.message
        if once or (failure.details or {}).get("status") != 400 or not of_history:
            return False
        once.add("thinking")
        self.engine.forget_thoughts(call.id for message in prompt.messages for call in message.tool_calls)
        return True

    def _thinking(self) -> dict[str, Any] | None:
        if self.options.thinking_budget is not None:
            return {"type": "enabled", "budget_tokens": self.options.thinking_budget}
        if self.options.thinking == "adaptive":
            return {"type": "adaptive", "display": "summarized"}
        return {"type": self.options.thinking} if self.options.thinking else None


def _within_one(option: float | None, sampling: float | None) -> float | None:
    """What a character says goes over the options; other backends' scales go further than 1."""
    value = option if sampling is None else sampling
    return None if value is None else min(value, 1.0)


def _ask_otherwise(failure: BindingFailed, body: dict[str, Any], left_out: set[str], refused: set[str]) -> bool:
    """Whether the request may succeed without a parameter that this model refuses. Of two that exclude each other,
    temperature stays. ``refused`` may have grown since: another session asks the same model."""
    if (failure.details or {}).get("status") not in (400, 422):
        return False
    words = set(_WORD.findall(failure.message))
    words |= {"output_config"} if "effort" in words else set()
    named = [name for name in _OPTIONAL if name in body and name in words and name not in left_out]
    if len(named) > 1 and "temperature" in named:
        named.remove("temperature")
    refused.update(named)
    return bool(named)


class ToolChooser(Chat):
    """The same, asked by the server to pick tools: an answer without text or tools is one, too."""

    role = Role.MCP
