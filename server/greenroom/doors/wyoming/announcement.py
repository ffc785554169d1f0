"""Telling the local network that the door is there, as Home Assistant looks for it: ``_wyoming._tcp.local.``"""

import ipaddress
import logging
import socket
import uuid
from typing import Any, Final

from greenroom import __version__

logger = logging.getLogger(__name__)

SERVICE: Final = "_wyoming._tcp.local."


class Announcement:
    """:param addresses: by which others reach this machine."""

    def __init__(self, port: int, addresses: list[str]) -> None:
        self._port = port
        self._addresses = addresses
        self._zeroconf: Any = None

    async def begin(self) -> None:
        """What cannot be announced is logged, and the door is open all the same."""
        try:
            from zeroconf import Error
            from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf
        except ImportError:
            logger.warning('not announced to the local network: pip install "greenroom[wyoming]"')
            return
        host = socket.gethostname().partition(".")[0] or "greenroom"
        about = AsyncServiceInfo(
            SERVICE,
            # Two servers on one machine, or two machines of one name, are told apart by what follows it.
            f"Greenroom on {host} {uuid.getnode():012x}-{self._port}.{SERVICE}",
            parsed_addresses=[address for address in self._addresses if _usable(address)],
            port=self._port,
            server=f"{host}-greenroom.local.",
            properties={"version": __version__},
        )
        try:
            self._zeroconf = AsyncZeroconf()
            await self._zeroconf.async_register_service(about)
        except (OSError, Error) as error:
            logger.warning("not announced to the local network: %s", error or type(error).__name__)

    async def end(self) -> None:
        if self._zeroconf is not None:
            zeroconf, self._zeroconf = self._zeroconf, None
            await zeroconf.async_unregister_all_services()
            await zeroconf.async_close()


def _usable(address: str) -> bool:
    try:
        return not ipaddress.ip_address(address).is_unspecified
    except ValueError:
        return False
