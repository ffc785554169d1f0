"""An operation held open in a binding's host, for as long as one call of it lasts."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from greenroom.bindings.isolation.service import OPEN, BindingApi
from greenroom.errors import BindingFailed, GreenroomError
from greenroom.log import bound_ids
from greenroom.values import Role


class Lease:
    """Made by :meth:`taken`. ``lost``: the host has let go of the operation, or is gone."""

    def __init__(self) -> None:
        self.lost = False
        self._leave = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None

    @classmethod
    async def taken(cls, api: BindingApi, operation: str, role: Role, options: Mapping[str, Any]) -> "Lease":
        """:raises GreenroomError: as opening the operation does"""
        lease = cls()
        told = api.hold(
            operation=operation, role=str(role), options=dict(options), ids=bound_ids(), until=lease._until()
        )
        try:
            if await anext(told, b"") != OPEN:
                raise BindingFailed("an isolated binding did not open its operation, and did not say why")
        except BaseException:
            await told.aclose()
            raise
        lease._watching = asyncio.create_task(lease._watch(told), name="lease")
        return lease

    async def end(self) -> None:
        """Let go, and wait until that has happened over there."""
        self._leave.set()
        if self._watching is not None:
            await asyncio.shield(self._watching)

    async def drop(self) -> None:
        """Let go at once."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)

    async def _until(self) -> AsyncGenerator[bytes, None]:
        await self._leave.wait()
        return
        yield b""

    async def _watch(self, told: AsyncGenerator[bytes, None]) -> None:
        try:
            with contextlib.suppress(GreenroomError):  # whoever calls next is told why
                async with contextlib.aclosing(told):
                    async for _ in told:
                        pass
        finally:
            self.lost = True
