"""Roles t2t and mcp: chat completions, streamed.

Prompt -> POST /chat/completions (raw text: /completions) -> events -> TextDelta ... ToolCall ... Ended
"""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from hashlib import sha256
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from greenroom.bindings.chat_format import AnswerReader, answer_form, chat_messages, tool_schemas
from greenroom.bindings.roles import OWNER_ONLY, Options, TextToText
from greenroom.bindings.server_events import EventDecoder
from greenroom.errors import BadRequest, BindingFailed
from greenroom.values import ModelOutput, Prompt, Role, TextDelta

from .connection import ConnectionOptions, OpenAIEngine, OpenAIOperation, pieces_of, read_whole

if TYPE_CHECKING:
    import httpx2

_MAX_WHOLE_BYTES = 8 << 20
_RAW_MAX_TOKENS = 1024
_OFFICIAL_STOPS = 4
_OPTIONAL = (
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "seed",
    "stop",
    "top_k",
    "repeat_penalty",
    "repeat_last_n",
    "reasoning_effort",
    "max_tokens",
    "max_completion_tokens",
    "stream_options",
)
"""parameters without which the request still means the same"""
_QUOTED = re.compile(r"['\"`](\w+)['\"`]")
_DONE = b"[DONE]"
_END_TIMEOUT_S = 0.1
_UNOFFICIAL = frozenset({"top_k", "repeat_penalty", "repeat_last_n"})
_COUNTED = "stream_options"
_TOOLS_AND_THINKING = re.compile(r"tools with reasoning_effort are not supported")
_LONGEST_ID = 40


class ChatOptions(ConnectionOptions):
    model: str = Field("gpt-4o", min_length=1, description="the model, by the server's name for it")
    temperature: float = Field(1.0, ge=0, le=2, description="0: always the likeliest word; higher: freer")
    top_p: float = Field(0.9, ge=0, le=1, description="draw from the likeliest words that together reach this share")
    presence_penalty: float = Field(0.0, ge=0, le=1, description="makes new subjects likelier")
    frequency_penalty: float = Field(0.0, ge=0, le=1, description="makes repetition unlikelier")
    max_tokens: int | None = Field(None, ge=1, description="longest answer; empty: the server's own limit")
    max_tokens_field: Literal["auto", "max_tokens", "max_completion_tokens"] = Field(
        "auto", description="how the server calls it; auto: max_completion_tokens at OpenAI, max_tokens elsewhere"
    )
    reasoning_effort: Literal["", "none", "minimal", "low", "medium", "high", "xhigh", "max"] = Field(
        "",
        description="how long a reasoning model may think; empty: its own default; OpenAI's newer ones use tools only "
        "without, which is found out",
    )
    extra_body: dict[str, Any] = Field(
        default_factory=dict,
        description="further members of the request, for what only some servers know",
        json_schema_extra=OWNER_ONLY,
    )


