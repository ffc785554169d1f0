"""Our prompt in the shape of Gemini's API.

Prompt -> system instruction, contents that alternate between user and model, function declarations
"""

import mimetypes
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from greenroom.bindings.wire_text import encodable
from greenroom.values import Image, Message, Prompt, ToolCall

if TYPE_CHECKING:
    from google.genai import types

OWN_ID = "greenroom-"
"""begins the id of a call to which Gemini gave none; such an id is not sent back"""
_BEGIN = "(The conversation begins.)"
_GO_ON = "(Go on.)"
_ANY_IMAGE = "image/jpeg"


def system_text(prompt: Prompt) -> str:
    if prompt.raw is not None:
        return ""
    texts = [prompt.system, *(message.content for message in prompt.messages if message.role == "system")]
    return encodable("\n\n".join(text for text in texts if text.strip()))


def contents(prompt: Prompt, signatures: Mapping[str, bytes]) -> "list[types.Content]":
    """``signatures``: by id of a tool call, what Gemini wants back with it. ``[]`` for an empty prompt."""
    from google.genai import types

    messages = prompt.messages if prompt.raw is None else (Message("user", prompt.raw),)
    names = {call.id: call.name for message in messages for call in message.tool_calls}
    merged: list[types.Content] = []
    for message in messages:
        parts = _parts(message, names, signatures)
        role = "model" if message.role == "assistant" else "user"
        if message.role == "system" or not parts:
            continue
        if merged and merged[-1].role == role:
            merged[-1].parts += parts
        else:
            merged.append(types.Content(role=role, parts=parts))
    if not merged and not prompt.system.strip():
        return []
    if not merged or merged[0].role == "model":
        merged.insert(0, types.Content(role="user", parts=[types.Part(text=_BEGIN)]))
    if merged[-1].role == "model":
        merged.append(types.Content(role="user", parts=[types.Part(text=_GO_ON)]))
    return merged


def tools(prompt: Prompt) -> "list[types.Tool] | None":
    from google.genai import types

    if not prompt.tools:
        return None
    declarations = [
        types.FunctionDeclaration(
            name=tool.name, description=tool.description, parameters_json_schema=dict(tool.parameters) or None
        )
        for tool in prompt.tools
    ]
    return [types.Tool(function_declarations=declarations)]


def _parts(message: Message, names: Mapping[str, str], signatures: Mapping[str, bytes]) -> "list[types.Part]":
    from google.genai import types

    if message.role == "tool":
        answer = types.FunctionResponse(
            id=_api_id(message.tool_call_id),
            name=message.name or names.get(message.tool_call_id, message.tool_call_id),
            response={"result": encodable(message.content)},
        )
        return [types.Part(function_response=answer), *(_image(image) for image in message.images)]
    parts = [_image(image) for image in message.images]
    if message.content.strip():
        parts.append(types.Part(text=encodable(message.content)))
    return parts + [_call(call, signatures.get(call.id)) for call in message.tool_calls]


def _call(call: ToolCall, signature: bytes | None) -> "types.Part":
    from google.genai import types

    wanted = types.FunctionCall(id=_api_id(call.id), name=call.name, args=dict(call.arguments))
    return types.Part(function_call=wanted, thought_signature=signature)


def _api_id(call_id: str) -> str | None:
    return None if call_id.startswith(OWN_ID) else call_id or None


def _image(image: Image) -> "types.Part":
    from google.genai import types

    if image.data:
        return types.Part.from_bytes(data=image.data, mime_type=image.media_type)
    kind = image.media_type or mimetypes.guess_type(urlsplit(image.url).path)[0] or _ANY_IMAGE
    return types.Part.from_uri(file_uri=image.url, mime_type=kind)
