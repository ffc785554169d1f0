"""What all sessions of one server share; built and passed on by the composition root."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from greenroom.bindings.discovery import BindingShelf
from greenroom.bindings.engines import Engines
from greenroom.metrics import Metrics
from greenroom.personalities.shelf import PersonalityShelf
from greenroom.session.installations import Installations
from greenroom.session.settings import CurrentConfig
from greenroom.store import Store

if TYPE_CHECKING:
    from greenroom.bindings.environments import Environments


@dataclass(frozen=True, slots=True)
class House:
    config: CurrentConfig
    store: Store
    bindings: BindingShelf
    engines: Engines
    environments: "Callable[[], Environments]"
    """what knows the bindings' own environments is imported when somebody installs one"""
    personalities: PersonalityShelf
    metrics: Metrics
    prompts: Path
    """folder of prompt files: ``instructions/``, ``characters/``, ``scenes/``"""
    installations: Installations = field(default_factory=Installations)

    def binding_defaults(self, binding_id: str) -> Mapping[str, Any]:
        return self.config.value.bindings.get(binding_id, {})
