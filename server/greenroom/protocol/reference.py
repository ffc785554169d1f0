"""The protocol reference, made from the types: an AsyncAPI 3 document and a page to read.

``python -m greenroom.protocol.reference docs`` writes ``asyncapi.yaml`` and ``protocol.md``; a test fails when they are
not what the types say.
"""

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from greenroom import __version__
from greenroom.protocol import PROTOCOL_VERSION
from greenroom.protocol.asyncapi import (
    ABOUT,
    Schema,
    command_types,
    doc,
    error_codes,
    event_schema,
    model_schema,
    render_asyncapi,
    reply_events,
)
from greenroom.protocol.commands import COMMANDS, Reach
from greenroom.protocol.connect import ConnectAuth
from greenroom.protocol.events import Event, all_events
from greenroom.protocol.fields import MAX_AUDIO_BYTES, MAX_TEXT_CHARS


def type_text(schema: Schema, shared: Mapping[str, Schema]) -> str:
    """A JSON schema in a few words."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        target = shared.get(name, {})
        return type_text(target, shared) if "enum" in target else name
    if "const" in schema:
        return f"`{_literal(schema['const'])}`"
    if "enum" in schema:
        return " or ".join(f"`{_literal(item)}`" for item in schema["enum"])
    alternatives: list[Schema] = schema.get("anyOf") or schema.get("oneOf") or []
    choices = [item for item in alternatives if item.get("type") != "null"]
    if choices:
        return " or ".join(dict.fromkeys(type_text(item, shared) for item in choices))
    kind = schema.get("type")
    if schema.get("format") == "binary":
        return "binary"
    if kind == "array":
        return f"list of {type_text(schema.get('items', {}), shared)}{_bounds(schema, 'minItems', 'maxItems')}"
    if kind in ("integer", "number"):
        return f"{kind}{_bounds(schema, 'minimum', 'maximum')}"
    if kind == "string":
        return f"string{_bounds(schema, 'minLength', 'maxLength', ' characters')}"
    return str(kind or "any")


def _literal(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _bounds(schema: Schema, low: str, high: str, unit: str = "") -> str:
    least, most = schema.get(low), schema.get(high)
    if least is None and most is None:
        return ""
    if most is None:
        return " (not empty)" if unit and least == 1 else f" (at least {least}{unit})"
    return f" (at most {most}{unit})" if least is None else f" ({least} to {most}{unit})"


def _field_rows(schema: Schema, shared: Mapping[str, Schema]) -> Iterable[str]:
    required = schema.get("required", [])
    for name, item in schema.get("properties", {}).items():
        if name == "command_id":
            continue  # every command has it
        choices = [item, *item.get("anyOf", [])]
        text = next((str(each["description"]) for each in choices if "description" in each), "")
        default = item.get("default")
        if name in required:
            note = "required"
        elif default in (None, "", {}):
            note = "optional"
        else:
            note = f"default `{_literal(default)}`"
        yield f"| `{name}` | {type_text(item, shared)} | {note} | {text} |"


def _table(schema: Schema, shared: Mapping[str, Schema]) -> list[str]:
    rows = list(_field_rows(schema, shared))
    return ["| member | type | | meaning |", "|---|---|---|---|", *rows, ""] if rows else ["No members.", ""]


def _command_section(event: str, shared: dict[str, Schema]) -> list[str]:
    command = COMMANDS[event]
    facts = [f"role {command.access}", str(command.kind_of)]
    if command.reach is Reach.SERVER:
        facts.append("*for the whole server*")
    if command.reply_event:
        facts.append(f"reply event `{command.reply_event}`")
    if command.joins:
        facts.append("joins the session")
    if command.overtakes:
        facts.append("overtakes what else the client sent")
    if command.takes_long:
        facts.append("handled beside what else the client sends")
    lines = [f"### `{event}`", "", f"{'; '.join(facts)}.", ""]
    for form in command_types(event):
        text = doc(form)
        lines += [text, ""] if text else []
        lines += _table(model_schema(form, shared), shared)
    return lines


def _event_section(name: str, kind: type[Event], shared: dict[str, Schema]) -> list[str]:
    text = doc(kind)
    return [f"### `{name}`", "", *([text, ""] if text else []), *_table(event_schema(kind, shared), shared)]


def render_page() -> str:
    shared: dict[str, Schema] = {}
    lines = [
        "# Protocol reference",
        "",
        f"Greenroom {__version__}, protocol {PROTOCOL_VERSION}. Made by `python -m greenroom.protocol.reference docs` "
        "from the types in `greenroom.protocol`; the same as an AsyncAPI 3 document: [asyncapi.yaml](asyncapi.yaml).",
        "",
        ABOUT,
        "",
        "## Connecting",
        "",
        "The members of the handshake's `auth`. A refusal comes as `connect_error` with the data `{code, message}`.",
        "",
        *_table(model_schema(ConnectAuth, shared), shared),
        "## Acknowledgements",
        "",
        '`{"success": true, ...}`, for a job with its `job_id`; or `{"success": false, "error": "a sentence", '
        '"code": "a stable word", "details"?}`. Every event may carry a `command_id`: a repeat of it returns the first '
        "answer and does nothing again. Codes:",
        "",
        *(
            f"- `{kind.code}`{': trying again may help' if kind.retryable else ''}"
            for kind in sorted(error_codes(), key=lambda kind: kind.code)
        ),
        "",
        "## What clients send",
        "",
        f"A text has at most {MAX_TEXT_CHARS} characters, a recording {MAX_AUDIO_BYTES} bytes. Numbers may come as "
        "strings. The events that lollms has may carry members that are not listed; in all others they are refused.",
        "",
        "What is *for the whole server* is refused to a performer whose token is bound to sessions.",
        "",
    ]
    for event in COMMANDS:
        lines += _command_section(event, shared)
    lines += [
        "## What the server sends",
        "",
        "Events with `session` and `seq` go to every client that joined the session; replies and the events of "
        "`generate_text` go to their caller alone, with `request_id` and `n` in their place. Members that have no "
        "value are left out.",
        "",
        "Reply events, which carry what the acknowledgement carries: "
        + ", ".join(f"`{name}`" for name in sorted(reply_events()))
        + "; for failures also `personality_add_failed`.",
        "",
    ]
    for name, kind in all_events().items():
        lines += _event_section(name, kind, shared)
    structures = {name: schema for name, schema in shared.items() if "enum" not in schema}
    lines += ["## Structures", ""]
    for name, schema in structures.items():
        lines += [f"### {name}", "", *_table(schema, shared)]
    return "\n".join(lines).rstrip() + "\n"


def write(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "asyncapi.yaml").write_text(render_asyncapi(), encoding="utf-8", newline="\n")
    (folder / "protocol.md").write_text(render_page(), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    write(Path(sys.argv[1] if len(sys.argv) > 1 else "docs"))
