"""How an answer is written: as events while it is made, or whole at its end; for chat and for plain completions.

Of an event only the new text is encoded; what stands around it is made once for each answer.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from secrets import token_hex
from typing import Any, Protocol

from greenroom.doors.openai.exchange import EVENT_STREAM, Exchange
from greenroom.values import ToolCall

DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class Usage:
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None

    def wire(self) -> dict[str, Any]:
        made: dict[str, Any] = {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
        }
        if self.cached_tokens is not None:
            made["prompt_tokens_details"] = {"cached_tokens": self.cached_tokens}
        if self.reasoning_tokens is not None:
            made["completion_tokens_details"] = {"reasoning_tokens": self.reasoning_tokens}
        return made


class Answer(Protocol):
    """Takes an answer as it comes; ``finish`` exactly once, unless it fails."""

    @property
    def wants_usage(self) -> bool: ...

    async def text(self, text: str) -> None: ...

    async def thought(self, text: str) -> None: ...

    async def call(self, call: ToolCall) -> None: ...

    async def finish(self, reason: str, usage: Usage | None) -> None: ...


def _head(prefix: str, kind: str, model: str) -> dict[str, Any]:
    return {
        "id": f"{prefix}-{token_hex(12)}",
        "object": kind,
        "created": int(time.time()),
        "model": model,
    }


def _call(call: ToolCall) -> dict[str, Any]:
    arguments = json.dumps(dict(call.arguments), ensure_ascii=False)
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


class _Events:
    """Server-sent events that are alike but for one member."""

    def __init__(
        self, exchange: Exchange, head: Mapping[str, Any], before: str, after: str, *, with_usage: bool
    ) -> None:
        exchange.will_stream(EVENT_STREAM)
        self.wants_usage = with_usage
        self._exchange = exchange
        self._open = f"data: {json.dumps(dict(head))[:-1]}, "
        null_usage = ', "usage": null' if with_usage else ""
        self._before = f'{self._open}"choices": [{{"index": 0, {before}'
        self._after = f'{after}, "logprobs": null, "finish_reason": null}}]{null_usage}}}\n\n'
        self._last = f'{after}, "logprobs": null, "finish_reason": %s}}]{null_usage}}}\n\n'

    async def _send(self, value: Any) -> None:
        await self._exchange.write(self._event(value))

    def _event(self, value: Any) -> bytes:
        return f"{self._before}{json.dumps(value)}{self._after}".encode("ascii")

    async def _end(self, value: Any, reason: str, usage: Usage | None, first: bytes = b"") -> None:
        last = f"{self._before}{json.dumps(value)}{self._last % json.dumps(reason)}".encode("ascii")
        if usage is not None:
            last += f'{self._open}"choices": [], "usage": {json.dumps(usage.wire())}}}\n\n'.encode("ascii")
        await self._exchange.end(first + last + DONE)


class ChatEvents(_Events):
    def __init__(self, exchange: Exchange, model: str, *, with_usage: bool) -> None:
        head = _head("chatcmpl", "chat.completion.chunk", model)
        super().__init__(exchange, head, '"delta": ', "", with_usage=with_usage)
        self._begun = False
        self._calls = 0

    async def text(self, text: str) -> None:
        await self._delta({"content": text})

    async def thought(self, text: str) -> None:
        await self._delta({"reasoning_content": text})

    async def call(self, call: ToolCall) -> None:
        index, self._calls = self._calls, self._calls + 1
        await self._delta({"tool_calls": [{"index": index, **_call(call)}]})

    async def finish(self, reason: str, usage: Usage | None) -> None:
        await self._end({}, reason, usage, self._opening())

    async def _delta(self, delta: dict[str, Any]) -> None:
        event = self._event(delta)
        await self._exchange.write(event if self._begun else self._opening() + event)

    def _opening(self) -> bytes:
        """The role, once; in one piece with what comes first."""
        if self._begun:
            return b""
        self._begun = True
        return self._event({"role": "assistant", "content": ""})


class TextEvents(_Events):
    def __init__(self, exchange: Exchange, model: str, *, with_usage: bool) -> None:
        super().__init__(exchange, _head("cmpl", "text_completion", model), '"text": ', "", with_usage=with_usage)

    async def text(self, text: str) -> None:
        await self._send(text)

    async def thought(self, text: str) -> None:
        """There is no member for it."""

    async def call(self, call: ToolCall) -> None:
        """There is no member for it."""

    async def finish(self, reason: str, usage: Usage | None) -> None:
        await self._end("", reason, usage)


@dataclass(slots=True)
class _Whole:
    exchange: Exchange
    model: str
    wants_usage: bool = True
    texts: list[str] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)

    async def text(self, text: str) -> None:
        self.texts.append(text)

    async def thought(self, text: str) -> None:
        self.thoughts.append(text)

    async def call(self, call: ToolCall) -> None:
        self.calls.append(call)

    async def _answer(self, head: dict[str, Any], choice: dict[str, Any], reason: str, usage: Usage | None) -> None:
        choices = [{"index": 0, **choice, "logprobs": None, "finish_reason": reason}]
        counted = {"usage": usage.wire()} if usage is not None else {}
        await self.exchange.json({**head, "choices": choices, **counted})


class ChatWhole(_Whole):
    async def finish(self, reason: str, usage: Usage | None) -> None:
        text = "".join(self.texts)
        message: dict[str, Any] = {"role": "assistant", "content": text if text or not self.calls else None}
        message["refusal"] = None
        if self.thoughts:
            message["reasoning_content"] = "".join(self.thoughts)
        if self.calls:
            message["tool_calls"] = [_call(call) for call in self.calls]
        head = _head("chatcmpl", "chat.completion", self.model)
        await self._answer(head, {"message": message}, reason, usage)


class TextWhole(_Whole):
    async def finish(self, reason: str, usage: Usage | None) -> None:
        await self._answer(_head("cmpl", "text_completion", self.model), {"text": "".join(self.texts)}, reason, usage)
