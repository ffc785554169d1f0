"""What a server is built from: the command line, the home folder, ``.env`` and the configuration, read and checked."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from greenroom.config.load import LoadedConfig, load_config
from greenroom.config.named import given_config
from greenroom.config.schema import Config
from greenroom.config.secrets import Secrets, read_dotenv
from greenroom.doors.safety import Token
from greenroom.errors import BadRequest
from greenroom.paths import Home, find_home
from greenroom.serving.listeners import Listener, planned
from greenroom.values import Access


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """What the command line says; ``None``: nothing was said."""

    home: Path | None = None
    config: Path | None = None
    host: str | None = None
    port: int | None = None
    token: str | None = None
    log_level: str | None = None
    insecure: bool | None = None
    tls: bool | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    wyoming: str | None = None
    """an address for the Wyoming door, beside the others"""

    def overrides(self) -> dict[str, Any]:
        """:raises BadRequest: a key without its certificate."""
        if self.tls_key is not None and self.tls_cert is None:
            raise BadRequest("--tls-key: it needs its certificate: --tls-cert")
        secure: Any = "auto" if self.tls else None
        if self.tls_cert is not None:
            secure = {"cert": str(self.tls_cert.absolute())}
            if self.tls_key is not None:
                secure["key"] = str(self.tls_key.absolute())
        return {
            "server.host": self.host,
            "server.port": self.port,
            # Who names an address at the command line wants that one alone.
            "listen": [] if (self.host, self.port) != (None, None) else None,
            "server.tls": secure,
            "server.insecure": self.insecure or None,
            "log.level": self.log_level,
        }


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a server is built from."""

    home: Home
    loaded: LoadedConfig
    secrets: Secrets
    tokens: tuple[Token, ...]
    overrides: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    listeners: tuple[Listener, ...] = ()


def prepare(options: ServeOptions, environ: Mapping[str, str]) -> Prepared:
    """Read home, ``.env`` and configuration. :raises GreenroomError: with a sentence for the terminal."""
    home = find_home(options.home, env=environ)
    dotenv, notes = read_dotenv(home.env_file)
    secrets = Secrets(environ, dotenv)
    path = home.config_file if options.config is None else given_config(options.config, home.configs)
    overrides = options.overrides()
    loaded = load_config(path, secrets.environment(), overrides)
    tokens = _tokens(loaded.config, secrets, options.token)
    listeners = planned(loaded.config, options.wyoming)
    return Prepared(home, loaded, secrets, tokens, overrides, (*home.notes, *notes, *loaded.warnings), listeners)


def _tokens(config: Config, secrets: Secrets, given: str | None) -> tuple[Token, ...]:
    tokens = []
    for entry in config.server.tokens:
        value = secrets.get(entry.env)
        if not value:
            raise BadRequest(
                f"server.tokens: {entry.name}: the environment variable {entry.env} is not set; "
                "set it there or in the .env file"
            )
        tokens.append(Token(value, Access.parse(entry.role), frozenset(entry.sessions)))
    owner = given or secrets.get("GREENROOM_TOKEN")
    if owner:
        tokens.append(Token(owner, Access.OWNER))
    return tuple(tokens)
