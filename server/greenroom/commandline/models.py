"""``greenroom install model`` and ``greenroom uninstall model``: the weights that a binding's models need."""

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from greenroom.bindings.downloads.store import ModelStore, open_store
from greenroom.commandline.bars import shown
from greenroom.commandline.console import Console
from greenroom.commandline.local import Local, find_local
from greenroom.errors import BadRequest, GreenroomError


@dataclass(frozen=True, slots=True)
class ModelOptions:
    words: Sequence[str]
    """the binding, then its models"""
    home: Path | None = None
    check: bool = False
    """change nothing, only say what is wrong"""
    upgrade: bool = False


def install(options: ModelOptions, console: Console) -> int:
    """-> exit code: 1 if any of them could not be installed, or with ``check`` is not sound.

    :raises GreenroomError: there is no such binding or model; then none is installed.
    """
    store, names = _chosen(find_local(options.home), options.words)
    one = _check if options.check else _install
    return max([asyncio.run(one(store, name, options, console)) for name in names])


async def _install(store: ModelStore, name: str, options: ModelOptions, console: Console) -> int:
    with shown(name, console) as report:
        try:
            await store.install(name, report, upgrade=options.upgrade)
        except GreenroomError as error:
            problem = error.message
        except asyncio.CancelledError:
            console.note(
                f"greenroom: {name}: interrupted; what has come is kept, run it again and it goes on from there"
            )
            raise
        else:
            problem = ""
    if problem:
        console.note(f"greenroom: {problem}")
        return 1
    return 0


async def _check(store: ModelStore, name: str, options: ModelOptions, console: Console) -> int:
    wrong = await store.check(name)
    for sentence in wrong:
        console.note(f"{name}: {sentence}")
    if not wrong:
        console.line(f"{name}: all of it is here and sound")
    return 1 if wrong else 0


def uninstall(options: ModelOptions, console: Console) -> int:
    """-> exit code. :raises GreenroomError: there is no such model, or it cannot be removed."""
    store, names = _chosen(find_local(options.home), options.words, installed_too=True)
    for name in names:
        removed = asyncio.run(store.uninstall(name))
        console.line(f"{name}: it is removed" if removed else f"{name} is not installed; nothing to remove")
    return 0


def _chosen(local: Local, words: Sequence[str], *, installed_too: bool = False) -> tuple[ModelStore, list[str]]:
    """The binding's store, and the names of its models as it calls them.

    :raises GreenroomError: for any that it has not.
    """
    if not words:
        raise BadRequest("wanted a binding and the names of its models, as in: model piper en_US-lessac-medium")
    found = local.bindings().get(words[0])
    store = open_store(found, local.places().place(found), _environment(local))
    names = list(dict.fromkeys(words[1:]))
    known = [download.name for download in store.catalogue.downloads]
    if not names:
        if len(known) != 1:
            what = f"choose of: {', '.join(known)}" if known else "it has none to install; see its README"
            raise BadRequest(f"wanted the names of models of {found.id}: {what}")
        names = known
    return store, [name if installed_too and store.knows(name) else store.catalogue.find(name).name for name in names]


def _environment(local: Local) -> Mapping[str, str]:
    """Also what stands in ``.env``."""
    own: Callable[[str], str | None] = local.secrets.get
    return {**os.environ, **{name: value for name in ("HF_ENDPOINT", "HF_TOKEN") if (value := own(name))}}
