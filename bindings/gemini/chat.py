"""Roles t2t and mcp: content, streamed.

Prompt -> POST /v1/models/<model>:streamGenerateContent -> chunks -> TextDelta ... ToolCall ... Ended
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from greenroom.bindings.retrying import pause_s
from greenroom.bindings.roles import Options, TextToText
from greenroom.errors import BadRequest, BindingFailed
from greenroom.values import ModelOutput, Prompt, Role

from .answer import AnswerReader
from .connection import ConnectionOptions, GeminiEngine, GeminiOperation
from .contents import contents, system_text, tool_choice, tools

if TYPE_CHECKING:
    from google.genai import types

_MOST_STOPS = 5
_HARMS = ("HARASSMENT", "HATE_SPEECH", "SEXUALLY_EXPLICIT", "DANGEROUS_CONTENT")


class ChatOptions(ConnectionOptions):
    model: str = Field("gemini-3.8-flash", min_length=1, description="the model, by Google's name for it")
    max_output_tokens: int | None = Field(
        None, ge=1, le=1 << 20, description="longest answer in tokens, thinking included; empty: the model's own limit"
    )
    temperature: float | None = Field(None, ge=0, le=2, description="0: always the likeliest word; empty: the model's")
    top_p: float | None = Field(None, ge=0, le=1, description="draw from the likeliest words that reach this share")
    top_k: int | None = Field(None, ge=1, le=1 << 20, description="draw from this many likeliest words")
    thinking_budget: int | None = Field(
        None, ge=-1, le=1 << 20, description="tokens for thinking; 0: none, -1: as many as it finds fit"
    )
    thinking_level: Literal["", "minimal", "low", "medium", "high", "xhigh"] = Field(
        "", description="how much newer models think, in place of a budget; minimal is quickest"
    )
    include_thoughts: bool = Field(True, description="pass on what it thinks, apart from what it says; never spoken")
    safety: Literal["", "OFF", "BLOCK_NONE", "BLOCK_ONLY_HIGH", "BLOCK_MEDIUM_AND_ABOVE", "BLOCK_LOW_AND_ABOVE"] = (
        Field("", description="from which likelihood of harm Google blocks an answer; empty: as Google sets it")
    )


class Chat(GeminiOperation, TextToText[GeminiEngine]):
    Options: ClassVar[type[Options]] = ChatOptions
    options: ChatOptions

    async def generate(self, prompt: Prompt) -> AsyncIterator[ModelOutput]:
        """:raises BindingFailed: also after text was yielded, if the stream breaks; :raises BadRequest: no prompt."""
        attempt = 0
        while True:
            emitted = False
            thinks = self.options.model not in self.engine.without_thinking
            try:
                async with aclosing(self._answer(prompt)) as items:
                    async for item in items:
                        emitted = True
                        yield item
                return
            except BindingFailed as failure:
                if emitted or not (self._ask_otherwise(failure, prompt, thinks) or failure.retryable):
                    raise
                if failure.retryable:
                    wait_s = pause_s(failure, attempt)
                    if attempt >= self.options.max_retries or wait_s is None:
                        raise
                    attempt += 1
                    await asyncio.sleep(wait_s)

    async def _answer(self, prompt: Prompt) -> AsyncGenerator[ModelOutput, None]:
        engine = self.engine
        asked = contents(prompt, engine.signatures, self.options.model)
        if not asked:
            raise BadRequest("there is nothing to answer: the prompt is empty")
        reader = AnswerReader(engine.failures.host, engine.failures.clean)
        async with aclosing(engine.chunks(self.options.model, asked, self._config(prompt))) as chunks:
            async for chunk in chunks:
                for item in reader.feed(chunk):
                    engine.keep_signatures(reader.signatures)
                    yield item
        if not reader.finish_reason:
            raise engine.failures.cut_off()
        for ended in reader.finish(may_be_empty=self.role is Role.MCP):
            yield ended

    def _config(self, prompt: Prompt) -> "types.GenerateContentConfig":
        from google.genai import types

        options, sampling = self.options, prompt.sampling
        stops = [stop for stop in sampling.stop if stop]
        safety = [
            types.SafetySetting(category=f"HARM_CATEGORY_{harm}", threshold=options.safety)
            for harm in _HARMS
            if options.safety
        ]
        return types.GenerateContentConfig(
            system_instruction=system_text(prompt) or None,
            max_output_tokens=sampling.max_tokens or options.max_output_tokens,
            temperature=options.temperature if sampling.temperature is None else min(sampling.temperature, 2.0),
            top_p=options.top_p if sampling.top_p is None else sampling.top_p,
            top_k=(options.top_k if sampling.top_k is None else sampling.top_k) or None,
            seed=sampling.seed if sampling.seed is not None and sampling.seed >= 0 else None,
            stop_sequences=stops[:_MOST_STOPS] or None,
            tools=tools(prompt),
            tool_config=tool_choice(prompt),
            automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
            thinking_config=self._thinking(),
            safety_settings=safety or None,
        )

    def _thinking(self) -> "types.ThinkingConfig | None":
        from google.genai import types

        options = self.options
        if options.model in self.engine.without_thinking:
            return None
        wanted = types.ThinkingConfig(include_thoughts=options.include_thoughts or None)
        if options.thinking_level:
            wanted.thinking_level = types.ThinkingLevel(options.thinking_level.upper())
        elif options.thinking_budget is not None:
            wanted.thinking_budget = options.thinking_budget
        return wanted

    def _ask_otherwise(self, failure: BindingFailed, prompt: Prompt, thinks: bool) -> bool:
        """Whether the request may succeed without a word on thinking, which not every model understands; or without
        the signatures of another model, which this one cannot read. ``thinks``: the request said such a word."""
        model, said = self.options.model, failure.message.lower()
        if (failure.details or {}).get("status") != 400:
            return False
        if "signature" in said:
            return self.engine.forget_signatures(call.id for message in prompt.messages for call in message.tool_calls)
        if "think" not in said or not thinks:
            return False
        self.engine.without_thinking.add(model)
        return True


class ToolChooser(Chat):
    """The same, asked by the server to pick tools: an answer without text or tools is one, too."""

    role = Role.MCP
