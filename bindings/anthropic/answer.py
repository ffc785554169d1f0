"""Reads the events of one answer.

content_block_delta, ..., message_delta, message_stop -> TextDelta ... ToolCall ... Ended
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from greenroom.bindings.chat_format import token_count
from greenroom.errors import BindingFailed
from greenroom.values import Ended, FinishReason, TextDelta, ToolCall

_RETRYABLE = frozenset({"overloaded_error", "rate_limit_error", "api_error", "timeout_error"})
_KEPT = ("thinking", "redacted_thinking")
_REASONS = {
    "end_turn": FinishReason.STOP,
    "stop_sequence": FinishReason.STOP,
    "pause_turn": FinishReason.STOP,
    "max_tokens": FinishReason.LENGTH,
    "model_context_window_exceeded": FinishReason.LENGTH,
    "tool_use": FinishReason.TOOL_CALLS,
    "refusal": FinishReason.CONTENT_FILTER,
}
_CUT_SHORT = (FinishReason.LENGTH, FinishReason.CONTENT_FILTER)
_PROMPT_COUNTS = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
"""side by side: none is in another"""


@dataclass(slots=True)
class _ToolUse:
    id: str
    name: str
    given: Any
    text: list[str] = field(default_factory=list)


@dataclass(slots=True)
class AnswerReader:
    host: str
    clean: Callable[[str], str]
    ended: bool = False
    thoughts: list[dict[str, Any]] = field(default_factory=list)
    """the thinking of this answer, whole blocks with their signatures"""
    calls: list[ToolCall] = field(default_factory=list)
    _said: bool = False
    _stop_reason: str = ""
    _stop_details: Any = None
    _usage: dict[str, Any] = field(default_factory=dict)
    _tools: dict[Any, _ToolUse] = field(default_factory=dict)
    _open: dict[Any, dict[str, Any]] = field(default_factory=dict)

    def feed(self, event: Mapping[str, Any]) -> list[TextDelta | ToolCall]:
        """:raises BindingFailed: for an error event, or a tool call that cannot be read."""
        block, delta = event.get("content_block"), event.get("delta")
        index = event.get("index")
        match event.get("type"):
            case "message_start":
                message = event.get("message")
                self._count(message.get("usage") if isinstance(message, dict) else None)
            case "content_block_start" if isinstance(block, dict):
                return self._begin(index, block)
            case "content_block_delta" if isinstance(delta, dict):
                return self._more(index, delta)
            case "content_block_stop":
                return self._end(index)
            case "message_delta" if isinstance(delta, dict):
                self._stop_reason = str(delta.get("stop_reason") or self._stop_reason)
                self._stop_details = delta.get("stop_details")
                self._count(event.get("usage"))
            case "message_stop":
                self.ended = True
            case "error":
                self._fail(event.get("error"))
        return []

    def _count(self, usage: Any) -> None:
        """What comes later counts from the start as well."""
        if isinstance(usage, dict):
            self._usage |= {name: value for name, value in usage.items() if value is not None}

    def _begin(self, index: Any, block: dict[str, Any]) -> list[TextDelta | ToolCall]:
        kind = block.get("type")
        if kind == "tool_use":
            self._tools[index] = _ToolUse(str(block.get("id")), str(block.get("name")), block.get("input"))
        elif kind in _KEPT:
            self._open[index] = dict(block)
        text = block.get("text") if kind == "text" else None
        return self._text(text) if text else []

    def _more(self, index: Any, delta: dict[str, Any]) -> list[TextDelta | ToolCall]:
        match delta.get("type"):
            case "text_delta":
                return self._text(str(delta.get("text") or ""))
            case "thinking_delta":
                thought = str(delta.get("thinking") or "")
                if index in self._open:
                    self._open[index]["thinking"] = self._open[index].get("thinking", "") + thought
                return [TextDelta(thought, thought=True)] if thought else []
            case "signature_delta" if index in self._open:
                self._open[index]["signature"] = str(delta.get("signature") or "")
            case "input_json_delta" if index in self._tools:
                self._tools[index].text.append(str(delta.get("partial_json") or ""))
        return []

    def _text(self, text: str) -> list[TextDelta | ToolCall]:
        self._said = self._said or bool(text)
        return [TextDelta(text)] if text else []

    def _end(self, index: Any) -> list[TextDelta | ToolCall]:
        if index in self._open:
            self.thoughts.append(self._open.pop(index))
        tool = self._tools.pop(index, None)
        if tool is None:
            return []
        arguments = tool.given
        if text := "".join(tool.text).strip():
            try:
                arguments = json.loads(text)
            except ValueError:
                arguments = None
        if not isinstance(arguments, dict):
            raise BindingFailed(
                f"{self.host} called the tool {tool.name} with arguments that are no JSON object", retryable=True
            )
        self.calls.append(ToolCall(tool.id, tool.name, arguments))
        return [self.calls[-1]]

    def _fail(self, error: Any) -> None:
        kind, message = "", ""
        if isinstance(error, Mapping):
            kind, message = str(error.get("type", "")), str(error.get("message", ""))
        said = self.clean(message or kind) or "no reason given"
        what = "is overloaded" if kind == "overloaded_error" else "failed while answering"
        raise BindingFailed(f"{self.host} {what}: {said}", retryable=kind in _RETRYABLE)

    def finish(self, *, may_be_empty: bool) -> Iterator[Ended]:
        """At the end. :raises BindingFailed: if the answer was refused, did not fit, or is empty."""
        ended = self._ended()
        if self._said or self.calls or may_be_empty or ended.reason in _CUT_SHORT:
            yield ended
        if self._stop_reason == "refusal":
            details = self._stop_details if isinstance(self._stop_details, Mapping) else {}
            why = details.get("explanation") or details.get("category")
            raise BindingFailed(f"Claude declined to answer{f': {self.clean(str(why))}' if why else ''}")
        if self._stop_reason == "model_context_window_exceeded":
            raise BindingFailed("the conversation is longer than the model takes: keep less history")
        if self._said or self.calls or may_be_empty:
            return
        if self._stop_reason == "max_tokens":
            raise BindingFailed(f"{self.host} used up max_tokens before it said a word; raise max_tokens")
        raise BindingFailed(f"{self.host} answered with no text", retryable=True)

    def _ended(self) -> Ended:
        usage = self._usage
        counts = [count for name in _PROMPT_COUNTS if (count := token_count(usage.get(name))) is not None]
        details = usage.get("output_tokens_details")
        return Ended(
            _REASONS.get(self._stop_reason),
            sum(counts) or None,
            token_count(usage.get("output_tokens")),
            token_count(usage.get("cache_read_input_tokens")),
            token_count(details.get("thinking_tokens")) if isinstance(details, Mapping) else None,
        )
