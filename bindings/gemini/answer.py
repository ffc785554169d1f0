"""Reads the chunks of one answer.

GenerateContentResponse, ... -> TextDelta ... ToolCall ... Ended
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from greenroom.errors import BindingFailed
from greenroom.values import Ended, FinishReason, TextDelta, ToolCall

from .contents import OWN_ID

if TYPE_CHECKING:
    from google.genai import types

_GOOD = frozenset({"STOP", "MAX_TOKENS"})
_SAFETY = frozenset(
    {
        "SAFETY",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "SPII",
        "IMAGE_SAFETY",
        "RECITATION",
        "LANGUAGE",
        "ESCALATION",
        "MODEL_ARMOR",
    }
)


@dataclass(slots=True)
class AnswerReader:
    host: str
    clean: Callable[[str], str]
    signatures: dict[str, bytes] = field(default_factory=dict)
    """by id of a tool call of this answer"""
    finish_reason: str = ""
    usage: "types.GenerateContentResponseUsageMetadata | None" = None
    _said: bool = False
    _called: bool = False

    def feed(self, chunk: "types.GenerateContentResponse") -> list[TextDelta | ToolCall]:
        """:raises BindingFailed: if the prompt was blocked."""
        feedback = chunk.prompt_feedback
        if feedback is not None and feedback.block_reason is not None:
            said = self.clean(feedback.block_reason_message or _name(feedback.block_reason))
            raise BindingFailed(f"Gemini does not answer this: the prompt was blocked ({said})")
        self.usage = chunk.usage_metadata or self.usage  # each chunk counts from the start
        made: list[TextDelta | ToolCall] = []
        for candidate in (chunk.candidates or ())[:1]:
            if candidate.finish_reason is not None:
                self.finish_reason = _name(candidate.finish_reason)
            parts = candidate.content.parts if candidate.content is not None else None
            made += [item for part in parts or () if (item := self._item(part)) is not None]
        return made

    def _item(self, part: "types.Part") -> TextDelta | ToolCall | None:
        if part.function_call is not None:
            wanted = part.function_call
            call = ToolCall(wanted.id or OWN_ID + uuid4().hex, str(wanted.name), dict(wanted.args or {}))
            if part.thought_signature:
                self.signatures[call.id] = part.thought_signature
            self._called = True
            return call
        if not part.text:
            return None
        self._said = self._said or not part.thought
        return TextDelta(part.text, thought=bool(part.thought))

    def finish(self, *, may_be_empty: bool) -> Iterator[Ended]:
        """At the end. :raises BindingFailed: if the answer was blocked, broken, or is empty."""
        reason = self.finish_reason
        if reason in _SAFETY or reason == "MAX_TOKENS" or (reason == "STOP" and self._is_answer(may_be_empty)):
            yield self._ended()
        if reason in _SAFETY:
            raise BindingFailed(f"Gemini stopped the answer: its safety filter objected ({reason}); see safety")
        if reason in ("MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL"):
            raise BindingFailed("Gemini called a tool in a way that cannot be read", retryable=True)
        if reason == "PUP_LIMITED_DISABLED":
            raise BindingFailed(
                "Google has limited this account for what it was used for; see its Prohibited Use Policy"
            )
        if reason not in _GOOD:
            raise BindingFailed(f"Gemini stopped the answer: {reason}", retryable=not self._said)
        if self._is_answer(may_be_empty):
            return
        if reason == "MAX_TOKENS":
            raise BindingFailed(f"{self.host} used up max_output_tokens before it said a word; raise it")
        raise BindingFailed(f"{self.host} answered with no text", retryable=True)

    def _is_answer(self, may_be_empty: bool) -> bool:
        return self._said or self._called or may_be_empty

    def _ended(self) -> Ended:
        """Google has no reason of its own for tool calls, and counts thoughts beside the answer."""
        if self.finish_reason in _SAFETY:
            reason = FinishReason.CONTENT_FILTER
        elif self.finish_reason == "MAX_TOKENS":
            reason = FinishReason.LENGTH
        else:
            reason = FinishReason.TOOL_CALLS if self._called else FinishReason.STOP
        usage = self.usage
        if usage is None:
            return Ended(reason)
        answered, thought = usage.candidates_token_count, usage.thoughts_token_count
        asked, of_tools = usage.prompt_token_count, usage.tool_use_prompt_token_count
        return Ended(
            reason,
            asked + (of_tools or 0) if asked else None,
            (answered or 0) + (thought or 0) if answered or thought else None,
            usage.cached_content_token_count,
            thought,
        )


def _name(reason: Any) -> str:
    return str(getattr(reason, "value", reason))
