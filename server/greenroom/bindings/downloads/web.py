"""Requests over the network: redirects followed by hand, so that a token never leaves the host that it belongs to."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, urljoin

import httpx

from greenroom import __version__
from greenroom.bindings.downloads.addresses import checked_url, is_loopback, origin, spoken
from greenroom.bindings.downloads.checksum import Checksum
from greenroom.bindings.downloads.failures import Interruption
from greenroom.bindings.retrying import retry_after_s
from greenroom.errors import BindingFailed

_MAX_REDIRECTS: Final = 10
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


_LINKED: Final = ("x-linked-size", "x-linked-etag")
"""what a hub says of a large file when it sends us on to where it lies: its length and SHA-256"""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long is waited, how often is tried. The defaults suit a home's connection."""

    connect_s: float = 20.0
    silent_s: float = 40.0
    """without a byte"""
    attempts: int = 6
    """in a row without a byte"""
    first_wait_s: float = 1.0
    """doubled with each attempt"""
    longest_wait_s: float = 60.0
    """also of what a server asks for; if it asks for more, we give up and say so"""

    def wait_s(self, failures: int) -> float:
        return min(self.longest_wait_s, self.first_wait_s * 2.0 ** (failures - 1))


@dataclass(frozen=True, slots=True)
class Login:
    """A token, and the one place where it may go."""

    origin: tuple[str, str, int]
    token: str


class Web:
    """Close it with :meth:`close`. Making one reads certificates: not on the event loop."""

    def __init__(self, patience: Patience, login: Login | None = None) -> None:
        self._login = login
        # A proxy has nothing to do with what is on this very machine.
        direct: dict[str, httpx.AsyncBaseTransport | None] = dict.fromkeys(
            ("all://127.0.0.1", "all://localhost", "all://[::1]")
        )
        self._client = httpx.AsyncClient(
            follow_redirects=False,
            timeout=httpx.Timeout(patience.silent_s, connect=patience.connect_s),
            headers={"User-Agent": f"greenroom/{__version__}", "Accept-Encoding": "identity"},
            mounts=direct,
        )

    async def close(self) -> None:
        await self._client.aclose()

    @property
    def has_token(self) -> bool:
        return self._login is not None

    @asynccontextmanager
    async def open(
        self, url: str, headers: Mapping[str, str] | None = None, method: str = "GET"
    ) -> AsyncIterator[httpx.Response]:
        """The answer at the end of all redirects, its body unread.

        :raises Interruption: the network failed, also while the body is read.
        :raises BindingFailed: a redirect leads where we do not go.
        """
        try:
            response = await self._follow(url, dict(headers or {}), method)
            try:
                yield response
            finally:
                await response.aclose()
        except httpx.InvalidURL as error:
            raise BindingFailed(f"{spoken(url)} is no address: {_reason(error)}") from error
        except httpx.TimeoutException as error:
            raise Interruption("the server did not answer in time") from error
        except httpx.ConnectError as error:
            raise Interruption(f"no connection ({_reason(error)})") from error
        except httpx.HTTPError as error:
            raise Interruption(f"the connection was cut off ({_reason(error)})") from error

    async def _follow(self, url: str, headers: Mapping[str, str], method: str) -> httpx.Response:
        local = is_loopback(_parts(url, url).hostname or "")
        asked = url
        linked: dict[str, str] = {}
        for _ in range(_MAX_REDIRECTS + 1):
            parts = _parts(url, asked)
            if is_loopback(parts.hostname or "") and not local:
                raise BindingFailed(
                    f"{spoken(asked)} leads to an address of this very machine; nothing is fetched there"
                )
            own = dict(headers)
            if self._login is not None and origin(parts) == self._login.origin:
                own["Authorization"] = f"Bearer {self._login.token}"
            response = await self._client.send(self._client.build_request(method, url, headers=own), stream=True)
            linked |= {name: response.headers[name] for name in _LINKED if name in response.headers}
            if response.status_code not in _REDIRECTS or "location" not in response.headers:
                response.extensions["linked"] = linked
                return response
            await response.aclose()
            url = urljoin(url, response.headers["location"])
        raise BindingFailed(f"{spoken(asked)} leads in circles")


def announced(response: httpx.Response) -> tuple[int | None, Checksum | None]:
    """Of the whole file: bytes, and its SHA-256 where a hub tells it."""
    linked = response.extensions.get("linked", {})
    length = linked.get("x-linked-size") or response.headers.get("content-length", "")
    try:
        checksum = Checksum.parse("sha256", linked.get("x-linked-etag", "").strip('"'))
    except ValueError:
        checksum = None
    return (int(length) if length.isdigit() else None), checksum


def _parts(url: str, asked: str) -> SplitResult:
    """:raises BindingFailed: nothing is fetched from there."""
    try:
        return checked_url(url)
    except ValueError as error:
        raise BindingFailed(f"{spoken(asked)} leads to {spoken(url)[:200]!r}, which is not used: {error}") from None


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def transient(response: httpx.Response, patience: Patience) -> Interruption | None:
    """What a server says that is busy or broken for the moment; ``None`` for every other answer."""
    status = response.status_code
    if status == 429 or status == 503:
        asked = retry_after_s(response.headers)
        what = "wants fewer requests" if status == 429 else "is overloaded"
        if asked is not None and asked > patience.longest_wait_s:
            return Interruption(f"the server {what} and asks to wait for {asked:.0f} s", asked)
        return Interruption(f"the server {what} (status {status})", asked)
    if status in (408, 425) or status >= 500:
        return Interruption(f"the server answered with status {status}")
    return None
