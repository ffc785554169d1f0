"""When Python looks for garbage: often among what is young, and among all of it only while nobody is listening.

What sessions keep (their replay logs above all) lives for minutes, and a full collection walks over every object of it:
with a hundred speaking sessions 0.1 to 0.5 s every few seconds in which nothing is sent, for no garbage at all. So full
collections wait for a moment in which no job runs, at most ten minutes.
"""

import asyncio
import gc
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

_THRESHOLDS: Final = (2_000, 5, 1_000_000)
"""a collection of the middle generation then sees some 10,000 objects: a few milliseconds"""
_LOOK_EVERY_S: Final = 30.0
_LONGEST_S: Final = 600.0


@contextmanager
def postponed() -> Iterator[None]:
    """For a process that serves: no full collection of Python's own accord, nor of what is left when it goes."""
    before = gc.get_threshold()
    gc.set_threshold(*_THRESHOLDS)
    try:
        yield
    finally:
        gc.freeze()
        gc.set_threshold(*before)


def give_back() -> None:
    """Memory that is free already goes back to the system, where the allocator can be told to (glibc's).

    By itself it keeps what lies between two blocks in use: once sessions have let go of their sound, most of it. For a
    thread: whoever wants memory meanwhile waits.
    """
    if sys.platform != "linux":
        return
    try:
        import ctypes

        trim = ctypes.CDLL(None).malloc_trim
    except (ImportError, OSError, AttributeError):  # a Python without ctypes, one linked statically, another libc
        return
    trim(0)


async def collect_when(idle: Callable[[], bool]) -> None:
    """Until it is cancelled: a full collection in idle moments. What there is now is for good and never looked at."""
    gc.collect()
    gc.freeze()
    collected_at = time.monotonic()
    while True:
        await asyncio.sleep(_LOOK_EVERY_S)
        if idle() or time.monotonic() - collected_at > _LONGEST_S:
            gc.collect()
            collected_at = time.monotonic()
