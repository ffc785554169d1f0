"""What the folders and the configuration of this machine say, without a server."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from greenroom.bindings.discovery import BindingShelf
from greenroom.bindings.engines import Engines
from greenroom.config.load import LoadedConfig, load_config
from greenroom.config.schema import Config
from greenroom.config.secrets import Secrets, read_dotenv
from greenroom.errors import GreenroomError
from greenroom.paths import Home, find_home
from greenroom.personalities.shelf import PersonalityShelf
from greenroom.places import BindingPlaces


@dataclass(slots=True)
class Local:
    home: Home
    secrets: Secrets
    loaded: LoadedConfig | None = None
    """``None``: the configuration cannot be used, ``problem`` says why"""
    problem: str = ""
    notes: tuple[str, ...] = field(default=())

    @property
    def config(self) -> Config:
        return self.loaded.config if self.loaded is not None else Config()

    @property
    def url(self) -> str:
        """Where this configuration's server answers."""
        host = self.config.server.host
        host = "127.0.0.1" if host in ("", "0.0.0.0") else "::1" if host == "::" else host  # noqa: S104 -- only read
        return f"http://{f'[{host}]' if ':' in host else host}:{self.config.server.port}"

    def bindings(self) -> BindingShelf:
        return BindingShelf(self.home.binding_roots)

    def personalities(self) -> PersonalityShelf:
        return PersonalityShelf(self.home.personality_roots)

    def places(self) -> BindingPlaces:
        return BindingPlaces(self.home, self.secrets, lambda: self.config)

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
        loaded = load_config(config or found.config_file, secrets.environment(), {})
    except GreenroomError as error:
        return Local(found, secrets, None, error.message, told)
    return Local(found, secrets, loaded, "", (*told, *loaded.warnings))
