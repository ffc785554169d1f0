"""Where the server listens, which doors it opens there, and who may come in."""

import ipaddress
import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from greenroom.config.parts import OWNER, OptionalText, Section, SessionName, ShortText

DoorName = Literal["socketio", "web", "jaison", "openai", "wyoming"]
HTTP_DOORS: tuple[DoorName, ...] = ("socketio", "web", "jaison", "openai")
"""Those that share one address; ``wyoming`` has one of its own."""
_OWN_PATHS = frozenset({"api", "v1", "socket.io", "health", "metrics", "openapi.json", "bindings", "personalities"})


@dataclass(frozen=True, slots=True)
class Address:
    """Where one socket listens: ``path`` of a Unix socket, else ``host`` and ``port``."""

    host: str = ""
    port: int = 0
    path: str = ""
    wyoming: bool = False
    """it was written as ``tcp://``"""

    @classmethod
    def parse(cls, text: str) -> "Address":
        """:raises ValueError: it is none."""
        if text.startswith("unix:"):
            path = text.removeprefix("unix://" if text.startswith("unix://") else "unix:")
            if not path.startswith("/") or "\0" in path:
                raise ValueError(text)
            return cls(path=path)
        found = re.fullmatch(r"(tcp://)?(?:\[([0-9A-Fa-f:.%\w]+)\]|([^\s\[\]/:?#@]+)):(\d{1,5})/?", text)
        if found is None or int(found[4]) > 65_535:
            raise ValueError(text)
        return cls(found[2] or found[3], int(found[4]), wyoming=found[1] is not None)

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'tcp://' if self.wyoming else ''}{host}:{self.port}"


def _address(value: str) -> str:
    try:
        return str(Address.parse(value.strip()))
    except ValueError:
        raise PydanticCustomError(
            "address", "wanted 127.0.0.1:9601, [::1]:9601, unix:/path/to/socket or, for Wyoming, tcp://127.0.0.1:10200"
        ) from None


def _network(value: str) -> str:
    text = value.strip().lower()
    if text == "unix":
        return text
    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        raise PydanticCustomError("network", "wanted an address or a network such as 192.168.1.0/24") from None


def _ip_network(value: str) -> str:
    try:
        return str(ipaddress.ip_network(value.strip(), strict=False))
    except ValueError:
        raise PydanticCustomError("network", "wanted an address or a network such as 192.168.1.0/24") from None


def _root_path(value: str) -> str:
    path = "/" + value.strip().strip("/") if value.strip("/ ") else ""
    if path and not re.fullmatch(r"(/[A-Za-z0-9_~.\-]+)+", path):
        raise PydanticCustomError("root_path", "wanted a path such as /greenroom")
    first = path.split("/")[1] if path else ""
    if first in _OWN_PATHS or first.startswith("."):
        raise PydanticCustomError(
            "root_path", "wanted a path such as /greenroom; /{first} is one of the server's own", {"first": first}
        )
    return path


def _switch(value: Any) -> Any:
    """YAML reads ``off`` and ``on`` as booleans."""
    if isinstance(value, bool):
        return "auto" if value else "off"
    return value


def _origin(value: str) -> str:
    origin = value.strip().rstrip("/").lower()
    if origin != "null" and not re.fullmatch(r"[a-z][a-z0-9+.\-]*://[^/\s*?#]+", origin):
        raise PydanticCustomError("origin", "wanted an origin such as https://example.org:8080")
    return origin


def _host_name(value: str) -> str:
    host = value.strip().lower()
    if not re.fullmatch(r"[^\s/*?#@]+", host):
        raise PydanticCustomError("host", "wanted a host name, with or without :port, and no scheme")
    return host


class TlsFiles(Section):
    """A certificate of the owner's: with its chain, and its key without a passphrase."""

    cert: Annotated[ShortText, Field(description="PEM file with the certificate and what it is signed with")]
    key: Annotated[OptionalText, Field(description="PEM file with the private key; empty: it is in the same file")] = ""


class ListenEntry(Section):
    """One address, and the doors that are open there."""

    address: Annotated[
        Annotated[str, AfterValidator(_address)],
        Field(description="127.0.0.1:9601, [::1]:9601, unix:/path, or tcp://127.0.0.1:10200 for Wyoming"),
    ]
    doors: Annotated[
        tuple[DoorName, ...],
        Field(description="socketio, web, jaison and openai, or wyoming alone; empty: all that the address can have"),
    ] = ()
    tls: Annotated[
        bool | None, Field(description="https here; null: as server.tls says, but never on a Unix socket")
    ] = None
    open_to: Annotated[
        Literal["user", "group", "all"] | None,
        Field(description="who may open a Unix socket: its user, its group too, or all users; null: by the umask"),
    ] = None

    @property
    def place(self) -> Address:
        return Address.parse(self.address)

    @property
    def open_doors(self) -> tuple[DoorName, ...]:
        """In one order, each once."""
        if not self.doors:
            return ("wyoming",) if self.place.wyoming else HTTP_DOORS
        return tuple(name for name in (*HTTP_DOORS, "wyoming") if name in self.doors)

    @model_validator(mode="after")
    def _fits(self) -> "ListenEntry":
        doors = self.open_doors
        if "wyoming" in doors and len(doors) > 1:
            raise PydanticCustomError(
                "listen", "wyoming speaks no HTTP: give it an address of its own", {"key": "doors"}
            )
        if self.place.wyoming and doors != ("wyoming",):
            raise PydanticCustomError(
                "listen", "tcp:// is for wyoming alone; leave it out for HTTP", {"key": "address"}
            )
        if self.open_to is not None and not self.place.path:
            raise PydanticCustomError("listen", "this is for Unix sockets alone", {"key": "open_to"})
        if "wyoming" in doors and self.tls:
            raise PydanticCustomError("listen", "the Wyoming protocol knows no TLS", {"key": "tls"})
        return self


