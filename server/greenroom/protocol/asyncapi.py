"""The protocol as JSON schemas, and as an AsyncAPI 3 document, made from the types."""

import ast
import inspect
import textwrap
from collections.abc import Mapping
from dataclasses import MISSING, fields
from itertools import pairwise
from typing import Any, Final

import yaml
from pydantic import BaseModel, TypeAdapter

from greenroom import errors
from greenroom.errors import GreenroomError
from greenroom.protocol import PROTOCOL_VERSION
from greenroom.protocol.commands import COMMANDS, CONTEXT_KINDS, Command, ContextAdd
from greenroom.protocol.connect import ConnectAuth
from greenroom.protocol.events import (
    Busy,
    Buzzy,
    Closing,
    Event,
    GenerationCanceled,
    InstallProgress,
    PromptBuilt,
    SessionJoined,
    all_events,
)

Schema = dict[str, Any]

_REFERENCE: Final = "#/components/schemas/{model}"
_CONNECTION_EVENTS: Final[tuple[type[Event], ...]] = (SessionJoined, Closing)
_PRIVATE_EVENTS: Final[tuple[type[Event], ...]] = (Busy, Buzzy, GenerationCanceled, InstallProgress, PromptBuilt)
_SESSION_ENVELOPE: Final[Mapping[str, Schema]] = {
    "session": {"type": "string"},
    "seq": {"type": "integer", "description": "counts up by one for each event of the session"},
}
_PRIVATE_ENVELOPE: Final[Mapping[str, Schema]] = {
    "request_id": {"type": "string"},
    "n": {"type": "integer", "description": "counts up by one for each event of the request"},
}
ABOUT: Final = (
    "Events between clients and a Greenroom server over Socket.IO (protocol version 4 of engine.io, namespace `/`, "
    "path `/socket.io/`). Every event that a client sends is acknowledged exactly once."
)


def command_types(event: str) -> tuple[type[Command], ...]:
    """The forms of one event."""
    command = COMMANDS[event]
    return tuple(CONTEXT_KINDS.values()) if command is ContextAdd else (command,)


def doc(kind: type) -> str:
    """The class's own docstring on one line; a base's says nothing of it."""
    return " ".join((kind.__dict__.get("__doc__") or "").replace("``", "`").split())


def _attribute_docs(kind: type) -> Mapping[str, str]:
    """The strings that stand under a class's fields."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    found: dict[str, str] = {}
    body = tree.body if isinstance(tree, ast.ClassDef) else []
    for before, after in pairwise(body):
        match before, after:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                found[name] = " ".join(text.split())
    return found


def _own_schema(schema: Schema, shared: dict[str, Schema]) -> Schema:
    """Without pydantic's titles; definitions go to ``shared``."""
    for name, definition in schema.pop("$defs", {}).items():
        shared[name] = _own_schema(definition, shared)
    return _untitled(schema)


def _untitled(schema: Schema) -> Schema:
    clean: Schema = {}
    for key, value in schema.items():
        if key == "title" and isinstance(value, str):
            continue
        if key == "properties":
            clean[key] = {name: _untitled(item) for name, item in value.items()}
        elif isinstance(value, dict):
            clean[key] = _untitled(value)
        elif isinstance(value, list):
            clean[key] = [_untitled(item) if isinstance(item, dict) else item for item in value]
        else:
            clean[key] = value
    return clean


def model_schema(model: type[BaseModel], shared: dict[str, Schema]) -> Schema:
    schema = _own_schema(model.model_json_schema(ref_template=_REFERENCE), shared)
    schema.pop("description", None)
    return schema


def event_schema(event: type[Event], shared: dict[str, Schema]) -> Schema:
    schema = _own_schema(TypeAdapter(event).json_schema(ref_template=_REFERENCE, mode="serialization"), shared)
    properties = schema.get("properties", {})
    properties.pop("extras", None)
    for name, text in _attribute_docs(event).items():
        if name in properties:
            properties[name] = {**properties[name], "description": text}
    envelope = envelope_of(event)
    required = [item.name for item in fields(event) if item.default is MISSING and item.default_factory is MISSING]
    return {
        "type": "object",
        "properties": {**envelope, **properties},
        "required": [*envelope, *required],
    }


