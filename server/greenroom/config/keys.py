"""Walking the schema: every key of the configuration with its dotted name, default and mark."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic.fields import FieldInfo

from greenroom.config.schema import Config, Section

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Key:
    """One leaf of the configuration: a scalar, or a list or map that is given as a whole."""

    path: Path
    field: FieldInfo

    @property
    def name(self) -> str:
        return ".".join(self.path)

    @property
    def variable(self) -> str:
        return "GREENROOM_" + "_".join(self.path).upper()

    @property
    def default(self) -> Any:
        return self.field.get_default(call_default_factory=True)

    @property
    def owner_only(self) -> bool:
        extra = self.field.json_schema_extra
        return isinstance(extra, Mapping) and extra.get("access") == "owner"

    @property
    def is_text(self) -> bool:
        return self.field.annotation is str


def section_of(field: FieldInfo) -> type[Section] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, Section) else None


def walk(model: type[Section] = Config, above: Path = ()) -> Iterator[Key]:
    """Every key, in the order of the schema."""
    for name, field in model.model_fields.items():
        section = section_of(field)
        if section is None:
            yield Key((*above, name), field)
        else:
            yield from walk(section, (*above, name))


def sections() -> dict[str, type[Section]]:
    """The sections of the configuration by name."""
    found = {name: section_of(field) for name, field in Config.model_fields.items()}
    return {name: section for name, section in found.items() if section is not None}


def value_at(data: Any, path: Path) -> Any:
    """The value under ``path`` in nested mappings. :raises KeyError: where there is none."""
    for part in path:
        if not isinstance(data, Mapping):
            raise KeyError(part)
        data = data[part]
    return data


def put(data: dict[str, Any], path: Path, value: Any) -> None:
    """Set ``path`` in nested dicts, making those that are missing."""
    for part in path[:-1]:
        inner = data.get(part)
        if not isinstance(inner, dict):
            inner = data[part] = {}
        data = inner
    data[path[-1]] = value


def differences(before: Config, after: Config) -> dict[Path, Any]:
    """What ``after`` has other than ``before``, by key, as plain data."""
    old, new = before.model_dump(mode="json"), after.model_dump(mode="json")
    found: dict[Path, Any] = {}
    for key in walk():
        value = value_at(new, key.path)
        if value != value_at(old, key.path):
            found[key.path] = value
    return found
