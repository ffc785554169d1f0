"""Which addresses files are fetched from: https, or http on this very machine; never with a password in them."""

import ipaddress
from urllib.parse import SplitResult, urlsplit


def checked_url(url: str) -> SplitResult:
    """:raises ValueError: why nothing is fetched from there."""
    parts = urlsplit(url)
    if any(ord(letter) <= 0x20 or ord(letter) == 0x7F for letter in url):
        raise ValueError("the URL holds blanks or control characters")
    if not parts.hostname or parts.scheme not in ("https", "http"):
        raise ValueError("wanted a URL that begins with https://")
    if "@" in parts.netloc:
        raise ValueError("the URL holds a user or a password; leave them out")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise ValueError(f"{parts.hostname} is asked for without encryption; wanted https://")
    parts.port  # noqa: B018 -- raises for one that is none
    return parts


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def origin(parts: SplitResult) -> tuple[str, str, int]:
    """Scheme, host and port: what a token may go to."""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return parts.scheme, (parts.hostname or "").lower(), port


def spoken(url: str) -> str:
    """An address for a sentence: without the parameters, which may be a signature."""
    parts = urlsplit(url)
    return f"{parts.netloc}{parts.path}"
