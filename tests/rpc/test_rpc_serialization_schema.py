"""The schemas of types, as the documentation shows them."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import jsonschema
import pytest

from greenroom.rpc.serialization import JSON, JsonSchema, Serializer

T = TypeVar("T")


class Color(Enum):
    RED = 1
    GREEN = 2


@dataclass
class Point:
    x: int
    y: float = 0.0


@dataclass
class Node:
    point: Point
    kids: "list[Node]" = field(default_factory=list)


@dataclass
class Box(Generic[T]):
    content: T


POINT = {"type": "object", "properties": {"x": {"type": "integer"}, "y": {"type": "number"}}}


@pytest.mark.parametrize(
    ("declared", "schema"),
    [
        (int, {"type": "integer"}),
        (float, {"type": "number"}),
        (str, {"type": "string"}),
        (bool, {"type": "boolean"}),
        (None, {"type": "null"}),
        (Color, {"enum": ["RED", "GREEN"]}),
        (datetime, {"type": "string", "format": "date-time"}),
        (Path, {"type": "string", "format": "path"}),
        (list[int], {"type": "array", "items": {"type": "integer"}}),
        (set[int], {"type": "array", "items": {"type": "integer"}, "uniqueItems": True}),
        (tuple[int], {"type": "array", "prefixItems": [{"type": "integer"}], "minItems": 1, "maxItems": 1}),
        (dict[str, int], {"type": "object", "additionalProperties": {"type": "integer"}}),
        (int | None, {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
        (Literal["a", 1], {"enum": ["a", 1]}),
        (Any, {}),
        (object, {}),
        (JSON, {}),
        (list, {"type": "array", "items": {}}),
    ],
    ids=str,
)
def test_a_kind_and_its_schema(declared: Any, schema: dict[str, Any]) -> None:
    found = Serializer.parse(declared).to_json_schema()
    assert found == JsonSchema(schema, {})
    assert found.to_dict() == schema


def test_bytes_are_an_object_with_a_tag() -> None:
    schema = Serializer.parse(bytes).to_json_schema().to_dict()
    assert schema["properties"]["@type"] == {"const": "bytes"}


def test_records_are_definitions_by_full_name() -> None:
    node, point = f"{__name__}.Node", f"{__name__}.Point"
    schema = Serializer.parse(Node).to_json_schema().to_dict()
    assert schema == {
        "$ref": f"#/$defs/{node}",
        "$defs": {
            node: {
                "type": "object",
                "properties": {
                    "point": {"$ref": f"#/$defs/{point}"},
                    "kids": {"type": "array", "items": {"$ref": f"#/$defs/{node}"}},
                },
            },
            point: POINT,
        },
    }
    jsonschema.validate({"point": {"x": 1}, "kids": [{"point": {"x": 2}}]}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"kids": [{"point": {"x": "a"}}]}, schema)


def test_required_fields_on_request() -> None:
    schema = Serializer.parse(Point).to_json_schema(required=True)
    assert schema.defs == {f"{__name__}.Point": {**POINT, "required": ["x"]}}


def test_generics_have_a_definition_for_each_argument() -> None:
    schema = Serializer.parse(Box[int] | Box[str]).to_json_schema()
    assert list(schema.defs) == [f"{__name__}.Box[int]", f"{__name__}.Box[str]"]
    jsonschema.validate({"content": "a"}, schema.to_dict())


def test_the_schema_of_several_fields() -> None:
    data = Serializer.parse(list[dict[str, Any]])
    worked_example = {
        "properties": {"data": {"items": {"additionalProperties": {}, "type": "object"}, "type": "array"}},
        "type": "object",
    }
    assert JsonSchema.from_fields({"data": data}) == JsonSchema(schema=worked_example, defs={})
    both = JsonSchema.from_fields({"a": data.to_json_schema(), "b": Serializer.parse(Point)}, required=["b"])
    assert both.schema["required"] == ["b"]
    assert both.defs == {f"{__name__}.Point": POINT}


def test_a_schema_is_a_value_itself() -> None:
    serializer = Serializer.parse(JsonSchema)
    schema = Serializer.parse(Box[bytes]).to_json_schema()
    assert serializer.from_json_bytes(serializer.to_json_bytes(schema)) == schema
