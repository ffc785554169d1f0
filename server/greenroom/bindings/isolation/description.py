"""What a binding tells of its operations, so that a parent that cannot import it can still show and check them."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import ConfigDict, Field, create_model

from greenroom.bindings.discovery import read_binding
from greenroom.bindings.roles import Binding, Options, SpeechToText, TextFilter, TextToSpeech, TextToText
from greenroom.errors import GreenroomError


def describe(binding: Binding) -> dict[str, Any]:
    """By role: the JSON schema of its options, of a text filter unit and effect, of a voice whether it wants extras,
    of a model whether its answers keep to formats, of an ear whether its partials grow."""
    described: dict[str, Any] = {}
    for role, operation in binding.operations.items():
        entry: dict[str, Any] = {"options": operation.Options.model_json_schema(), "role": str(operation.role)}
        if issubclass(operation, TextFilter):
            entry |= {"unit": str(operation.unit), "effect": str(operation.effect)}
        if issubclass(operation, TextToSpeech):
            entry["wants_extras"] = operation.wants_extras
        if issubclass(operation, TextToText):
            entry["keeps_formats"] = operation.keeps_formats
        if issubclass(operation, SpeechToText):
            entry["partials_grow"] = operation.partials_grow
        described[str(role)] = entry
    return described


class ForeignOptions(Options):
    """Options known by their schema alone: names and access are checked here, values by the binding's own process."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), validate_default=False)
    schema_: ClassVar[Mapping[str, Any]] = {}

    @classmethod
    def model_json_schema(cls, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return dict(cls.schema_)


class AnyOptions(ForeignOptions):
    """Of a binding that takes names that it does not declare, too."""

    model_config = ConfigDict(extra="allow", frozen=True, protected_namespaces=(), validate_default=False)


def options_from(schema: Mapping[str, Any]) -> type[Options]:
    fields: dict[str, Any] = {}
    for name, entry in schema.get("properties", {}).items():
        extra = {"access": entry["access"]} if "access" in entry else None
        default = ... if name in schema.get("required", ()) else entry.get("default")
        fields[name] = (Any, Field(default, description=entry.get("description"), json_schema_extra=extra))
    base = AnyOptions if schema.get("additionalProperties") is True else ForeignOptions
    made = create_model(str(schema.get("title", "Options")), __base__=base, **fields)
    made.schema_ = schema
    return made


def print_description(folder: Path) -> int:
    """In a child of its own: what the binding offers, as the last line of standard output. -> exit code"""
    try:
        told = describe(read_binding(folder).load())
    except GreenroomError as error:
        sys.stderr.write(f"{error.message}\n")
        return 1
    sys.stdout.write(f"\n{json.dumps(told)}\n")
    sys.stdout.flush()
    return 0
