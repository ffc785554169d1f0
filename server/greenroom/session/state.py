"""A session's choices as they are stored, so that a killed server comes back as it was.

What the owner wrote in ``config.yaml`` and what clients chose later both want to decide. The state remembers a digest
of the configuration it came from: when that part of the file has changed since, the file wins.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from greenroom.config.schema import Config
from greenroom.session.context import ContextSettings
from greenroom.session.operations import OperationSpec
from greenroom.values import Role


@dataclass(slots=True)
class Choices:
    """:param active: index into ``personalities``."""

    personalities: list[str]
    active: int
    operations: list[OperationSpec]
    context: ContextSettings = field(default_factory=ContextSettings)

    @classmethod
    def from_config(cls, config: Config) -> "Choices":
        context = config.context
        return cls(
            personalities=list(config.personalities),
            active=config.active_personality,
            operations=[OperationSpec(entry.role, entry.id, entry.settings) for entry in config.operations],
            context=ContextSettings(
                character_name=context.character_name,
                name_translations=dict(context.name_translations),
                history_length=config.session.history_length,
                instruction_prompt_filename=context.instruction_prompt_filename,
                character_prompt_filename=context.character_prompt_filename,
                scene_prompt_filename=context.scene_prompt_filename,
            ),
        )

    def as_state(self, origin: str) -> dict[str, Any]:
        return {
            "origin": origin,
            "personalities": list(self.personalities),
            "active": self.active,
            "operations": [spec.entry() for spec in self.operations],
            "context": self.context.as_state(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "Choices":
        """:raises KeyError, TypeError, ValueError: for a state that this version cannot read."""
        return cls(
            personalities=[str(name) for name in state["personalities"]],
            active=int(state["active"]),
            operations=[
                OperationSpec(Role(item["role"]), str(item["id"]), dict(item["config"])) for item in state["operations"]
            ],
            context=ContextSettings.from_state(state["context"]),
        )


def digest(config: Config) -> str:
    """Changes when the owner changes what a new session starts with."""
    part = config.model_dump(mode="json", include={"personalities", "active_personality", "operations", "context"})
    return hashlib.sha256(json.dumps(part, sort_keys=True, default=str).encode()).hexdigest()[:16]
