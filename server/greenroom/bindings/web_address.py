"""Addresses of servers, as options hold them."""

from urllib.parse import urlsplit


def web_address(value: str, example: str) -> str:
    """Without white space around it. :raises ValueError: for anything that is no plain http or https address."""
    value = value.strip()
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"wanted an address such as {example}")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("wanted an address without user, password, query or fragment")
    if parts.port == 0:  # reading it raises ValueError for one that is no number, or too large
        raise ValueError("there is no port 0")
    return value
