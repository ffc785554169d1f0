"""Where a client calls, and how."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from greenroom.rpc.limits import MIB

UNIX: Final = "unix:"


@dataclass(frozen=True, slots=True)
class ClientOptions:
    """
    :param secret: shown as a bearer token.
    :param timeout_s: without a byte from the server; ``None`` waits for ever, as a method may take its time.
    :param connect_timeout_s: until a connection stands.
    :param verify: a TLS context, or ``False`` to take any certificate.
    :param proxy: URL of one; the environment's is not used, as calls stay in the house.
    :param headers: sent with every call.
    :param spare_sockets: websockets kept open beside the ones in use, so that a call need not wait for a handshake.
    :param spare_delay_s: how long after the call that took one the next spare one is opened, so as not to slow that
        call's first item.
    :param message_bytes: the largest websocket message that is taken.
    :param stream_bytes: of a stream that wait between its two ends, in each direction.
    :param threads: of a client that draws uploads from plain iterables, at once.
    """

    secret: str = ""
    timeout_s: float | None = None
    connect_timeout_s: float = 10.0
    verify: ssl.SSLContext | bool = True
    proxy: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    spare_sockets: int = 0
    spare_delay_s: float = 0.0
    message_bytes: int = 256 * MIB
    stream_bytes: int = MIB
    threads: int = 40

    @property
    def all_headers(self) -> dict[str, str]:
        return {**self.headers, **({"authorization": f"Bearer {self.secret}"} if self.secret else {})}

    def tls(self) -> ssl.SSLContext:
        if isinstance(self.verify, ssl.SSLContext):
            return self.verify
        context = ssl.create_default_context()
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


@dataclass(frozen=True, slots=True)
class Target:
    """:param uds: the path of a unix socket; empty for TCP.
    :param http: the start of HTTP URLs; of a unix socket, a name that only its server hears.
    """

    uds: str
    http: str
    websocket: str

    @classmethod
    def of(cls, base_url: str) -> "Target":
        """:param base_url: ``http://host:port[/path]``, ``https://...`` or ``unix:/path/of/socket``.
        :raises ValueError: for anything else
        """
        if base_url.startswith(UNIX):
            return cls(base_url.removeprefix(UNIX), "http://localhost", "ws://localhost")
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ValueError(f"{base_url!r} is no base URL: give http://host:port, https://host or unix:/path")
        bare = base_url.rstrip("/")
        return cls("", bare, "ws" + bare.removeprefix("http"))
