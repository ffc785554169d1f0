"""Opening links: an HTTP/1.1 upgrade with the secret in its header, over a unix socket, TCP or TLS.

    GET /binding/espeak HTTP/1.1            HTTP/1.1 101 Switching Protocols
    Upgrade: greenroom-binding-1    --->    Upgrade: greenroom-binding-1
    Authorization: Bearer ...               frames, both ways

The number in the upgrade's name is the version of the frames: two that differ refuse each other by name.
"""

import asyncio
import hmac
import ssl
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from greenroom.bindings.isolation.link import Link
from greenroom.errors import BadRequest, BindingFailed, Unauthorized, Unavailable

PROTOCOL: Final = "greenroom-binding-1"
HANDSHAKE_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Address:
    """``unix:/path`` or ``http(s)://host:port``."""

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


async def open_link(address: Address, binding_id: str, token: str) -> Link:
    """:raises Unavailable: if nobody is there. :raises Unauthorized, BindingFailed: if they do not want us."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(HANDSHAKE_S):
            link: Link
            if address.path:
                _, link = await loop.create_unix_connection(Link, address.path)
            else:
                context = ssl.create_default_context() if address.tls else None
                _, link = await loop.create_connection(Link, address.host, address.port, ssl=context)
            try:
                host = "localhost" if address.path else address.host
                link.write_head(
                    f"GET /binding/{binding_id} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\n"
                    f"Upgrade: {PROTOCOL}\r\nAuthorization: Bearer {token}\r\n\r\n"
                )
                _judge(await link.head(), address, binding_id)
            except BaseException:
                link.abort()
                raise
            return link
    except TimeoutError:
        raise Unavailable(f"{binding_id} at {address} did not answer within {HANDSHAKE_S:g} s") from None
    except OSError as error:
        raise Unavailable(f"{binding_id} cannot be reached at {address}: {error.strerror or error}") from error


def _judge(head: bytes, address: Address, binding_id: str) -> None:
    status, *_ = head.decode("latin-1").split("\r\n")
    code = status.split(" ")[1] if status.startswith("HTTP/1.1 ") else ""
    match code:
        case "101":
            return
        case "401":
            raise Unauthorized(f"{address} wants another token for {binding_id}; set GREENROOM_BIND_TOKEN")
        case "404":
            raise BindingFailed(f"{address} does not serve {binding_id}")
        case "426":
            raise BindingFailed(f"{address} speaks another version than {PROTOCOL}: update the older of the two")
    raise BindingFailed(f"{address} is no binding of Greenroom; it answered {status[:80]!r}")


async def greet(link: Link, binding_id: str, token: str) -> bool:
    """The serving side. -> whether the other may go on; if not, it has been told why."""
    try:
        async with asyncio.timeout(HANDSHAKE_S):
            head = await link.head()
    except (TimeoutError, ConnectionError):
        link.abort()
        return False
    request, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    wanted = f"Bearer {token}"
    if not hmac.compare_digest(headers.get("authorization", "").encode(), wanted.encode()):
        refused = "401 Unauthorized"
    elif headers.get("upgrade") != PROTOCOL:
        refused = "426 Upgrade Required"
    elif request != f"GET /binding/{binding_id} HTTP/1.1":
        refused = "404 Not Found"
    else:
        link.write_head(f"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {PROTOCOL}\r\n\r\n")
        return True
    link.write_head(f"HTTP/1.1 {refused}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    link.close()
    return False
