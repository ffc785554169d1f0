"""Which certificate of an https server is trusted beside the system's: the one that this machine's server has made."""

import os
from pathlib import Path

from greenroom.errors import GreenroomError
from greenroom.paths import find_home


def own_certificate(url: str) -> Path | None:
    """The home's, for an https address; ``None`` if there is none."""
    if not url.lower().startswith(("https:", "wss:")):
        return None
    try:
        found = find_home(env=os.environ).tls / "cert.pem"
    except GreenroomError:
        return None
    return found if found.is_file() else None
