"""The configuration as jaison shows it: what somebody wrote, under jaison's names where it has one, and no default."""

import math
from collections.abc import Mapping
from typing import Any

from greenroom.config.from_jaison import BINDING_PATHS, PROMPTER
from greenroom.session.settings import CurrentConfig

_UNSAVED = "Unsaved"


def given_config(current: CurrentConfig) -> dict[str, Any]:
    """Empty where nobody wrote anything; else with ``current_config``, the name."""
    given = _copied(current.given)
    if not given and not current.unused and not current.name:
        return {}
    found = _copied(current.unused)
    prompter = {name: value for name, path in PROMPTER.items() if (value := _taken(given, path)) is not None}
    if prompter:
        found["prompter"] = prompter
    for name, path in BINDING_PATHS.items():
        if (value := _taken(given, path)) is not None:
            found[name] = value
    found.update({name: value for name, value in given.items() if value != {}})
    return {**found, "current_config": current.name or ("config" if current.from_file else _UNSAVED)}


def _copied(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _copied(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_copied(item) for item in value]
    plain = value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))
    return value if plain else str(value)


def _taken(data: dict[str, Any], path: tuple[str, ...]) -> Any:
    """Take the value out, and the mappings that it leaves empty."""
    inner = data.get(path[0])
    if len(path) == 1:
        return data.pop(path[0], None)
    if not isinstance(inner, dict):
        return None
    value = _taken(inner, path[1:])
    if not inner:
        del data[path[0]]
    return value
