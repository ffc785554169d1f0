"""Where an isolated binding runs, as the parent sees it: the client of its host, and what its failures mean.

async with peer.calling() as api:  ...    a call; the peer knows that it is busy
peer.generation                           changes when whatever was open over there is gone
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol
from weakref import WeakSet

from greenroom.bindings.isolation.address import Address
from greenroom.bindings.isolation.service import BindingApi
from greenroom.errors import BindingFailed, GreenroomError, Unavailable
from greenroom.rpc.failures import ApiError, Unreachable


class Opened(Protocol):
    """An operation that is open over there."""

    async def open(self) -> None: ...


class Peer(ABC):
    def __init__(self, binding_id: str) -> None:
        self.binding_id = binding_id
        self.generation = 0
        self.opened: WeakSet[Opened] = WeakSet()
        """operations that somebody holds"""
        self._active = 0
        self._closed = False

    @property
    @abstractmethod
    def place(self) -> str:
        """Of the host, for a person."""

    @abstractmethod
    async def api(self) -> BindingApi:
        """Starts what has to be started. :raises GreenroomError: with what is in the way."""

    @abstractmethod
    async def failure(self) -> BindingFailed:
        """Why a connection was lost."""

    async def has_gone(self) -> bool:
        """Whether what :meth:`api` gave last stands for a host that is no more, and another one may be asked for."""
        return False

    def went_idle(self) -> None:  # noqa: B027 -- most have nothing to do
        """The last call has ended."""

    def became_busy(self) -> None:  # noqa: B027 -- as above
        """The first call is about to be made."""

    @property
    def active(self) -> int:
        """Calls under way."""
        return self._active

    @asynccontextmanager
    async def calling(self) -> AsyncIterator[BindingApi]:
        """:raises GreenroomError: what goes wrong inside, as it was over there; or that nobody is."""
        if self._closed:
            raise BindingFailed(f"{self.binding_id} is being closed", retryable=True)
        self._active += 1
        if self._active == 1:
            self.became_busy()
        try:
            yield await self.api()
        except ApiError as error:
            raise await self._meaning(error) from error
        finally:
            self._active -= 1
            if self._active == 0:
                self.went_idle()

    async def close(self) -> None:
        self._closed = True

    async def _meaning(self, error: ApiError) -> GreenroomError:
        if error.error:
            return error.restore()
        if error.status == 401:
            return BindingFailed(
                f"{self.place} wants another token for {self.binding_id}; set its GREENROOM_BIND_TOKEN for this server"
            )
        if error.status in (403, 404):
            return BindingFailed(
                f"{self.place} does not serve {self.binding_id}, or is another version of Greenroom: then update the "
                "older of the two"
            )
        if error.status is not None:
            return BindingFailed(f"{self.place} is no binding of Greenroom; it answered {error.status}")
        if isinstance(error, Unreachable):
            if await self.has_gone():
                return Gone(self.binding_id)
            reason = error.__cause__ or error
            return Unavailable(f"{self.binding_id} cannot be reached at {self.place}: {reason}")
        return await self.failure()


class Gone(Unavailable):
    """The host had ended before the call was sent: it may be made again, of another one."""

    def __init__(self, binding_id: str) -> None:
        super().__init__(f"{binding_id} has ended and is started again")


class RemotePeer(Peer):
    """A binding that somebody else runs, with ``greenroom bind serve``."""

    def __init__(self, binding_id: str, address: Address, token: str) -> None:
        super().__init__(binding_id)
        self._address = address
        self._token = token
        self._api: BindingApi | None = None

    @property
    def place(self) -> str:
        return str(self._address)

    async def api(self) -> BindingApi:
        if self._api is None:
            self._api = BindingApi(str(self._address), self.binding_id, self._token)
        return self._api

    async def failure(self) -> BindingFailed:
        return BindingFailed(f"the connection to {self.binding_id} at {self._address} was lost", retryable=True)

    async def close(self) -> None:
        await super().close()
        if self._api is not None:
            await self._api.client.aclose()
