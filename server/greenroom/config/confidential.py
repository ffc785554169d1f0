"""What counts as a secret. Secrets stand in the environment or in ``.env``, never in a configuration."""

import re
from urllib.parse import urlsplit

_SECRET_KEY = re.compile(
    r"(?:^|[_\-])(?:api_?key|secret|secret_?key|private_?key|password|passwd|passphrase|credentials?)$"
    r"|^(?:auth|access|bearer|refresh)?_?token$|^(?:key|authorization|subscription_key)$",
    re.IGNORECASE,
)
_PASSWORD_IN_URL = re.compile(r"(://[^/@\s:]*:)[^/@\s]+@")


def is_secret_key(name: str) -> bool:
    """Whether a key of this name would hold a secret (``api_key`` does, ``api_key_env`` and ``max_tokens`` do not)."""
    return _SECRET_KEY.search(name) is not None


def has_password(url: str) -> bool:
    """Whether a URL carries one, in its authority or as a parameter."""
    if _PASSWORD_IN_URL.search(url):
        return True
    if "://" not in url:
        return False
    try:
        query = urlsplit(url).query
    except ValueError:
        return False
    return any(is_secret_key(part.partition("=")[0]) and part.partition("=")[2] for part in query.split("&"))


def without_password(text: str) -> str:
    """The text with every ``user:password@`` of a URL masked, for messages."""
    return _PASSWORD_IN_URL.sub(r"\1***@", text)
