"""Tools in the shape that KoboldCPP reads without stumbling.

Where it does not leave them to the model's own template, it wants a description of each tool and a type of each
parameter, and hangs up on whoever leaves one out.
"""

from collections.abc import Mapping, Sequence
from typing import Any


def plain_tools(schemas: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """``schemas`` in OpenAI's form -> the same, with what was left out"""
    return [{**schema, "function": _plain_function(schema["function"])} for schema in schemas]


def _plain_function(function: Mapping[str, Any]) -> dict[str, Any]:
    parameters = function.get("parameters") or {}
    properties = parameters.get("properties") or {}
    return {
        **function,
        "description": function.get("description") or "",
        "parameters": {
            "type": "object",
            **parameters,
            "properties": {name: _typed(schema) for name, schema in properties.items()},
        },
    }


def _typed(schema: Any) -> dict[str, Any]:
    if not isinstance(schema, Mapping):  # true: anything goes
        return {"type": "string"}
    return {"type": _type_of(schema), **schema}


def _type_of(schema: Mapping[str, Any]) -> str:
    """Of a choice (``string or null``), the first that is something."""
    for name in ("anyOf", "oneOf", "allOf"):
        for one in schema.get(name) or ():
            kind = one.get("type") if isinstance(one, Mapping) else None
            if isinstance(kind, str) and kind != "null":
                return kind
    return "object" if "properties" in schema or "$ref" in schema else "string"
