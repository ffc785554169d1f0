"""Configurations of other servers: jaison's and lollms' files load too, under our names.

What has no meaning here is told by name, never silently dropped.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from greenroom.config import from_jaison, from_lollms, jaison_operations
from greenroom.config.schema import Config
from greenroom.config.translation import Mapped


class Format(StrEnum):
    GREENROOM = "greenroom"
    JAISON = "jaison"
    LOLLMS = "lollms"


_SHARED = frozenset({"operations", "personalities", "user_name"})
"""Keys that we have in common with one of the others."""


def format_of(raw: Mapping[Any, Any]) -> Format:
    """Whose configuration this is, by the keys that only one of the three has, else by how operations are written."""
    names = {name for name in raw if isinstance(name, str)}
    if names & (set(Config.model_fields) - _SHARED):
        return Format.GREENROOM
    jaison, lollms = len(names & from_jaison.KEYS), len(names & from_lollms.KEYS)
    if not jaison and not lollms:
        return Format.JAISON if jaison_operations.has_its_form(raw.get("operations")) else Format.GREENROOM
    return Format.LOLLMS if lollms > jaison else Format.JAISON


def as_ours(raw: Mapping[str, Any], form: Format, base: Config) -> Mapped:
    """Translate. ``base`` is what the result is merged into: a model's name alone changes the text operation there."""
    mapped = Mapped(raw)
    if form is Format.JAISON:
        from_jaison.translate(mapped)
    elif form is Format.LOLLMS:
        from_lollms.translate(mapped, base)
    else:
        mapped.values.update(raw)
    return mapped
