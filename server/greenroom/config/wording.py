"""Saying in words what a key wants: for error messages and for the key reference."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from greenroom.config.confidential import without_password
from greenroom.config.schema import Config

Schema = Mapping[str, Any]

_FORMS = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
}


@cache
def _whole_schema() -> Schema:
    return Config.model_json_schema()


def _resolved(schema: Schema) -> Schema:
    while "$ref" in schema:
        schema = _whole_schema()["$defs"][schema["$ref"].rsplit("/", 1)[1]]
    return schema


def _any_key(schema: Schema) -> Any:
    """What a mapping with free keys holds."""
    by_pattern = list(schema.get("patternProperties", {}).values())
    return by_pattern[0] if by_pattern else schema.get("additionalProperties")


def schema_at(way: Sequence[str | int]) -> Schema | None:
    """The JSON schema of the value at ``way``; ``None`` where the configuration says nothing of it."""
    schema = _resolved(_whole_schema())
    for part in way:
        if isinstance(part, int):
            inner = schema.get("items")
        else:
            inner = schema.get("properties", {}).get(part) or _any_key(schema)
        if not isinstance(inner, Mapping):
            return None
        schema = _resolved(inner)
    return schema


def _bounds(schema: Schema) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    parts = []
    if low is not None and high is not None:
        return f" from {low:g} to {high:g}" if max(abs(low), abs(high)) < 1e6 else f" from {low} to {high}"
    if above is not None:
        parts.append(f"above {above:g}")
    if low is not None:
        parts.append(f"of at least {low}")
    if high is not None:
        parts.append(f"up to {high:g}" if high < 1e6 else f"up to {high}")
    if below is not None:
        parts.append(f"below {below:g}")
    return " " + " and ".join(parts) if parts else ""


def _text(schema: Schema) -> str:
    shortest, longest = schema.get("minLength"), schema.get("maxLength")
    if shortest and longest:
        return f"text of {shortest} to {longest} characters"
    return f"text of at most {longest} characters" if longest else "text"


def wanted(schema: Schema) -> str:
    """``a whole number from 0 to 65535``, ``hidden or shown``, ``a list of texts`` ..."""
    schema = _resolved(schema)
    if "anyOf" in schema:
        forms = [wanted(option) for option in schema["anyOf"]]
        return " or ".join(sorted(forms, key=lambda form: form == "null"))
    if "enum" in schema:
        *others, last = [str(value) for value in schema["enum"]]
        return f"{', '.join(others)} or {last}" if others else last
    kind = schema.get("type")
    if kind == "string":
        return _text(schema)
    if kind in ("integer", "number"):
        return _FORMS[kind] + _bounds(schema)
    if kind == "array":
        item = _resolved(schema.get("items", {}))
        if item.get("type") == "object":
            needed = list(item.get("required", ()))
            return f"a list of entries with {' and '.join(needed)}"
        return "a list of texts"
    if kind == "object":
        return "a mapping of keys to values"
    return _FORMS.get(str(kind), "a value")


def shown(value: Any) -> str:
    """A value as a message quotes it: short, on one line, no password."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    text = without_password(str(value))
    text = text if len(text) <= 60 else f"{text[:57]}..."
    return repr(text) if isinstance(value, str) else text
