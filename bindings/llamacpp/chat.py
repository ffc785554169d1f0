"""Roles t2t and mcp: a model of this machine, streamed out of its thread.

Prompt -> handle_chat_completions (raw text: handle_completions) -> chunks -> TextDelta ... ToolCall ... Ended
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any, ClassVar

from pydantic import Field

from greenroom.bindings.chat_format import AnswerReader, answer_form, chat_messages, tool_schemas
from greenroom.bindings.roles import Options, TextToText
from greenroom.bindings.threads import Emit, stream_from_thread
from greenroom.errors import BadRequest, BindingFailed
from greenroom.values import ModelOutput, Prompt, Role

from .runtime import LlamaEngine, LlamaOperation, ModelOptions


class ChatOptions(ModelOptions):
    temperature: float = Field(0.8, ge=0, le=2, description="0: always the likeliest word; higher: freer")
    top_p: float = Field(0.95, ge=0, le=1, description="draw from the likeliest words that together reach this share")
    top_k: int = Field(40, ge=0, le=100_000, description="draw from this many likeliest words; 0: from all")
    repeat_penalty: float = Field(1.0, ge=0.1, le=3, description="above 1: repetition becomes unlikelier")
    repeat_last_n: int = Field(64, ge=-1, le=1 << 20, description="words looked back upon for repeat_penalty")
    presence_penalty: float = Field(0.0, ge=-2, le=2, description="makes new subjects likelier")
    frequency_penalty: float = Field(0.0, ge=-2, le=2, description="makes repetition unlikelier")
    max_tokens: int = Field(1024, ge=1, le=1 << 20, description="longest answer")


class Chat(LlamaOperation, TextToText[LlamaEngine]):
    Options: ClassVar[type[Options]] = ChatOptions
    options: ChatOptions
    keeps_formats = True

    async def generate(self, prompt: Prompt) -> AsyncIterator[ModelOutput]:
        """Left early, the model stops at its next token, or in a long prompt at its next batch of 512.

        :raises BindingFailed: also after text was yielded; :raises BadRequest: for an empty prompt
        """
        reader = AnswerReader(f"the model {self.engine.name}")
        request = self._request(prompt)

        def produce(emit: Emit[dict[str, Any]]) -> None:
            with self.engine.use() as server:
                handle = server.handle_completions if "prompt" in request else server.handle_chat_completions
                handle(request, lambda chunk: not emit(chunk))

        async with aclosing(stream_from_thread(produce, name="llamacpp")) as chunks:
            async for chunk in chunks:
                self._check_size(chunk)
                for delta in reader.feed(chunk):
                    yield delta
        if not reader.finish_reason:
            raise BindingFailed(f"the model {self.engine.name} stopped in the middle of its answer", retryable=True)
        for item in reader.finish(may_be_empty=self.role is Role.MCP):
            yield item

    def _request(self, prompt: Prompt) -> dict[str, Any]:
        options, sampling = self.options, prompt.sampling
        request: dict[str, Any] = {
            "stream": True,
            "stream_options": {"include_usage": True},
            "return_progress": True,  # chunks, and with them chances to stop, while the prompt is read
            "max_tokens": sampling.max_tokens or options.max_tokens,
        }
        if prompt.raw is not None:
            request["prompt"] = prompt.raw
        else:
            request["messages"] = chat_messages(prompt)
            if not request["messages"]:
                raise BadRequest("there is nothing to answer: the prompt is empty")
            if prompt.tools:
                request["tools"] = tool_schemas(prompt)
            request |= answer_form(prompt)
        for name in ("presence_penalty", "frequency_penalty"):
            request[name] = getattr(options, name)
        for name in ("temperature", "top_p", "top_k", "repeat_penalty", "repeat_last_n"):
            value = getattr(sampling, name)
            request[name] = getattr(options, name) if value is None else value
        if sampling.seed is not None and sampling.seed >= 0:
            request["seed"] = sampling.seed
        stops = [stop for stop in sampling.stop if stop]
        if stops:
            request["stop"] = stops
        return request

    def _check_size(self, chunk: dict[str, Any]) -> None:
        error = chunk.get("error")
        if isinstance(error, dict) and error.get("type") == "exceed_context_size_error":
            asked, limit = error.get("n_prompt_tokens", "more"), error.get("n_ctx", self.options.n_ctx)
            raise BindingFailed(
                f"the conversation has {asked} tokens and the model {self.engine.name} takes {limit}: "
                "raise n_ctx or keep less history"
            )

    async def tokenize(self, text: str) -> list[int | str]:
        answer = await self.engine.ask("/tokenize", {"content": text, "add_special": False, "parse_special": True})
        return list(answer["tokens"])

    async def detokenize(self, tokens: Sequence[int | str]) -> str:
        """:raises BadRequest: for tokens that are no numbers"""
        if not all(isinstance(token, int) and token >= 0 for token in tokens):
            raise BadRequest("this model's tokens are numbers from 0")
        answer = await self.engine.ask("/detokenize", {"tokens": list(tokens)})
        return str(answer["content"])


class ToolChooser(Chat):
    """The same, asked by the server to pick tools: an answer without text or tools is one, too."""

    role = Role.MCP
