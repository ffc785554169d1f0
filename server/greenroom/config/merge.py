"""``config_update``: merging what a client sends into the configuration, all of it or nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from greenroom.config.confidential import has_password
from greenroom.config.foreign import as_ours, format_of
from greenroom.config.keys import differences
from greenroom.config.problems import Origin, Problem
from greenroom.config.schema import Config
from greenroom.config.translation import Mapped
from greenroom.config.validation import Way, dotted, validated

LABEL = "config_update"


@dataclass(frozen=True, slots=True)
class Merged:
    config: Config
    changed: tuple[str, ...]
    """dotted keys whose value is another than before"""
    warnings: tuple[str, ...]
    unused: Mapping[str, Any] = field(default_factory=dict)
    """what was named and has no meaning here"""


def merge(config: Config, update: Mapping[str, Any]) -> Merged:
    """Mappings are merged, everything else is replaced; in a map with free keys, null removes an entry.

    jaison's and lollms' keys are understood too.

    :raises ConfigError: for any bad key or value, with jaison's kind ``config_unknown_field`` for an unknown key;
        nothing has changed then.
    """
    mapped = as_ours(update, format_of(update), config)

    def locate(way: Way) -> tuple[Origin, Way]:
        for length in range(len(way), 0, -1):
            given = mapped.ways.get(way[:length])
            if given is not None:
                return Origin(LABEL), (*given, *way[length:])
        return Origin(LABEL), way

    data = _merged(config.model_dump(mode="json"), mapped.values)
    _remove_nulls(data, "bindings")
    _remove_nulls(data["context"], "name_translations")
    after = validated(data, locate, also=[*_stored_password(config, update), *_unknown(mapped)])
    changed = tuple(".".join(path) for path in differences(config, after))
    return Merged(after, changed, tuple(ignored.text for ignored in mapped.ignored), mapped.unused)


def _merged(before: Mapping[str, Any], update: Mapping[str, Any]) -> dict[str, Any]:
    after = dict(before)
    for name, value in update.items():
        old = after.get(name)
        after[name] = _merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return after


def _remove_nulls(section: Any, name: str) -> None:
    if isinstance(section, dict) and isinstance(section.get(name), dict):
        section[name] = {key: value for key, value in section[name].items() if value is not None}


def _stored_password(config: Config, update: Mapping[str, Any]) -> list[Problem]:
    store = update.get("store")
    url = store.get("url") if isinstance(store, Mapping) else None
    if isinstance(url, str) and url != config.store.url and has_password(url):
        text = "holds a password; set GREENROOM_STORE_URL in the environment or the .env file instead"
        return [Problem(Origin(LABEL), "store.url", text)]
    return []


def _unknown(mapped: Mapped) -> list[Problem]:
    """In a file an unknown foreign key is worth a warning; a client that sends one must hear that it did nothing."""
    return [
        Problem(Origin(LABEL), dotted(ignored.way), ignored.text, unknown_key=True)
        for ignored in mapped.ignored
        if ignored.unknown
    ]
