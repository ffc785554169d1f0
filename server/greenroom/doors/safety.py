"""Who may come in: where a request comes from (Host, Origin) and what its token allows. One place for every door.

Two dangers on a server that listens on localhost are web pages: one on a foreign origin that talks to it, and one whose
name is rebound to 127.0.0.1 so that the browser believes it to be the same origin. The first has a foreign ``Origin``,
the second a foreign ``Host``. Both are looked up in an allow-list; comparing them with each other would let the second
in, since there they agree.
"""

import hashlib
import hmac
import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from greenroom.errors import BadRequest, Forbidden, Unauthorized
from greenroom.protocol.grant import Grant
from greenroom.values import Access

_DEFAULT_PORTS: Mapping[str, int] = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Token:
    """``sessions``: those that it opens; empty: all."""

    value: str = field(repr=False)
    access: Access
    sessions: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Source:
    """What a request says of where it comes from, and the local address at which it arrived."""

    host: str | None = None
    origin: str | None = None
    cross_site: bool = False
    """the browser says that another site's page made the request"""
    local_address: str = ""
    local_port: int | None = None
    ambiguous: bool = False
    """a header that must stand once stands several times"""

    @classmethod
    def of(cls, scope: Mapping[str, Any]) -> "Source":
        """From an ASGI scope."""
        values: dict[bytes, list[str]] = {b"host": [], b"origin": [], b"sec-fetch-site": []}
        for name, value in scope["headers"]:
            if (found := values.get(name.lower())) is not None:
                found.append(value.decode("latin-1").strip())
        host, origin = values[b"host"], values[b"origin"]
        server = scope.get("server") or ("", None)
        return cls(
            host=host[0] if host else None,
            origin=origin[0] if origin else None,
            cross_site=values[b"sec-fetch-site"][:1] == ["cross-site"],
            local_address=str(server[0]),
            local_port=server[1],
            ambiguous=len(host) > 1 or len(origin) > 1,
        )


def is_loopback(host: str) -> bool:
    """Whether a name or address means this machine and nothing else."""
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost":
        return True
    address = _address(name)
    return address is not None and address.is_loopback


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return None
    return address.ipv4_mapped or address if isinstance(address, ipaddress.IPv6Address) else address


def _same_name(one: str, other: str) -> bool:
    first, second = _address(one), _address(other)
    return first == second if first is not None and second is not None else one == other


def _split(authority: str, default_port: int | None = None) -> tuple[str, int | None] | None:
    """``name[:port]`` -> name in lower case, port; ``None`` if it is neither."""
    try:
        parts = urlsplit(f"//{authority}")
        name, port = parts.hostname, parts.port
    except ValueError:
        return None
    if not name or parts.path or parts.query or parts.fragment or parts.username is not None:
        return None
    return name.rstrip("."), port if port is not None else default_port


