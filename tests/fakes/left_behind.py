"""What would stay in memory until Python looks for garbage, which it seldom does among what has lived for a while.

with unswept() as circles:
    ...
    assert circles() == {}
"""

import asyncio
import gc
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from greenroom.bindings.roles import Binding


@contextmanager
def unswept() -> Iterator[Callable[[], Counter[str]]]:
    """Python does not look for garbage meanwhile. The function counts what it would find, of Greenroom's own classes:
    objects that nobody holds but they each other. It finds them once."""
    gc.collect()
    gc.disable()
    try:
        yield _found
    finally:
        gc.enable()


def _found() -> Counter[str]:
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        gc.collect()
    finally:
        gc.set_debug(0)
    found = Counter(type(one).__qualname__ for one in gc.garbage if _is_ours(one))
    gc.garbage.clear()
    return found


def alive() -> Counter[str]:
    """All objects of Greenroom's own classes, by class."""
    gc.collect()
    return Counter(type(one).__qualname__ for one in gc.get_objects() if _is_ours(one))


def _is_ours(found: object) -> bool:
    """The store's are not looked at: its thread lets go of them when it comes to it. Nor are bindings: those of an
    earlier test's home go with their module when this test's home is the first to load one of the same name."""
    module = str(type(found).__module__)
    return module.startswith("greenroom.") and not module.startswith("greenroom.store.") and type(found) is not Binding


def requests() -> set[asyncio.Task[Any]]:
    """What the servers in this event loop are at work on: uvicorn's requests and websockets, Wyoming's connections."""
    return {task for task in asyncio.all_tasks() if getattr(task.get_coro(), "__name__", "") in ("run_asgi", "_came")}
