"""Our prompt in the shape of Anthropic's Messages API.

Prompt -> system blocks, messages that alternate between user and assistant, tools
"""

import base64
import re
from collections.abc import Mapping, Sequence
from typing import Any

from greenroom.bindings.chat_format import complete_calls, object_schema
from greenroom.bindings.wire_text import encodable
from greenroom.errors import BadRequest
from greenroom.values import Image, Message, Prompt

Block = dict[str, Any]
_BEGIN = "(The conversation begins.)"
_GO_ON = "(Go on.)"
_NO_ID = re.compile(r"[^A-Za-z0-9_-]")
_CACHED = {"type": "ephemeral"}


def system_blocks(prompt: Prompt, *, cached: bool) -> list[Block]:
    """The character's text, which stays the same from turn to turn, is marked as what to cache; the rest follows."""
    if prompt.raw is not None:
        return []
    later = [message.content for message in prompt.messages if message.role == "system"]
    blocks = [_text(text) for text in (prompt.system, "\n\n".join(later)) if text.strip()]
    if cached and prompt.system.strip():
        blocks[0]["cache_control"] = _CACHED
    return blocks


def api_messages(prompt: Prompt, thoughts: Mapping[str, Sequence[Block]], *, cached: bool) -> list[dict[str, Any]]:
    """``thoughts``: by id of a tool call, the thinking that led to it, which has to go back with it.

    It begins and ends with the user, as the API wants. ``[]`` for an empty prompt.
    """
    if prompt.raw is not None:
        turns = [("user", [_text(prompt.raw)] if prompt.raw.strip() else [])]
    else:
        said = [message for message in prompt.messages if message.role != "system"]
        turns = [_turn(message, thoughts) for message in complete_calls(said)]
    merged: list[dict[str, Any]] = []
    for role, blocks in turns:
        if not blocks:
            continue
        if merged and merged[-1]["role"] == role:
            merged[-1]["content"] += blocks
        else:
            merged.append({"role": role, "content": blocks})
    if not merged and (prompt.raw is not None or not prompt.system.strip()):
        return []
    if not merged or merged[0]["role"] == "assistant":
        merged.insert(0, {"role": "user", "content": [_text(_BEGIN)]})
    if merged[-1]["role"] == "assistant":
        merged.append({"role": "user", "content": [_text(_GO_ON)]})
    if cached:
        merged[-1]["content"][-1]["cache_control"] = _CACHED
    return merged


def api_tools(prompt: Prompt) -> list[dict[str, Any]]:
    return [
        {
            "name": tool.name,
            "description": tool.description,
            "input_schema": object_schema(tool.parameters),
        }
        for tool in prompt.tools
    ]


def output_format(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """OpenAI's ``response_format`` as ``output_config.format``. :raises BadRequest: for one without a schema."""
    described = wanted.get("json_schema")
    schema = described.get("schema") if isinstance(described, Mapping) else None
    if wanted.get("type") != "json_schema" or not isinstance(schema, Mapping):
        raise BadRequest("Claude keeps to a format only by its schema: send one as json_schema")
    return {"type": "json_schema", "schema": dict(schema)}


def _turn(message: Message, thoughts: Mapping[str, Sequence[Block]]) -> tuple[str, list[Block]]:
    if message.role == "tool":
        content: Any = encodable(message.content) or "(nothing)"
        if message.images:
            content = [_text(content), *(_image(image) for image in message.images)]
        return "user", [{"type": "tool_result", "tool_use_id": _id(message.tool_call_id), "content": content}]
    blocks = [_image(image) for image in message.images]
    if message.content.strip():
        blocks.append(_text(message.content))
    if message.role != "assistant":
        return "user", blocks
    for call in message.tool_calls:
        blocks.append({"type": "tool_use", "id": _id(call.id), "name": call.name, "input": dict(call.arguments)})
    kept = next((thoughts[call.id] for call in message.tool_calls if call.id in thoughts), ())
    return "assistant", [*(dict(block) for block in kept), *blocks]


def _id(call_id: str) -> str:
    """Other services' ids have signs in them that this one does not take."""
    return _NO_ID.sub("_", call_id)


def _text(text: str) -> Block:
    return {"type": "text", "text": encodable(text)}


def _image(image: Image) -> Block:
    if not image.data:
        return {"type": "image", "source": {"type": "url", "url": image.url}}
    data = base64.b64encode(image.data).decode()
    return {"type": "image", "source": {"type": "base64", "media_type": image.media_type, "data": data}}