class Guard:
    """:param host: the address that the server listens on.
    :param further: other addresses that it listens on.
    :param allowed_hosts: further names that clients may use for it (``greenroom.lan``, ``greenroom.lan:8080``).
    :param allowed_origins: origins of web pages beside the server's own (``https://overlay.example.org``, ``null``).
    :param insecure: the owner wants it to be reachable from other machines without any token.
    :raises BadRequest: the combination is not safe, or an entry makes no sense.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        further: Iterable[str] = (),
        tokens: Iterable[Token] = (),
        allowed_hosts: Iterable[str] = (),
        allowed_origins: Iterable[str] = (),
        insecure: bool = False,
    ) -> None:
        self._tokens = [(_digest(token.value), token) for token in tokens]
        if any(not token.value for _, token in self._tokens):
            raise BadRequest("a token is empty")
        own = (host, *further)
        for each in own:
            if not is_loopback(each) and not self._tokens and not insecure:
                raise BadRequest(
                    f"listening on {each} lets other machines in: "
                    "set a token, or start with --insecure if that is meant"
                )
        self._hosts: set[str] = set()
        for entry in (*own, *allowed_hosts):
            parts = _split(f"[{entry}]" if entry.count(":") > 1 and not entry.startswith("[") else entry)
            if parts is None:
                raise BadRequest(f"{entry!r} is no host name")
            address = _address(parts[0])
            if address is None or not address.is_unspecified:
                self._hosts.add(parts[0])
        self._origins = {_origin(entry) for entry in allowed_origins}

    @property
    def has_tokens(self) -> bool:
        return bool(self._tokens)

    def check_host(self, source: Source) -> None:
        """:raises Forbidden: the name by which the server was addressed is not one of its own."""
        if source.ambiguous:
            raise Forbidden("the Host or Origin header stands more than once")
        if source.host is None:
            return
        parts = _split(source.host)
        if parts is None or not self._is_own(parts[0], source):
            raise Forbidden(
                f"this server does not go by the name {source.host[:100]!r}; "
                "if it should, add it to server.allowed_hosts in the configuration"
            )

    def check(self, source: Source) -> None:
        """For sockets and for requests that change something.

        :raises Forbidden: the name by which the server was addressed, or the page that asks, is not allowed.
        """
        self.check_host(source)
        if source.origin is None:
            if source.cross_site:
                raise Forbidden("another site's page may not use this server")
            return
        if not self.allows_origin(source):
            raise Forbidden(
                f"pages of {source.origin[:100]!r} may not use this server; "
                "if they should, add it to server.allowed_origins in the configuration"
            )

    def allows_origin(self, source: Source) -> bool:
        """The server's own pages, and what the owner listed."""
        if source.origin is None:
            return False
        try:
            origin = _origin(source.origin)
        except BadRequest:
            return False
        if origin in self._origins:
            return True
        scheme, _, authority = origin.partition("://")
        parts = _split(authority, _DEFAULT_PORTS.get(scheme))
        if scheme not in _DEFAULT_PORTS or parts is None:
            return False
        return parts[1] == source.local_port and self._is_own(parts[0], source)

    def _is_own(self, name: str, source: Source) -> bool:
        if is_loopback(name) or name in self._hosts:
            return True
        # A browser that connected to a bare address cannot have been misled by a name.
        return _address(name) is not None and _same_name(name, source.local_address)

    def grant(self, token: str | None, role: str | None = None) -> Grant:
        """What a token allows, or the lower ``role`` asked for. Without tokens everyone is owner.

        :raises Unauthorized: no token, or an unknown one. :raises Forbidden: ``role`` is above the token's.
        :raises BadRequest: unknown role.
        """
        grant = self._full_grant(token)
        if role is None:
            return grant
        try:
            wanted = Access.parse(role)
        except ValueError as error:
            raise BadRequest(str(error)) from None
        if wanted > grant.access:
            raise Forbidden(f"your token's role is {grant.access}, not {wanted}")
        return Grant(wanted, grant.sessions)

    def knows(self, token: str) -> bool:
        """Whether it is one of those that let somebody in."""
        return self._found(token) is not None

    def _full_grant(self, token: str | None) -> Grant:
        if not self._tokens:
            return Grant(Access.OWNER)
        if not token:
            raise Unauthorized("this server wants a token")
        found = self._found(token)
        if found is None:
            raise Unauthorized("this token is not known here")
        return Grant(found.access, found.sessions)

    def _found(self, token: str) -> Token | None:
        given = _digest(token)
        found: Token | None = None
        for digest, known in self._tokens:
            # Every token is compared, in a time that does not depend on where they differ.
            if hmac.compare_digest(digest, given):
                found = known
        return found


def _digest(value: str) -> bytes:
    return hashlib.sha256(value.encode("utf-8", "surrogatepass")).digest()


def _origin(value: str) -> str:
    """Normal form ``scheme://name[:port]`` without the scheme's own port. :raises BadRequest: it is no origin."""
    text = value.strip().lower()
    if text == "null":
        return text
    scheme, separator, authority = text.rstrip("/").partition("://")
    parts = _split(authority)
    if not separator or not scheme or parts is None:
        raise BadRequest(f"{value[:100]!r} is no origin such as https://example.org:8080")
    name, port = parts
    shown = f"[{name}]" if ":" in name else name
    return f"{scheme}://{shown}" if port is None or port == _DEFAULT_PORTS.get(scheme) else f"{scheme}://{shown}:{port}"
