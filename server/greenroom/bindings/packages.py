"""The Python packages that a binding needs, imported when it is first used."""

import importlib
from collections.abc import Iterable

from greenroom.errors import Unavailable


def load_packages(binding_id: str, names: Iterable[str]) -> None:
    """Not on the event loop: some take seconds. :raises Unavailable: naming what is missing, and the command for it."""
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise Unavailable(
                f'{binding_id} needs the package {name} ({error}); install with: pip install "greenroom[{binding_id}]"'
            ) from error
