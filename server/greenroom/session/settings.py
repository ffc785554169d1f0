"""The configuration in force: one for the server, replaced as a whole when it changes."""

import asyncio
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

from greenroom.config.access import changes_need_owner, public_config
from greenroom.config.foreign import Format
from greenroom.config.keys import differences, put
from greenroom.config.load import LoadedConfig
from greenroom.config.merge import Merged, merge
from greenroom.config.named import NamedConfigs
from greenroom.config.problems import ConfigError
from greenroom.config.schema import Config
from greenroom.errors import Forbidden
from greenroom.values import Access

_NAME = "current_config"
"""what ``config_get`` adds; a client that sends all of it back means nothing by it"""


class CurrentConfig:
    def __init__(self, loaded: LoadedConfig, named: NamedConfigs, name: str = "") -> None:
        self._loaded = loaded
        self._config = loaded.config
        self.started: Config = loaded.config
        """what the owner's file and environment said at the start, whatever was changed over the wire since"""
        self._named = named
        self.name = name
        """which of ``configs/`` it is; empty: none of them"""
        self._given: dict[str, Any] = deepcopy(dict(loaded.file_values or {}))
        self.unused: Mapping[str, Any] = loaded.unused
        """fields of another server that a file or a client names and that do nothing here"""

    @property
    def value(self) -> Config:
        return self._config

    def public(self) -> dict[str, Any]:
        return {**public_config(self.value), _NAME: self.name or "config"}

    @property
    def given(self) -> Mapping[str, Any]:
        """What a file says or a client has changed, under our names; no default, environment or command line."""
        return self._given

    @property
    def from_file(self) -> bool:
        return self._loaded.path is not None

    def names(self) -> list[str]:
        return self._named.names()

    def update(
        self, changes: Mapping[str, Any], access: Access, check: Callable[[Config], None] | None = None
    ) -> Merged:
        """All of it or nothing; ``check`` sees it before it is in force.

        :raises ConfigError: bad key or value. :raises Forbidden: the owner's keys.
        """
        changes = {key: value for key, value in changes.items() if key != _NAME}
        merged = merge(self.value, changes)
        if access < Access.OWNER:
            _refuse(changes_need_owner(changes, self.value))
        if check is not None:
            check(merged.config)
        changed = differences(self._config, merged.config)
        self._config = merged.config
        for path, value in changed.items():
            put(self._given, path, value)
        self.unused = {**self.unused, **merged.unused}
        return merged

    async def load(self, name: str, access: Access, check: Callable[[Config], None] | None = None) -> tuple[str, ...]:
        """Take a configuration from ``configs/``; returns its warnings. What listens stays as it is until a restart.

        :raises ConfigError: also for a field of a jaison file that jaison does not know: whoever asks over the wire
            does not see the warnings that the server's own start has for it.
        """
        loaded = await asyncio.to_thread(self._named.load, name)
        if loaded.unknown and loaded.format is Format.JAISON:
            raise ConfigError(loaded.unknown)
        if access < Access.OWNER:
            _refuse(changes_need_owner(loaded.config.model_dump(mode="json"), self.value))
        if check is not None:
            check(loaded.config)
        self._loaded, self._config, self.name = loaded, loaded.config, name
        self._given = deepcopy(dict(loaded.file_values or {}))
        self.unused = loaded.unused
        return loaded.warnings

    async def save(self, name: str) -> None:
        """Write it to ``configs/``, comments kept. :raises BadRequest, Unavailable: bad name, no room."""
        config = self._config
        self._loaded = await asyncio.to_thread(self._named.save, name, self._loaded, config)
        if self._config is config:  # else another session has changed it meanwhile
            self._config = self._loaded.config
        self.name = name


def _refuse(keys: list[str]) -> None:
    if keys:
        raise Forbidden(f"only the owner may change {', '.join(keys)}", details={"fields": keys})
