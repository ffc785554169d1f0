"""What OpenAI's own server refuses of a chat request, in its words.

request -> the error's message and parameter, or None
"""

from collections.abc import Sequence
from typing import Any

REASONING = "strict-reasoning"
"""a model that takes what OpenAI's reasoning models take"""
_RESPONSES = "To use function tools, use /v1/responses or set reasoning_effort to 'none'."
_FIXED = ("temperature", "top_p", "presence_penalty", "frequency_penalty", "stop")


def problem(body: dict[str, Any]) -> tuple[str, str] | None:
    return _history(body.get("messages") or ()) or _tools(body.get("tools") or ()) or _reasoning(body)


def _history(messages: Sequence[dict[str, Any]]) -> tuple[str, str] | None:
    owed: list[str] = []
    for at, message in enumerate(messages):
        if message["role"] == "tool":
            if message["tool_call_id"] not in owed:
                said = "messages with role 'tool' must be a response to a preceeding message with 'tool_calls'."
                return f"Invalid parameter: {said}", f"messages.[{at}].role"
            owed.remove(message["tool_call_id"])
            continue
        if owed:
            break
        owed = [call["id"] for call in message.get("tool_calls", ())]
        content = message.get("content")
        shows = isinstance(content, list) and any(part["type"] == "image_url" for part in content)
        if shows and message["role"] != "user":
            said = "Image URLs are only allowed for messages with role 'user'"
            return f"Invalid 'messages[{at}]'. {said}", f"messages[{at}]"
    if not owed:
        return None
    said = "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'."
    return f"{said} The following tool_call_ids did not have response messages: {', '.join(owed)}", "messages"


def _tools(tools: Sequence[dict[str, Any]]) -> tuple[str, str] | None:
    for at, tool in enumerate(tools):
        function = tool["function"]
        if "properties" not in function["parameters"]:
            said = "In context=(), object schema missing properties."
            return f"Invalid schema for function '{function['name']}': {said}", f"tools[{at}].function.parameters"
    return None


def _reasoning(body: dict[str, Any]) -> tuple[str, str] | None:
    if body.get("model") != REASONING:
        return None
    if body.get("tools") and body.get("reasoning_effort") != "none":
        where = f"not supported for {REASONING} in /v1/chat/completions"
        return f"Function tools with reasoning_effort are {where}. {_RESPONSES}", "reasoning_effort"
    if "max_tokens" in body:
        said = "'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
        return f"Unsupported parameter: {said}", "max_tokens"
    for name in _FIXED:
        if name in body and body[name] != 1:
            said = f"'{name}' does not support {body[name]} with this model. Only the default (1) value is supported."
            return f"Unsupported value: {said}", name
    return None
