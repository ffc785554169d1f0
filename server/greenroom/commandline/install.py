"""``greenroom install`` and ``greenroom uninstall``: the virtual environments of the bindings that have their own."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from greenroom.bindings.discovery import FoundBinding
from greenroom.bindings.environments import Environments
from greenroom.commandline.bars import shown
from greenroom.commandline.console import Console
from greenroom.commandline.local import find_local
from greenroom.errors import GreenroomError, NotFound


@dataclass(frozen=True, slots=True)
class InstallOptions:
    bindings: Sequence[str]
    home: Path | None = None
    check: bool = False
    """change nothing, only say what is wrong"""
    upgrade: bool = False


def install(options: InstallOptions, console: Console) -> int:
    """-> exit code: 1 if any of them could not be installed, or with ``check`` is not sound.

    :raises GreenroomError: there is no such binding; then none is installed.
    """
    local = find_local(options.home)
    shelf, environments = local.bindings(), Environments(local.home)
    wanted = [shelf.get(name) for name in dict.fromkeys(options.bindings)]
    one = _check if options.check else _install
    return max([asyncio.run(one(found, environments, options, console)) for found in wanted])


async def _install(found: FoundBinding, environments: Environments, options: InstallOptions, console: Console) -> int:
    with shown(found.id, console) as report:
        try:
            manifest = await environments.install(found, report, upgrade=options.upgrade)
        except GreenroomError as error:
            problem = error.message
        except asyncio.CancelledError:
            console.note(
                f"greenroom: {found.id}: interrupted; nothing of it is used, and no download is lost that ended"
            )
            raise
        else:
            problem = found.problem if manifest is None else ""
    if problem:
        console.note(f"greenroom: {problem}")
        return 1
    if manifest is None:
        console.line(f"{found.id} needs no packages of its own")
    return 0


async def _check(found: FoundBinding, environments: Environments, options: InstallOptions, console: Console) -> int:
    try:
        wrong = await environments.check(found)
        status = environments.status(found)
    except GreenroomError as error:
        wrong = [error.message]
    for sentence in wrong:
        console.note(f"{found.id}: {sentence}")
    if not wrong:
        console.line(f"{found.id}: {status.sentence}")
    return 1 if wrong else 0


def uninstall(bindings: Sequence[str], home: Path | None, console: Console) -> int:
    """-> exit code. The environment of a binding that is gone can be removed too.

    :raises GreenroomError: it is in use, or cannot be removed; or there is neither binding nor environment.
    """
    local = find_local(home)
    environments = Environments(local.home)
    known = local.bindings().all()
    for name in dict.fromkeys(bindings):
        if asyncio.run(environments.uninstall(name)):
            console.line(f"{name}: its environment is removed")
        elif name in known:
            console.line(f"{name} has no environment; nothing to remove")
        else:
            raise NotFound(f"there is no binding {name!r}, and no environment of that name")
    return 0
