"""A chat request's messages and tools -> the values that backends are asked with.

[{"role": "system", ...}, {"role": "user", "content": [{"type": "text", ...}, {"type": "image_url", ...}]}, ...]
-> Conversation(system, messages)
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from greenroom.bindings.chat_format import read_image_url
from greenroom.doors.openai.failures import bad_field, too_large, unsupported
from greenroom.doors.openai.requests import bounded
from greenroom.errors import BadRequest
from greenroom.values import Image, Message, ToolCall, ToolSpec

_TOOL_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
_MAX_IMAGES = 64
_MAX_ADDRESS = 8192
_ROLES = ("system", "developer", "user", "assistant", "tool")


@dataclass(frozen=True, slots=True)
class Limits:
    text_bytes: int
    image_bytes: int


@dataclass(frozen=True, slots=True)
class Conversation:
    """``system``: the instructions before the first other message; later ones stay where they are."""

    system: str
    messages: tuple[Message, ...]


def conversation(given: Sequence[Any], limits: Limits) -> Conversation:
    """:raises BadRequest, TooLarge: with the place of what is wrong, as ``messages[2].content[0].image_url``."""
    messages = [_message(item, f"messages[{index}]", limits) for index, item in enumerate(given)]
    if sum(len(message.images) for message in messages) > _MAX_IMAGES:
        raise too_large("messages", f"at most {_MAX_IMAGES} pictures are taken")
    begin = next((index for index, message in enumerate(messages) if message.role != "system"), len(messages))
    system = "\n\n".join(message.content for message in messages[:begin] if message.content)
    return Conversation(system, tuple(messages[begin:]))


def _message(item: Any, place: str, limits: Limits) -> Message:
    if not isinstance(item, Mapping):
        raise bad_field(place, "wanted an object with role and content")
    role = item.get("role")
    if role not in _ROLES:
        raise bad_field(f"{place}.role", f"wanted one of {', '.join(_ROLES)}")
    name = item.get("name")
    if name is not None and not isinstance(name, str):
        raise bad_field(f"{place}.name", "wanted a text")
    calls = _calls(item.get("tool_calls"), f"{place}.tool_calls") if role == "assistant" else ()
    text, images = _content(item.get("content"), f"{place}.content", limits, role, optional=bool(calls))
    call_id = item.get("tool_call_id")
    if role == "tool" and (not isinstance(call_id, str) or not call_id):
        raise bad_field(f"{place}.tool_call_id", "wanted the id of the call that this answers")
    return Message(
        role="system" if role == "developer" else role,
        content=text,
        name=bounded(f"{place}.name", name or "", 1024),
        tool_call_id=call_id if role == "tool" and isinstance(call_id, str) else "",
        tool_calls=calls,
        images=images,
    )


def _content(content: Any, place: str, limits: Limits, role: str, *, optional: bool) -> tuple[str, tuple[Image, ...]]:
    if isinstance(content, str):
        return bounded(place, content, limits.text_bytes), ()
    if content is None and (optional or role == "assistant"):
        return "", ()
    if not isinstance(content, list):
        raise bad_field(place, "wanted a text or a list of parts")
    texts: list[str] = []
    images: list[Image] = []
    for index, part in enumerate(content):
        where = f"{place}[{index}]"
        kind = part.get("type") if isinstance(part, Mapping) else None
        match kind:
            case "text" | "refusal":
                text = part.get(kind)
                if not isinstance(text, str):
                    raise bad_field(f"{where}.{kind}", "wanted a text")
                texts.append(text)
            case "image_url" if role == "user":
                images.append(_image(part.get("image_url"), f"{where}.image_url", limits.image_bytes))
            case "input_audio" | "file" | "image_url":
                raise unsupported(f"{where}.type", f"{kind} is not taken in a message of the role {role}")
            case _:
                raise bad_field(f"{where}.type", "wanted text or image_url")
    return bounded(place, "\n".join(texts), limits.text_bytes), tuple(images)


def _image(given: Any, place: str, limit: int) -> Image:
    url = given.get("url") if isinstance(given, Mapping) else given
    if not isinstance(url, str):
        raise bad_field(f"{place}.url", "wanted a text")
    if len(url) * 3 // 4 > limit:
        raise too_large(f"{place}.url", f"a picture may have {limit} bytes")
    try:
        image = read_image_url(url)
    except BadRequest as error:
        raise bad_field(f"{place}.url", error.message) from None
    if len(image.url) > _MAX_ADDRESS:
        raise too_large(f"{place}.url", f"an address may have {_MAX_ADDRESS} characters")
    return image


def _calls(given: Any, place: str) -> tuple[ToolCall, ...]:
    if given is None:
        return ()
    if not isinstance(given, list):
        raise bad_field(place, "wanted a list")
    calls = []
    for index, item in enumerate(given):
        where = f"{place}[{index}]"
        function = item.get("function") if isinstance(item, Mapping) else None
        if not isinstance(function, Mapping) or not isinstance(item.get("id"), str):
            raise bad_field(where, "wanted an object with id and function")
        name, text = function.get("name"), function.get("arguments")
        if not isinstance(name, str) or not name:
            raise bad_field(f"{where}.function.name", "wanted a text")
        try:
            arguments = json.loads(text or "{}") if isinstance(text, str) else text
        except (ValueError, RecursionError):
            arguments = None
        if not isinstance(arguments, Mapping):
            raise bad_field(f"{where}.function.arguments", "wanted a JSON object as text")
        calls.append(ToolCall(item["id"], name, dict(arguments)))
    return tuple(calls)


@dataclass(frozen=True, slots=True)
class Tools:
    specs: tuple[ToolSpec, ...] = ()
    must_call: bool = False


def tools_of(given: Sequence[Any] | None, choice: Any) -> Tools:
    """:raises BadRequest: for a tool without name, or a choice of one that is not there."""
    specs = tuple(_tool(item, f"tools[{index}]") for index, item in enumerate(given or ()))
    if choice in (None, "auto"):
        return Tools(specs)
    if choice == "none":
        return Tools()
    if choice == "required":
        if not specs:
            raise bad_field("tool_choice", "there are no tools to choose from")
        return Tools(specs, must_call=True)
    function = choice.get("function") if isinstance(choice, Mapping) else None
    wanted = function.get("name") if isinstance(function, Mapping) else None
    if not isinstance(wanted, str):
        raise bad_field("tool_choice", 'wanted none, auto, required or {"type": "function", "function": {"name": ...}}')
    chosen = tuple(spec for spec in specs if spec.name == wanted)
    if not chosen:
        raise bad_field("tool_choice", "names a tool that is not among tools")
    return Tools(chosen, must_call=True)


def _tool(item: Any, place: str) -> ToolSpec:
    function = item.get("function") if isinstance(item, Mapping) else None
    if not isinstance(function, Mapping):
        raise bad_field(place, 'wanted {"type": "function", "function": {...}}')
    name, parameters = function.get("name"), function.get("parameters")
    if not isinstance(name, str) or not _TOOL_NAME.fullmatch(name):
        raise bad_field(f"{place}.function.name", "wanted 1 to 128 letters, digits, _ or -")
    description = function.get("description")
    if description is not None and not isinstance(description, str):
        raise bad_field(f"{place}.function.description", "wanted a text")
    if parameters is None:
        parameters = {"type": "object", "properties": {}}
    if not isinstance(parameters, Mapping):
        raise bad_field(f"{place}.function.parameters", "wanted a JSON schema")
    return ToolSpec(name, description or "", dict(parameters))
