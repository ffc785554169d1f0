"""``greenroom bind serve``: run one binding here, for servers elsewhere."""

import asyncio
import logging
import os
import secrets
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path

from greenroom.bindings.discovery import FoundBinding
from greenroom.bindings.isolation.address import Address
from greenroom.bindings.isolation.serving import loop_factory, serve_host
from greenroom.bindings.programs_on_demand import ProgramsOnDemand
from greenroom.commandline.console import Console
from greenroom.commandline.local import Local, find_local
from greenroom.config.schema import LogConfig
from greenroom.errors import BadRequest, Unavailable
from greenroom.log import set_up_logging
from greenroom.serving.certificate import lan_addresses

TOKEN_VARIABLE = "GREENROOM_BIND_TOKEN"  # noqa: S105 -- a name


@dataclass(frozen=True, slots=True)
class BindOptions:
    binding: str
    host: str = "127.0.0.1"
    port: int = 9610
    token: str | None = None
    home: Path | None = None
    config: Path | None = None


def serve(options: BindOptions, console: Console) -> int:
    """Until a signal. -> exit code. :raises GreenroomError: if it cannot be served."""
    local = find_local(options.home, options.config)
    found = local.bindings_here().get(options.binding)
    if found.status != "ready":
        raise Unavailable(found.problem)
    token = options.token or local.secrets.get(TOKEN_VARIABLE)
    if token is None:
        if not _is_loopback(options.host):
            raise BadRequest(f"beyond this machine a token is needed: set {TOKEN_VARIABLE}, or give --token")
        token = secrets.token_urlsafe(24)
        console.line(f"set {TOKEN_VARIABLE}={token} where the server runs")

    def ready(address: Address) -> None:
        console.line(
            f"{found.id} is ready at {address}; in the server's config.yaml: "
            f"isolation: {{{found.id}: '{reached(address)}'}}"
        )
        sys.stdout.flush()

    listen = Address(host=options.host, port=options.port)
    with (
        set_up_logging(local.config.log if local.loaded else LogConfig(), local.home.logs),
        asyncio.Runner(loop_factory=loop_factory()) as runner,
    ):
        try:
            runner.run(_serve(local, found, token, listen, ready))
        except OSError as error:
            reason = error.strerror or error
            raise Unavailable(f"port {options.port} on {options.host} cannot be opened: {reason}") from error
        # A thread in an SDK that cannot be stopped must not keep the process: all that had to be closed is closed.
        logging.shutdown()
        sys.stdout.flush()
        os._exit(0)


async def _serve(
    local: Local, found: FoundBinding, token: str, listen: Address, ready: Callable[[Address], None]
) -> None:
    programs = ProgramsOnDemand(local.home.logs)
    try:
        await serve_host(found, local.places(programs.get), token, listen, ready)
    finally:
        await programs.close()


def reached(address: Address) -> Address:
    """As a server elsewhere can write it: nobody reaches 0.0.0.0."""
    others = lan_addresses(address.host)
    return replace(address, host=others[0]) if others else address


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
