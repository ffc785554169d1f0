"""What the folders and the configuration of this machine say, without a server."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from greenroom.bindings.discovery import BindingShelf, FoundBinding
from greenroom.bindings.engines import Engines
from greenroom.bindings.isolation.isolation import Isolation, IsolationSettings
from greenroom.bindings.roles import no_programs
from greenroom.config.load import LoadedConfig, load_config
from greenroom.config.named import given_config
from greenroom.config.schema import Config
from greenroom.config.secrets import Secrets, read_dotenv
from greenroom.errors import GreenroomError
from greenroom.paths import Home, find_home
from greenroom.personalities.shelf import PersonalityShelf
from greenroom.places import BindingPlaces
from greenroom.serving.listeners import planned

if TYPE_CHECKING:
    from greenroom.bindings.programs import Programs


@dataclass(slots=True)
class Local:
    home: Home
    secrets: Secrets
    loaded: LoadedConfig | None = None
    """``None``: the configuration cannot be used, ``problem`` says why"""
    problem: str = ""
    notes: tuple[str, ...] = field(default=())
    _isolated: Isolation | None = None

    @property
    def config(self) -> Config:
        return self.loaded.config if self.loaded is not None else Config()

    @property
    def url(self) -> str:
        """Where this configuration's server answers."""
        listeners = planned(self.config)
        main = next((one for one in listeners if "socketio" in one.doors and not one.place.path), listeners[0])
        host = main.place.host
        host = "127.0.0.1" if host in ("", "0.0.0.0") else "::1" if host == "::" else host  # noqa: S104 -- only read
        scheme = "https" if main.tls else "http"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{main.place.port}{self.config.server.root_path}"

    def bindings(self) -> BindingShelf:
        """As the server sees them: those that run in a process of their own, too. To be used before :meth:`close`."""
        return BindingShelf(self.home.binding_roots, self._isolation())

    def bindings_here(self) -> BindingShelf:
        """To run them in this process, whatever the configuration says."""
        return BindingShelf(self.home.binding_roots)

    async def close(self) -> None:
        """Stop the processes of the bindings that were used."""
        if self._isolated is not None:
            await self._isolated.close()

    def _isolation(self) -> Isolation:
        if self._isolated is None:
            config, token = self.config, self.secrets.get("GREENROOM_BIND_TOKEN") or ""
            settings = IsolationSettings(config.isolation, config.isolation_idle_s, token, self.home.logs)
            self._isolated = Isolation(settings, self._python_for)
        return self._isolated

    def _python_for(self, found: FoundBinding) -> Path | None:
        from greenroom.bindings.environments import Environments

        return Environments(self.home).python_for(found)

    def personalities(self) -> PersonalityShelf:
        return PersonalityShelf(self.home.personality_roots)

    def places(self, programs: Callable[[], Programs] = no_programs) -> BindingPlaces:
        return BindingPlaces(self.home, self.secrets, lambda: self.config, programs)

    def engines(self, shelf: BindingShelf) -> Engines:
        return Engines(shelf, self.places())


def find_local(home: Path | None = None, config: Path | None = None, *, env: Mapping[str, str] | None = None) -> Local:
    """:raises GreenroomError: if there is no home at all; a bad configuration stands in ``problem``."""
    env = os.environ if env is None else env
    found = find_home(home, env=env)
    try:
        dotenv, notes = read_dotenv(found.env_file)
        secrets = Secrets(env, dotenv)
    except GreenroomError as error:
        return Local(found, Secrets(env), None, error.message, found.notes)
    told = (*found.notes, *notes)
    try:
        path = found.config_file if config is None else given_config(config, found.configs)
        loaded = load_config(path, secrets.environment(), {})
    except GreenroomError as error:
        return Local(found, secrets, None, error.message, told)
    return Local(found, secrets, loaded, "", (*told, *loaded.warnings))
