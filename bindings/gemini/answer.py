"""Reads the chunks of one answer.

GenerateContentResponse, ... -> TextDelta ... ToolCall
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from greenroom.errors import BindingFailed
from greenroom.values import TextDelta, ToolCall

from .contents import OWN_ID

if TYPE_CHECKING:
    from google.genai import types

_GOOD = frozenset({"STOP", "MAX_TOKENS"})
_SAFETY = frozenset({"SAFETY", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY", "RECITATION", "LANGUAGE"})


@dataclass(slots=True)
class AnswerReader:
    host: str
    clean: Callable[[str], str]
    signatures: dict[str, bytes] = field(default_factory=dict)
    """by id of a tool call of this answer"""
    finish_reason: str = ""
    _said: bool = False
    _called: bool = False

    def feed(self, chunk: "types.GenerateContentResponse") -> list[TextDelta | ToolCall]:
        """:raises BindingFailed: if the prompt was blocked."""
        feedback = chunk.prompt_feedback
        if feedback is not None and feedback.block_reason is not None:
            said = self.clean(feedback.block_reason_message or _name(feedback.block_reason))
            raise BindingFailed(f"Gemini does not answer this: the prompt was blocked ({said})")
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

    def finish(self, *, may_be_empty: bool) -> None:
        """At the end. :raises BindingFailed: if the answer was blocked, broken, or is empty."""
        reason = self.finish_reason
        if reason in _SAFETY:
            raise BindingFailed(f"Gemini stopped the answer: its safety filter objected ({reason}); see safety")
        if reason in ("MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL"):
            raise BindingFailed("Gemini called a tool in a way that cannot be read", retryable=True)
        if reason not in _GOOD:
            raise BindingFailed(f"Gemini stopped the answer: {reason}", retryable=not self._said)
        if self._said or self._called or may_be_empty:
            return
        if reason == "MAX_TOKENS":
            raise BindingFailed(f"{self.host} used up max_output_tokens before it said a word; raise it")
        raise BindingFailed(f"{self.host} answered with no text", retryable=True)


def _name(reason: Any) -> str:
    return str(getattr(reason, "value", reason))
