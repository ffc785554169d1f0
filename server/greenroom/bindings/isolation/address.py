"""Where a binding is served: what the configuration says, and what a child says of itself."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from greenroom.errors import BadRequest


@dataclass(frozen=True, slots=True)
class Address:
    """``unix:/path`` or ``http(s)://host:port``; its text is a base URL of :mod:`greenroom.rpc`."""

    path: str = ""
    host: str = ""
    port: int = 0
    tls: bool = False

    @classmethod
    def parse(cls, text: str) -> "Address":
        """:raises BadRequest: saying what was wanted."""
        if text.startswith("unix:"):
            path = text.removeprefix("unix:").removeprefix("//")
            if path:
                return cls(path=path)
        try:
            parts = urlsplit(text)
            if parts.scheme in ("http", "https") and parts.hostname:
                tls = parts.scheme == "https"
                return cls(host=parts.hostname, port=parts.port or (443 if tls else 80), tls=tls)
        except ValueError:
            pass
        raise BadRequest(f"{text!r} is no place of a binding; wanted http(s)://host:port or unix:/path")

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"
