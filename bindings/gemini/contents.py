"""Our prompt in the shape of Gemini's API.

Prompt -> system instruction, contents that alternate between user and model, function declarations
"""

import mimetypes
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from greenroom.bindings.chat_format import complete_calls
from greenroom.bindings.wire_text import encodable
from greenroom.values import Image, Message, Prompt, ToolCall

if TYPE_CHECKING:
    from google.genai import types

OWN_ID = "greenroom-"
"""begins the id of a call to which Gemini gave none; such an id is not sent back"""
_BEGIN = "(The conversation begins.)"
_GO_ON = "(Go on.)"
_UNSIGNED = b"skip_thought_signature_validator"
"""Google's own word for a call that has no signature"""
_EARLY = re.compile(r"gemini-[12]\b")
_ANY_IMAGE = "image/jpeg"


def system_text(prompt: Prompt) -> str:
    if prompt.raw is not None:
        return ""
    texts = [prompt.system, *(message.content for message in prompt.messages if message.role == "system")]
    return encodable("\n\n".join(text for text in texts if text.strip()))


def contents(prompt: Prompt, signatures: Mapping[str, bytes], model: str) -> "list[types.Content]":
    """``signatures``: by id of a tool call, what Gemini wants back with it. ``[]`` for an empty prompt.

    A history may hold calls of another model, or of before a restart: those have none, and models from the third
    generation on want to be told so.
    """
    from google.genai import types

    spoken = prompt.messages if prompt.raw is None else (Message("user", prompt.raw),)
    messages = complete_calls(message for message in spoken if message.role != "system")
    unsigned = None if _EARLY.search(model) else _UNSIGNED
    names = {call.id: call.name for message in messages for call in message.tool_calls}
    merged: list[types.Content] = []
    for message in messages:
        parts = _parts(message, names, signatures, unsigned)
        role = "model" if message.role == "assistant" else "user"
        if not parts:
            continue
        if merged and merged[-1].role == role:
            merged[-1].parts += parts
        else:
            merged.append(types.Content(role=role, parts=parts))
    if not merged and (prompt.raw is not None or not prompt.system.strip()):
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


def tool_choice(prompt: Prompt) -> "types.ToolConfig | None":
    from google.genai import types

    if not (prompt.tools and prompt.must_call):
        return None
    calling = types.FunctionCallingConfig(mode=types.FunctionCallingConfigMode.ANY)
    return types.ToolConfig(function_calling_config=calling)


def _parts(
    message: Message, names: Mapping[str, str], signatures: Mapping[str, bytes], unsigned: bytes | None
) -> "list[types.Part]":
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
    signed = [signatures.get(call.id) for call in message.tool_calls]
    if signed and not any(signed):  # of calls at once the first one has it
        signed[0] = unsigned
    return parts + [_call(call, signature) for call, signature in zip(message.tool_calls, signed, strict=True)]


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
