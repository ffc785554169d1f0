"""The chat format that OpenAI's API and its many imitators share: our values out as JSON-ready dictionaries, a streamed
answer's chunks back in as our values.

    Prompt                  -> messages, tools
    address of an image     -> Image
    chunk, chunk, ... , end -> TextDelta, ... , ToolCall, ... , Ended
"""

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from greenroom.errors import BadRequest, BindingFailed
from greenroom.values import Ended, FinishReason, Image, Message, Prompt, TextDelta, ToolCall

IMAGE_TYPES = ("image/png", "image/jpeg", "image/webp", "image/gif")
"""what every service that sees takes"""
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+);base64,", re.IGNORECASE)
_NO_RESULT = "(no result)"
_THOUGHT_KEYS = ("reasoning_content", "reasoning")
_REASONS = {
    "stop": FinishReason.STOP,
    "eos": FinishReason.STOP,
    "eos_token": FinishReason.STOP,
    "stop_sequence": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "max_tokens": FinishReason.LENGTH,
    "tool_calls": FinishReason.TOOL_CALLS,
    "function_call": FinishReason.TOOL_CALLS,
    "content_filter": FinishReason.CONTENT_FILTER,
}


def chat_messages(prompt: Prompt, *, sees: bool = False) -> list[dict[str, Any]]:
    """The system text first, so that prefix caches hit; a raw prompt stands as one user message.

    ``sees``: the backend takes images, as data or by address. Without, those of earlier messages are left out, so that
    a conversation may go on with another model. :raises BadRequest: if the question itself shows one.
    """
    if prompt.raw is not None:
        return [{"role": "user", "content": prompt.raw}]
    if not sees:
        refuse_images(prompt)
    messages = [_message(message, sees) for message in complete_calls(prompt.messages)]
    if prompt.system:
        messages.insert(0, {"role": "system", "content": prompt.system})
    return messages


def complete_calls(messages: Iterable[Message]) -> list[Message]:
    """A history as every service insists on it, whoever wrote or cut it: after the calls of a message come their
    results, one for each and in the calls' order. What answers no call is left out, what was never answered says so."""
    made: list[Message] = []
    after: list[Message] = []
    calls: tuple[ToolCall, ...] = ()
    results: dict[str, Message] = {}

    def settle() -> None:
        made.extend(results.get(call.id, Message("tool", _NO_RESULT, tool_call_id=call.id)) for call in calls)
        made.extend(after)
        after.clear()
        results.clear()

    for message in messages:
        if message.role == "assistant":
            settle()
            made.append(message)
            calls = message.tool_calls
        elif message.role == "tool":
            results.setdefault(message.tool_call_id, message)
        else:
            after.append(message)
    settle()
    return made


def refuse_images(prompt: Prompt) -> None:
    """For a model that cannot see. :raises BadRequest: if the last thing that a user said shows an image."""
    asked = next((message for message in reversed(prompt.messages) if message.role == "user"), None)
    if asked is not None and asked.images:
        raise BadRequest("this model cannot see images: send text alone, or choose a model with vision")


def _message(message: Message, sees: bool) -> dict[str, Any]:
    made: dict[str, Any] = {"role": message.role, "content": message.content}
    if sees and message.images and message.role == "user":  # nobody else may show any
        text = [{"type": "text", "text": message.content}] if message.content else []
        shown = [{"type": "image_url", "image_url": {"url": image_url(image)}} for image in message.images]
        made["content"] = [*text, *shown]
    if message.role == "tool":
        made["tool_call_id"] = message.tool_call_id
    elif _NAME.fullmatch(message.name):
        made["name"] = message.name
    if message.tool_calls:
        made["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": json.dumps(dict(call.arguments), ensure_ascii=False)},
            }
            for call in message.tool_calls
        ]
    return made


def image_url(image: Image) -> str:
    """Its address; one that holds the image itself (``data:image/png;base64,...``) where there are bytes."""
    if not image.data:
        return image.url
    return f"data:{image.media_type};base64,{base64.b64encode(image.data).decode()}"


