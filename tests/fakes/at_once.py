"""Holds the first requests to a fake server until there are so many of them, so that none of them profits from what
another was told."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

E = TypeVar("E")
R = TypeVar("R")


def first_at_once(
    answer: Callable[[E, R], Coroutine[Any, Any, None]], exchanges: Sequence[E], count: int = 2
) -> Callable[[E, R], Coroutine[Any, Any, None]]:
    """:param exchanges: those so far, the one that is answered included"""
    together = asyncio.Barrier(count)

    async def held(exchange: E, reply: R) -> None:
        if len(exchanges) <= count:
            await together.wait()
        await answer(exchange, reply)

    return held
