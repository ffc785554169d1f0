"""Where bindings run and which secrets they may have: built from home and configuration."""

from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from greenroom.bindings.discovery import FoundBinding
from greenroom.bindings.roles import Place, no_programs
from greenroom.config.schema import Config
from greenroom.config.secrets import Secrets
from greenroom.paths import Home

if TYPE_CHECKING:
    from greenroom.bindings.programs import Programs

_OWN_HOSTS = {
    "OPENAI_API_KEY": "api.openai.com",
    "ANTHROPIC_API_KEY": "api.anthropic.com",
    "GEMINI_API_KEY": "generativelanguage.googleapis.com",
    "GOOGLE_API_KEY": "generativelanguage.googleapis.com",
    "FISH_API_KEY": "api.fish.audio",
    "ELEVENLABS_API_KEY": "api.elevenlabs.io",
    "HF_TOKEN": "huggingface.co",
}
"""Where a key belongs when the configuration names no other host for its binding."""
_OWN_DOMAINS = {"AZURE_API_KEY": ".speech.microsoft.com", "AZURE_REGION": ".speech.microsoft.com"}
"""As above, where the hosts carry the region in front: westeurope.tts.speech.microsoft.com"""


class BindingPlaces:
    """A key goes only to the host that the owner configured for its binding, or to its service's own.

    A URL that came over the wire thus never receives one, whoever sent it.
    """

    def __init__(
        self,
        home: Home,
        secrets: Secrets,
        config: Callable[[], Config],
        programs: "Callable[[], Programs]" = no_programs,
    ) -> None:
        self._home = home
        self._secrets = secrets
        self._programs = programs
        self._hosts: dict[str, set[str]] = {}
        for entry in config().operations:
            self._note(entry.id, entry.settings)
        for binding_id, options in config().bindings.items():
            self._note(binding_id, options)

    def _note(self, binding_id: str, options: object) -> None:
        if isinstance(options, dict):
            for value in options.values():
                if isinstance(value, str) and "://" in value and (host := _host(value)):
                    self._hosts.setdefault(binding_id, set()).add(host)

    def place(self, found: FoundBinding) -> Place:
        def secret(name: str, url: str) -> str | None:
            host = _host(url)
            allowed = self._hosts.get(found.id, set()) | {_OWN_HOSTS.get(name, "")}
            domain = _OWN_DOMAINS.get(name)
            if host and (host in allowed or (domain is not None and host.endswith(domain))):
                return self._secrets.get(name)
            return None

        return Place(
            found.id,
            found.folder,
            self._home.models / found.id,
            secret,
            self._home.assets / found.id,
            self._programs,
            found.card.program,
        )


def _host(url: str) -> str:
    """``host:port`` of a URL, lower case; empty for none."""
    try:
        return urlsplit(url).netloc.rsplit("@", 1)[-1].lower()
    except ValueError:
        return ""
