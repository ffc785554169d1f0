"""Where an isolated binding runs, as the parent sees it: links to it, one of them always in reserve.

async with peer.link() as link:  ...      a link for one call; it goes back if the call came to its end
peer.generation                           changes when whatever was open over there is gone
"""

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections import deque
from typing import Final

from greenroom.bindings.isolation.handshake import Address, open_link
from greenroom.bindings.isolation.link import Link
from greenroom.errors import BindingFailed, GreenroomError

MAX_SPARE: Final = 8
REFILL_S: Final = 0.02
"""the reserve is filled up a little later: not while the stream that took it waits for its first item"""


class Peer(ABC):
    def __init__(self, binding_id: str) -> None:
        self.binding_id = binding_id
        self.generation = 0
        self._spare: deque[Link] = deque()
        self._active = 0
        self._refill_due: asyncio.TimerHandle | None = None
        self._refilling: asyncio.Task[None] | None = None
        self._closed = False

    @abstractmethod
    async def connect(self) -> Link:
        """A new link; starts what has to be started. :raises GreenroomError: with what is in the way."""

    @abstractmethod
    async def failure(self) -> BindingFailed:
        """Why a link was lost."""

    def went_idle(self) -> None:  # noqa: B027 -- most have nothing to do
        """The last link in use has come back."""

    def became_busy(self) -> None:  # noqa: B027 -- as above
        """The first link is about to be used."""

    @property
    def active(self) -> int:
        return self._active

    async def take(self) -> Link:
        """A link for one call. Give it back exactly once, with :meth:`give_back`."""
        if self._closed:
            raise BindingFailed(f"{self.binding_id} is being closed", retryable=True)
        self._active += 1
        if self._active == 1:
            self.became_busy()
        try:
            link = await self.ready()
        except BaseException:
            self._left()
            raise
        self._refill_soon()
        return link

    def give_back(self, link: Link, *, clean: bool) -> None:
        """``clean``: the call has come to its end on both sides. If not, the link closes, which cancels it there."""
        if clean and not link.lost and len(self._spare) < MAX_SPARE and not self._closed:
            self._spare.append(link)
        else:
            link.abort()
        self._left()

    def lend(self, link: Link) -> None:
        """The link stays with whoever took it, and counts as no activity any more."""
        self._left()

    async def ready(self) -> Link:
        """A link that counts as no activity."""
        while self._spare:
            link = self._spare.pop()
            if not link.lost:
                return link
        return await self.connect()

    def drop_spare(self) -> None:
        while self._spare:
            self._spare.pop().abort()

    async def close(self) -> None:
        self._closed = True
        if self._refill_due is not None:
            self._refill_due.cancel()
        if self._refilling is not None:
            self._refilling.cancel()
            await asyncio.gather(self._refilling, return_exceptions=True)
        self.drop_spare()

    def _left(self) -> None:
        self._active -= 1
        if self._active == 0:
            self.went_idle()

    def _refill_soon(self) -> None:
        if self._spare or self._refill_due is not None or self._closed:
            return
        self._refill_due = asyncio.get_running_loop().call_later(REFILL_S, self._refill)

    def _refill(self) -> None:
        self._refill_due = None
        if not self._spare and not self._closed and self._active and (not self._refilling or self._refilling.done()):
            self._refilling = asyncio.get_running_loop().create_task(self._add_spare(), name="spare link")

    async def _add_spare(self) -> None:
        generation = self.generation
        with contextlib.suppress(GreenroomError):  # whoever needs one next hears of it
            link = await self.connect()
            if self._closed or generation != self.generation or len(self._spare) >= MAX_SPARE:
                link.abort()
            else:
                self._spare.append(link)


class RemotePeer(Peer):
    """A binding that somebody else runs, with ``greenroom bind serve``."""

    def __init__(self, binding_id: str, address: Address, token: str) -> None:
        super().__init__(binding_id)
        self._address = address
        self._token = token

    async def connect(self) -> Link:
        return await open_link(self._address, self.binding_id, self._token)

    async def failure(self) -> BindingFailed:
        self.drop_spare()
        return BindingFailed(f"the connection to {self.binding_id} at {self._address} was lost", retryable=True)
