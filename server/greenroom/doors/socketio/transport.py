"""engine.io, without what only its client needs.

``import engineio`` brings its client, and that brings aiohttp and requests: a quarter of the start, for what a server
has no use for. Here they are loaded when something of them is touched; the door imports engine.io from here alone.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

_OF_ITS_CLIENT = ("aiohttp", "requests", "websocket")


class _Deferred(ModuleType):
    """Stands for a module in the name space of whoever imported it; the real one comes with the first attribute."""

    def __getattr__(self, name: str) -> Any:
        return getattr(import_module(self.__name__), name)


@contextmanager
def _deferred(*names: str) -> Iterator[None]:
    stand_ins = {name: _Deferred(name) for name in names if name not in sys.modules}
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        for name in stand_ins:
            sys.modules.pop(name, None)


with _deferred(*_OF_ITS_CLIENT):
    import engineio
    from engineio import exceptions
    from engineio.packet import MESSAGE, NOOP, Packet

__all__ = ["MESSAGE", "NOOP", "Packet", "engineio", "exceptions"]
