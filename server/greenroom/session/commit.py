"""What is stored and what is told must not come apart where a job is cancelled between the two."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def committed(work: Coroutine[Any, Any, T]) -> T:
    """Do it to its end, once begun; a cancellation is raised only then."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        if not task.cancelled():
            task.exception()  # the cancellation is what is raised
        try:
            raise cancelled
        finally:
            del cancelled  # else it and this frame hold each other
    return task.result()