def read_image_url(url: str) -> Image:
    """What a client names as an image: an http address, or a data URL. :raises BadRequest: for anything else."""
    head = _DATA_URL.match(url)
    if head is not None:
        media_type = head[1].lower()
        if media_type not in IMAGE_TYPES:
            raise BadRequest(f"an image of the type {media_type} is not understood; known: {', '.join(IMAGE_TYPES)}")
        try:
            data = base64.b64decode(url[head.end() :], validate=True)
        except binascii.Error:
            raise BadRequest("the image's data URL holds no base64") from None
        if not data:
            raise BadRequest("the image's data URL is empty")
        return Image(media_type, data)
    if url[:8].lower().startswith(("http://", "https://")):
        return Image(url=url)
    raise BadRequest("an image is wanted as a data URL (data:image/png;base64,...) or by its http address")


def tool_schemas(prompt: Prompt) -> list[dict[str, Any]]:
    return [
        {
            "type": "function",
            "function": {
                "name": tool.name,
                "description": tool.description,
                "parameters": object_schema(tool.parameters),
            },
        }
        for tool in prompt.tools
    ]


def object_schema(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON schema of a tool's arguments, with what services miss in that of one that takes none."""
    return {"type": "object", "properties": {}} | dict(parameters)


def answer_form(prompt: Prompt) -> dict[str, Any]:
    """The members of a chat request that bind the answer: ``tool_choice``, ``response_format``."""
    members: dict[str, Any] = {}
    if prompt.tools and prompt.must_call:
        members["tool_choice"] = "required"
    if prompt.response_format is not None:
        members["response_format"] = dict(prompt.response_format)
    return members


def error_message(error: Any) -> str:
    """The sentence inside an error object, whichever of the known shapes it has; empty if there is none."""
    if isinstance(error, Mapping):
        for key in ("message", "error", "detail", "msg"):
            if error.get(key):
                return error_message(error[key])
        return ""
    if isinstance(error, list):
        return "; ".join(filter(None, map(error_message, error)))
    return str(error) if error else ""


def token_count(value: Any) -> int | None:
    """A number of tokens as a server tells it; ``None`` for what is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


@dataclass(slots=True)
class _CallParts:
    """A tool call as its deltas come."""

    id: str = ""
    name: str = ""
    text: list[str] = field(default_factory=list)
    given: Mapping[str, Any] | None = None
    """arguments that came as an object, not as text"""


@dataclass(slots=True)
class AnswerReader:
    """Reads one answer, chunk by chunk, streamed or whole. ``backend`` names the speaker in error messages, ``clean``
    makes what it says fit for showing."""

    backend: str
    clean: Callable[[str], str] = str
    finish_reason: str = ""
    usage: dict[str, Any] = field(default_factory=dict)
    """as the server counts, in its own form"""
    _said: bool = False
    _calls: dict[Any, _CallParts] = field(default_factory=dict)

    def feed(self, chunk: Any) -> list[TextDelta]:
        """:raises BindingFailed: for an error object, or for what is no chunk of an answer."""
        if not isinstance(chunk, dict):
            raise BindingFailed(f"{self.backend} sent something that is no part of an answer")
        if chunk.get("error"):
            reason = self.clean(error_message(chunk["error"])) or "no reason given"
            raise BindingFailed(f"{self.backend} failed while answering: {reason}", retryable=True)
        usage = chunk.get("usage")
        if usage and isinstance(usage, dict):  # some count on in every chunk
            self.usage = usage
        choices = chunk.get("choices")
        if not choices:  # usage, prompt progress, content filter results
            return []
        choice = choices[0] if isinstance(choices, list) else None
        if not isinstance(choice, dict):
            raise BindingFailed(f"{self.backend} sent something that is no part of an answer")
        if choice.get("finish_reason"):
            self.finish_reason = str(choice["finish_reason"])
        delta = choice.get("delta") or choice.get("message") or choice
        return self._texts(delta) if isinstance(delta, dict) else []

    def _texts(self, delta: dict[str, Any]) -> list[TextDelta]:
        made: list[TextDelta] = []
        for key in _THOUGHT_KEYS:
            thought = delta.get(key)
            if thought and isinstance(thought, str):
                made.append(TextDelta(thought, thought=True))
                break
        content = delta.get("content") or delta.get("refusal") or delta.get("text")
        if isinstance(content, str):
            self._said = True
            made.append(TextDelta(content))
        elif content:
            made += [TextDelta(text, is_thought) for text, is_thought in _parts(content) if text]
            self._said = self._said or not all(part.thought for part in made)
        for call in delta.get("tool_calls") or ():
            if isinstance(call, dict):
                self._add_call(call)
        return made

    def _add_call(self, part: Mapping[str, Any]) -> None:
        key = part.get("index")
        if (
            key is None
        ):  # some servers number nothing: an id that is new begins a call, anything else continues the last
            begins = not self._calls or (part.get("id") and part["id"] != list(self._calls.values())[-1].id)
            key = len(self._calls) if begins else list(self._calls)[-1]
        call = self._calls.setdefault(key, _CallParts())
        function = part.get("function")
        if not isinstance(function, Mapping):
            function = {}
        call.id = call.id or str(part.get("id") or "")
        call.name = call.name or str(function.get("name") or "")
        arguments = function.get("arguments")
        if isinstance(arguments, str):
            call.text.append(arguments)
        elif isinstance(arguments, Mapping):
            call.given = arguments

    def finish(self, *, may_be_empty: bool = False) -> Iterator[ToolCall | Ended]:
        """What is left at the end. :raises BindingFailed: if the answer is empty, withheld, or a call unreadable."""
        ended = self._ended()
        if ended.reason is FinishReason.CONTENT_FILTER:
            yield ended
            raise BindingFailed(f"{self.backend} stopped the answer: its content filter objected")
        yield from [self._call(number, call) for number, call in enumerate(self._calls.values())]
        if not self._calls and not self._said and not may_be_empty:
            if ended.reason is FinishReason.LENGTH:
                yield ended
                raise BindingFailed(f"{self.backend} used up max_tokens before it said a word; raise max_tokens")
            raise BindingFailed(f"{self.backend} answered with no text", retryable=True)
        if ended != Ended():
            yield ended

    def _ended(self) -> Ended:
        """A count of 0 is that of a server that does not count."""
        usage = self.usage
        asked, answered = usage.get("prompt_tokens_details"), usage.get("completion_tokens_details")
        return Ended(
            _REASONS.get(self.finish_reason.lower()),
            token_count(usage.get("prompt_tokens")) or None,
            token_count(usage.get("completion_tokens")) or None,
            token_count(asked.get("cached_tokens")) if isinstance(asked, Mapping) else None,
            token_count(answered.get("reasoning_tokens")) if isinstance(answered, Mapping) else None,
        )

    def _call(self, number: int, call: _CallParts) -> ToolCall:
        arguments: Any = call.given
        if arguments is None:
            try:
                arguments = json.loads("".join(call.text).strip() or "{}")
            except ValueError:
                arguments = None
        if not call.name or not isinstance(arguments, Mapping):
            raise BindingFailed(
                f"{self.backend} called the tool {call.name or '(no name)'} with arguments that are no JSON object",
                retryable=True,
            )
        return ToolCall(call.id or f"call_{number}", call.name, dict(arguments))


def _parts(content: Any) -> Iterator[tuple[str, bool]]:
    """-> (text, is a thought) of a content that is a text or a list of typed parts."""
    if isinstance(content, str):
        yield content, False
    elif isinstance(content, list):
        for part in content:
            if isinstance(part, Mapping):
                thought = part.get("type") == "thinking"
                inner = part.get("thinking") if thought else part.get("text")
                for text, _ in _parts(inner):
                    yield text, thought