def envelope_of(event: type[Event]) -> Mapping[str, Schema]:
    if issubclass(event, _CONNECTION_EVENTS):
        return {}
    return _PRIVATE_ENVELOPE if issubclass(event, _PRIVATE_EVENTS) else _SESSION_ENVELOPE


def reply_events() -> dict[str, list[str]]:
    """lollms' reply events, each with the commands that it answers."""
    found: dict[str, list[str]] = {}
    for event, command in COMMANDS.items():
        if command.reply_event:
            found.setdefault(command.reply_event, []).append(event)
    return found


def error_codes() -> list[type[GreenroomError]]:
    found = (kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, GreenroomError))
    return [kind for kind in found if kind is not GreenroomError]


def asyncapi() -> dict[str, Any]:
    shared: dict[str, Schema] = {"Failure": _failure_schema()}
    messages: dict[str, dict[str, Any]] = {}
    operations: dict[str, dict[str, Any]] = {}
    for event in COMMANDS:
        forms = [model_schema(form, shared) for form in command_types(event)]
        name = f"command.{event}"
        messages[name] = _message(
            event, doc(COMMANDS[event]), forms[0] if len(forms) == 1 else {"oneOf": forms, "type": "object"}
        )
        operations[name] = {**_operation("receive", name), "reply": {"messages": [_to_message("acknowledgement")]}}
    messages["acknowledgement"] = _message("acknowledgement", "The answer to an event.", _answer_schema())
    for name, answered in sorted(reply_events().items()):
        if name in all_events():
            continue
        key = f"reply.{name}"
        messages[key] = _message(name, f"What {', '.join(answered)} was acknowledged with.", _answer_schema())
        operations[key] = _operation("send", key)
    for name, kind in all_events().items():
        key = f"event.{name}"
        messages[key] = _message(name, doc(kind), event_schema(kind, shared))
        operations[key] = _operation("send", key)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Greenroom",
            "version": f"{PROTOCOL_VERSION}.0.0",
            "description": ABOUT,
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "local": {"host": "127.0.0.1:9601", "pathname": "/socket.io/", "protocol": "ws", "description": "Socket.IO"}
        },
        "channels": {
            "root": {
                "address": "/",
                "description": "The namespace in which everything happens.",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
            }
        },
        "operations": operations,
        "components": {
            "messages": messages,
            "schemas": {"ConnectAuth": model_schema(ConnectAuth, shared), **shared},
        },
    }


def _message(name: str, summary: str, payload: Schema) -> dict[str, Any]:
    return {"name": name, **({"summary": summary} if summary else {}), "payload": payload}


def _to_message(name: str) -> dict[str, str]:
    return {"$ref": f"#/channels/root/messages/{name}"}


def _operation(action: str, message: str) -> dict[str, Any]:
    return {"action": action, "channel": {"$ref": "#/channels/root"}, "messages": [_to_message(message)]}


def _failure_schema() -> Schema:
    return {
        "type": "object",
        "properties": {
            "success": {"const": False},
            "error": {"type": "string", "description": "a sentence for a person"},
            "code": {"enum": [kind.code for kind in error_codes()]},
            "details": {"type": "object"},
        },
        "required": ["success", "error", "code"],
    }


def _answer_schema() -> Schema:
    done = {"type": "object", "properties": {"success": {"const": True}}, "required": ["success"]}
    return {"oneOf": [done, {"$ref": _REFERENCE.format(model="Failure")}]}


def render_asyncapi() -> str:
    head = "# Made by `python -m greenroom.protocol.reference docs`: change the types, not this file.\n"
    return head + yaml.safe_dump(asyncapi(), sort_keys=False, allow_unicode=True, width=110)
