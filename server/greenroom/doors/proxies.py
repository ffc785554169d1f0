"""Reverse proxies: which of them are believed, and what a request was before it came through one.

    nginx: https://example.org/greenroom/api/x  -->  GET /api/x, Host: 127.0.0.1:9601, X-Forwarded-...
    here:  scheme https, Host example.org, root_path /greenroom, path /greenroom/api/x

Whoever is not listed is not believed: its ``X-Forwarded-`` headers change nothing. Where several proxies stand in a
row, the one next to us has the last word.
"""

import ipaddress
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from greenroom.doors.asgi import Scope

UNIX: Final = "unix"
"""in the list of proxies: whoever comes through a Unix socket"""
_PREFIX = re.compile(r"(/[A-Za-z0-9_~.\-]+)+")
_HEADERS: Final = frozenset(
    {b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-port", b"x-forwarded-prefix"}
)
_PORTS: Final[Mapping[str, int]] = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_SECURE: Final[Mapping[str, tuple[str, str]]] = {"http": ("http", "ws"), "https": ("https", "wss")}

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Proxies:
    """:param trusted: addresses and networks, or ``unix``.
    :param root_path: below which clients see the server; a trusted proxy's ``X-Forwarded-Prefix`` comes first.
    :raises ValueError: for what is no network.
    """

    def __init__(self, trusted: Iterable[str] = (), root_path: str = "") -> None:
        names = list(trusted)
        self._networks: list[Network] = [ipaddress.ip_network(name, strict=False) for name in names if name != UNIX]
        self._unix = UNIX in names
        self._root_path = root_path

    def as_sent(self, scope: Scope) -> Scope:
        """The scope as the client meant it: the same one, or a copy with scheme, client, Host and path put right."""
        told = self._told(scope) if self._networks or self._unix else {}
        root = _prefix(told.get(b"x-forwarded-prefix", "")) or self._root_path
        if not told and not root:
            return scope
        changed = dict(scope)
        if told:
            self._readdress(changed, told)
        path = str(scope["path"])
        inner = path[len(root) :] if path == root or path.startswith(f"{root}/") else path
        changed["root_path"] = root
        changed["path"] = root + (inner or "/")
        return changed

    def _told(self, scope: Scope) -> dict[bytes, str]:
        """What a trusted proxy says; the last of several headers of a name, except for the chain of addresses."""
        client = scope.get("client")
        if not (self._trusts(str(client[0])) if client else self._unix and _came_by_unix(scope)):
            return {}
        told: dict[bytes, str] = {}
        for name, value in scope["headers"]:
            if name in _HEADERS:
                text = value.decode("latin-1").strip()
                chain = name == b"x-forwarded-for"
                told[name] = f"{told[name]},{text}" if chain and name in told else text
        return told

    def _trusts(self, address: str) -> bool:
        try:
            found = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped:
            found = found.ipv4_mapped
        return any(found in network for network in self._networks)

    def _readdress(self, scope: dict[str, Any], told: Mapping[bytes, str]) -> None:
        client = self._client(told.get(b"x-forwarded-for", ""))
        if client:
            scope["client"] = (client, 0)
        secure = _SECURE.get(_last(told.get(b"x-forwarded-proto", "")).lower().replace("ws", "http"))
        if secure is not None:
            scope["scheme"] = secure[scope["type"] == "websocket"]
        host = _last(told.get(b"x-forwarded-host", ""))
        if host:
            rest = [(name, value) for name, value in scope["headers"] if name != b"host"]
            scope["headers"] = [*rest, (b"host", host.encode("latin-1"))]
        else:
            host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")
        name, port = _authority(host)
        if secure is None and not told.get(b"x-forwarded-host") and b"x-forwarded-port" not in told:
            return
        given = _last(told.get(b"x-forwarded-port", ""))
        if given.isdecimal() and 0 < int(given) < 65_536:
            port = int(given)
        # What it listens on is the proxy's address: a page of that origin is the server's own.
        scope["server"] = (name, port if port is not None else _PORTS.get(str(scope.get("scheme")), 80))

    def _client(self, chain: str) -> str:
        """The last address in it that is no trusted proxy's; the first, if all are."""
        found = ""
        for part in reversed(chain.split(",")):
            address = _bare(part.strip())
            if not address:
                break
            found = address
            if not self._trusts(address):
                break
        return found


def _came_by_unix(scope: Scope) -> bool:
    """No port of ours. A peer without an address may also be one that has hung up at once."""
    server = scope.get("server")
    return not server or server[1] is None


def _last(value: str) -> str:
    return value.rpartition(",")[2].strip()


def _prefix(value: str) -> str:
    path = _last(value).rstrip("/")
    return path if _PREFIX.fullmatch(path) and ".." not in path else ""


def _bare(text: str) -> str:
    """``1.2.3.4:80``, ``[::1]:80``, ``::1`` -> the address; empty for what is none."""
    inner = text[1:].partition("]")[0] if text.startswith("[") else text
    if inner.count(":") == 1:
        inner = inner.partition(":")[0]
    try:
        return str(ipaddress.ip_address(inner))
    except ValueError:
        return ""


def _authority(host: str) -> tuple[str, int | None]:
    name, separator, port = host.rpartition(":")
    if not separator or "]" in port or not port.isdecimal():
        return host.strip("[]").lower(), None
    return name.strip("[]").lower(), int(port)