class TokenEntry(Section):
    """One token. Its value is no part of the configuration: it stands in the environment or in ``.env``."""

    name: Annotated[ShortText, Field(description="what the log calls the holder")]
    env: Annotated[
        str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", description="environment variable that holds the token")
    ]
    role: Annotated[Literal["viewer", "performer", "owner"], Field(description="the most that it allows")] = "performer"
    sessions: Annotated[tuple[SessionName, ...], Field(description="sessions that it opens; empty: all")] = ()


class ServerConfig(Section):
    """Where the server listens, and who may come in."""

    host: Annotated[
        ShortText,
        Field(description="address to listen on; beyond this machine it needs tokens", json_schema_extra=OWNER),
    ] = "127.0.0.1"
    port: Annotated[
        int, Field(ge=0, le=65_535, description="TCP port; 0 takes any free one", json_schema_extra=OWNER)
    ] = 9601
    root_path: Annotated[
        Annotated[str, AfterValidator(_root_path)],
        Field(
            description="path below which a reverse proxy serves all of it; empty: at its root",
            examples=["/greenroom"],
            json_schema_extra=OWNER,
        ),
    ] = ""
    trusted_proxies: Annotated[
        tuple[Annotated[str, AfterValidator(_network)], ...],
        Field(
            max_length=256,
            description="reverse proxies whose X-Forwarded-For, -Proto, -Host, -Port and -Prefix count: addresses, "
            "networks, or unix for whoever comes through a Unix socket",
            examples=[["127.0.0.1", "10.0.0.0/8"]],
            json_schema_extra=OWNER,
        ),
    ] = ()
    tls: Annotated[
        Annotated[Literal["off", "auto"] | TlsFiles, BeforeValidator(_switch)],
        Field(
            description="https: off, auto (a certificate of its own in tls/ of the home) or {cert, key}, two PEM files",
            examples=["auto", {"cert": "/etc/ssl/greenroom.pem", "key": "/etc/ssl/greenroom.key"}],
            json_schema_extra=OWNER,
        ),
    ] = "off"
    allowed_origins: Annotated[
        tuple[Annotated[str, AfterValidator(_origin)], ...],
        Field(
            description="web origins allowed beside this machine's own",
            examples=[["https://overlay.example.org"]],
            json_schema_extra=OWNER,
        ),
    ] = ()
    allowed_hosts: Annotated[
        tuple[Annotated[str, AfterValidator(_host_name)], ...],
        Field(
            description="Host names that clients may use beside localhost and the listening address",
            examples=[["greenroom.lan"]],
            json_schema_extra=OWNER,
        ),
    ] = ()
    insecure: Annotated[
        bool, Field(description="listen beyond this machine without any token", json_schema_extra=OWNER)
    ] = False
    max_clients: Annotated[
        int, Field(ge=1, le=100_000, description="clients connected at once", json_schema_extra=OWNER)
    ] = 1000
    tokens: Annotated[
        tuple[TokenEntry, ...],
        Field(
            description="tokens, each named by the variable that holds it; GREENROOM_TOKEN is always an owner's",
            examples=[[{"name": "overlay", "env": "GREENROOM_OVERLAY_TOKEN", "role": "viewer", "sessions": ["main"]}]],
            json_schema_extra=OWNER,
        ),
    ] = ()

    @model_validator(mode="after")
    def _names_differ(self) -> "ServerConfig":
        names = [token.name for token in self.tokens]
        for name in names:
            if names.count(name) > 1:
                raise PydanticCustomError("duplicate", "two tokens are named {name}", {"name": name, "key": "tokens"})
        return self


class WyomingConfig(Section):
    """The Wyoming door, for Home Assistant. Its protocol has no tokens: who reaches it may talk to the character."""

    networks: Annotated[
        tuple[Annotated[str, AfterValidator(_ip_network)], ...],
        Field(
            max_length=256,
            description="who may use it from other machines: addresses or networks",
            examples=[["192.168.1.0/24"]],
            json_schema_extra=OWNER,
        ),
    ] = ()
    session: Annotated[
        str,
        Field(
            max_length=64,
            pattern=r"^[^/\\\x00-\x1f\x7f]*$",
            description="session that its conversation is held in; empty: session.default",
            json_schema_extra=OWNER,
        ),
    ] = ""
    announce: Annotated[
        bool,
        Field(
            description="tell the local network of it (zeroconf), unless only this machine can reach it",
            json_schema_extra=OWNER,
        ),
    ] = True
    max_clients: Annotated[int, Field(ge=1, le=10_000, description="connections at once", json_schema_extra=OWNER)] = 64


class JaisonConfig(Section):
    """What jaison's clients are told."""

    order: Annotated[
        Literal["live", "documented"],
        Field(
            description="order of a job's events: as its server sends them, or as its documents say",
            json_schema_extra=OWNER,
        ),
    ] = "live"
