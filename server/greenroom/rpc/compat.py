"""The names under which users of foundation_kaia know this library.

    import greenroom.rpc.compat
    from foundation_kaia.marshalling import service, endpoint, Server, ApiCall

``foundation_kaia`` and its modules then are views on ours; each name is looked up where it is first used. The same tree
is found below this module: ``from greenroom.rpc.compat.marshalling import service``. An installed package of that name
is hidden, for this process and the forks that it starts, until :func:`uninstall`; one that is imported already stays.
"""

import sys
from importlib import import_module
from typing import Final

from greenroom.rpc.kaia_names import DOOR, NAMES, ROOT, install, is_installed, uninstall

__all__ = ["install", "is_installed", "uninstall"]

__path__: Final[list[str]] = []
"""makes this a package, so that there are modules below it"""


def __getattr__(name: str) -> object:
    """Any name of theirs."""
    for place in NAMES:
        if any(name in names.split() for names in NAMES[place].values()):
            found: object = getattr(import_module(f"{DOOR}{place}" if place else f"{DOOR}.fork"), name)
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


if ROOT not in sys.modules:
    install()