class ChatCompletion(OpenAIOperation, TextToText[OpenAIEngine]):
    Options: ClassVar[type[Options]] = ChatOptions
    options: ChatOptions
    keeps_formats = True

    async def generate(self, prompt: Prompt) -> AsyncIterator[ModelOutput]:
        """:raises BindingFailed: also after text was yielded, if the stream breaks; :raises BadRequest: no prompt."""
        reader = AnswerReader(self.engine.failures.host, self.engine.failures.clean)
        response = await self._open(prompt)
        async with self.engine.reading(response), aclosing(self._read(response, reader)) as deltas:
            async for delta in deltas:
                yield delta
        for item in reader.finish(may_be_empty=self.role is Role.MCP):
            yield item

    async def _open(self, prompt: Prompt) -> "httpx2.Response":
        """Asks again, in another way, where only the way was refused. The way that was taken is kept to."""
        known = self.engine.refused.setdefault(self.options.model, set())
        refused = set(known)
        while True:
            path, body = self._request(prompt, refused)
            try:
                response = await self.engine.open(path, body, retries=self.options.max_retries)
            except BindingFailed as failure:
                if not self._ask_otherwise(failure, path, body, refused):
                    raise
            else:
                known |= refused
                if _COUNTED in body:
                    self.engine.counting.add(self.options.model)
                return response

    def _request(self, prompt: Prompt, refused: set[str]) -> tuple[str, dict[str, Any]]:
        options, sampling = self.options, prompt.sampling
        body: dict[str, Any] = {"model": options.model, "stream": True}
        if _COUNTED not in refused:
            body[_COUNTED] = {"include_usage": True}
        raw = prompt.raw is not None and options.model not in self.engine.without_completions
        if raw:
            body["prompt"] = prompt.raw
        else:
            body["messages"] = chat_messages(prompt, sees=True)
            if self.engine.is_official:
                _shorten_ids(body["messages"])
            if not body["messages"]:
                raise BadRequest("there is nothing to answer: the prompt is empty")
        if prompt.tools and not raw:
            body["tools"] = tool_schemas(prompt)
        if not raw:
            body |= answer_form(prompt)
        stops = [stop for stop in sampling.stop if stop]
        wanted = {
            "temperature": options.temperature if sampling.temperature is None else sampling.temperature,
            "top_p": options.top_p if sampling.top_p is None else sampling.top_p,
            "presence_penalty": options.presence_penalty,
            "frequency_penalty": options.frequency_penalty,
            "seed": sampling.seed if sampling.seed is not None and sampling.seed >= 0 else None,
            "stop": (stops[:_OFFICIAL_STOPS] if self.engine.is_official else stops) or None,
            "top_k": sampling.top_k,
            "repeat_penalty": sampling.repeat_penalty,
            "repeat_last_n": sampling.repeat_last_n,
            "reasoning_effort": self._effort(body) or None,
        }
        dropped = refused | _UNOFFICIAL if self.engine.is_official else refused
        body.update((name, value) for name, value in wanted.items() if value is not None and name not in dropped)
        limit = sampling.max_tokens or options.max_tokens or (_RAW_MAX_TOKENS if raw else None)
        if limit is not None:
            body[self._limit_field(raw, refused)] = limit
        return ("/completions" if raw else "/chat/completions"), body | options.extra_body

    @property
    def _fixed(self) -> set[str]:
        """what the configuration sends, whatever becomes of it"""
        return set(self.options.extra_body)

    def _effort(self, body: dict[str, Any]) -> str:
        thoughtless = "tools" in body and self.options.model in self.engine.without_thinking
        return "none" if thoughtless else self.options.reasoning_effort

    def _limit_field(self, raw: bool, refused: set[str]) -> str:
        if raw:
            return "max_tokens"
        if self.options.max_tokens_field != "auto":
            return self.options.max_tokens_field
        usual, other = "max_tokens", "max_completion_tokens"
        if self.engine.is_official:
            usual, other = other, usual
        return other if usual in refused else usual

    def _ask_otherwise(self, failure: BindingFailed, path: str, body: dict[str, Any], refused: set[str]) -> bool:
        """Whether the request, changed, may succeed: a server without raw completions, or with fewer parameters."""
        details = failure.details or {}
        status = details.get("status")
        if path == "/completions" and status in (404, 405, 501):
            self.engine.without_completions.add(self.options.model)
            return True
        if status not in (400, 422):
            return False
        may_think = body.get("reasoning_effort") != "none" and "reasoning_effort" not in refused | self._fixed
        if "tools" in body and may_think and _TOOLS_AND_THINKING.search(failure.message):
            self.engine.without_thinking.add(self.options.model)
            return True
        words = {details.get("param"), *_QUOTED.findall(failure.message)}
        words |= {_COUNTED} if _COUNTED in failure.message else set()
        sent = [name for name in _OPTIONAL if name in body and name not in refused | self._fixed]
        unwanted = [name for name in sent if name in words] or [name for name in sent if self._may_be_unknown(name)]
        refused.update(unwanted)
        return bool(unwanted)

    def _may_be_unknown(self, name: str) -> bool:
        """To a server whose refusal names nothing."""
        if name == _COUNTED:
            return not self.engine.is_official and self.options.model not in self.engine.counting
        return name in _UNOFFICIAL

    async def _read(self, response: "httpx2.Response", reader: AnswerReader) -> AsyncGenerator[TextDelta, None]:
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "application/json":
            for delta in reader.feed(self._parse(await read_whole(response, _MAX_WHOLE_BYTES))):
                yield delta
            return
        if kind == "text/html":
            page = await read_whole(response, _MAX_WHOLE_BYTES)
            raise self.engine.failures.nonsense(self.engine.failures.clean(page.decode(errors="replace")))
        decoder = EventDecoder()
        heard = False
        async with aclosing(pieces_of(response)) as pieces:
            async for piece in pieces:
                for event in decoder.feed(piece):
                    heard = True
                    if event == _DONE:
                        await _read_out(pieces)
                        return
                    for delta in reader.feed(self._parse(event)):
                        yield delta
        for event in decoder.end():
            if event == _DONE:
                return
            for delta in reader.feed(self._parse(event)):
                yield delta
        if not reader.finish_reason:
            raise self.engine.failures.cut_off() if heard else self.engine.failures.nonsense("no event at all")

    def _parse(self, text: bytes) -> Any:
        try:
            return self.engine.parse_json(text)
        except ValueError:
            raise self.engine.failures.nonsense("something that is no JSON") from None


async def _read_out(pieces: AsyncIterator[bytes]) -> None:
    """To the end of the response, so that its connection can be used again; not if the server keeps it open."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_END_TIMEOUT_S):
            async for _ in pieces:
                pass


def _shorten_ids(messages: list[dict[str, Any]]) -> None:
    """Other services' ids of tool calls are longer than OpenAI takes."""

    def short(call_id: str) -> str:
        return call_id if len(call_id) <= _LONGEST_ID else f"call_{sha256(call_id.encode()).hexdigest()[:32]}"

    for message in messages:
        if "tool_call_id" in message:
            message["tool_call_id"] = short(message["tool_call_id"])
        for call in message.get("tool_calls", ()):
            call["id"] = short(call["id"])


class ToolChooser(ChatCompletion):
    """The same, asked by the server to pick tools: an answer without text or tools is one, too."""

    role = Role.MCP
