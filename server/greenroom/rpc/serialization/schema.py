"""The JSON schema of a type, with the definitions that it refers to."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


class Described(Protocol):
    def to_json_schema(self) -> "JsonSchema": ...


@dataclass
class JsonSchema:
    """``schema`` refers to ``defs`` by ``#/$defs/<full dotted name>``."""

    schema: dict[str, Any]
    defs: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_fields(
        cls, fields: "Mapping[str, JsonSchema | Described]", required: Iterable[str] | None = None
    ) -> "JsonSchema":
        """An object of these fields. ``required`` is named only where it is given and not empty."""
        properties: dict[str, Any] = {}
        defs: dict[str, Any] = {}
        for name, described in fields.items():
            part = described if isinstance(described, JsonSchema) else described.to_json_schema()
            properties[name] = part.schema
            defs.update(part.defs)
        schema: dict[str, Any] = {"type": "object", "properties": properties}
        names = list(required or ())
        return cls({**schema, "required": names} if names else schema, defs)

    def to_dict(self) -> dict[str, Any]:
        return {**self.schema, "$defs": self.defs} if self.defs else dict(self.schema)
