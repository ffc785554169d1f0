"""Which bindings run elsewhere, and what stands for them here."""

import asyncio
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from greenroom.bindings.discovery import FoundBinding
from greenroom.bindings.isolation import start
from greenroom.bindings.isolation.address import Address
from greenroom.bindings.roles import (
    Binding,
    Effect,
    Options,
    Place,
    SpeechToText,
    TextFilter,
    TextToSpeech,
    TextToText,
    Unit,
)
from greenroom.errors import GreenroomError, Unavailable
from greenroom.values import Role

if TYPE_CHECKING:
    from greenroom.bindings.isolation.peer import Peer
    from greenroom.bindings.isolation.proxy import PeerFor

logger = logging.getLogger(__name__)

DESCRIBE_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class IsolationSettings:
    modes: Mapping[str, str]
    """by binding id: ``process``, ``none`` or the address of a binding that somebody else serves"""
    idle_s: float
    token: str = ""
    """for bindings that somebody else serves"""
    logs: Path | None = None
    """folder for what the external programs of children print; without one only their last words are kept"""


def _no_environment(found: FoundBinding) -> Path | None:
    return None


class Isolation:
    """Holds the children. Built by the composition root, which closes it after the engines. What speaks with them is
    imported when the first isolated binding is loaded.

    ``python_for``: the interpreter of a binding's own environment; ``None``: it has none, and ours is used.
    """

    def __init__(
        self, settings: IsolationSettings, python_for: Callable[[FoundBinding], Path | None] = _no_environment
    ) -> None:
        self._settings = settings
        self._python_for = python_for
        self._peers: dict[str, Peer] = {}

    def mode(self, found: FoundBinding) -> str:
        return self._settings.modes.get(found.id, found.card.isolation)

    def isolates(self, found: FoundBinding) -> bool:
        return not found.error and found.has_code and self.mode(found) != "none"

    def lack(self, found: FoundBinding) -> str:
        """A binding with an environment needs nothing of ours. Without one it runs in ours, if that has what the card
        says that it imports. What is missing elsewhere is said by whoever runs it there."""
        if self.mode(found) != "process":
            return ""
        from greenroom.bindings.installing.requirements import read_requirements

        try:
            if self._python_for(found) is not None:
                return ""
            has_requirements = read_requirements(found) is not None
        except GreenroomError as error:
            return f"{found.id} cannot be installed: {error.message}"
        missing = ", ".join(found.missing_packages())
        if not has_requirements:
            return found.lack_here()
        if missing or not found.card.imports:
            wanted = missing or "the packages of its requirements"
            return f"{found.id} needs {wanted}; install with: greenroom install {found.id}"
        return ""

    def peers(self) -> Mapping[str, "Peer"]:
        """By binding id: those that were needed so far."""
        return dict(self._peers)

    def load(self, found: FoundBinding) -> Binding:
        """Proxy classes. Options are those of ``binding.py`` where it can be imported here, else what it tells there.

        Blocks. :raises Unavailable: if it loads neither here nor there.
        """

        from greenroom.bindings.isolation.proxy import proxy_class

        def peer_for(place: Place) -> "Peer":
            return self._peer(found, place)

        try:
            here = found.load_here()
        except Unavailable as error:
            logger.info("%s is described by its own process: %s", found.id, error.message)
            return _described(found, self._ask_description(found), peer_for)
        operations = {}
        for role, operation in here.operations.items():
            is_filter = issubclass(operation, TextFilter)
            operations[role] = proxy_class(
                found.id,
                role,
                operation.Options,
                peer_for,
                own_role=operation.role,
                unit=operation.unit if is_filter else Unit.DELTA,  # type: ignore[attr-defined]
                effect=operation.effect if is_filter else Effect.TRANSFORM,  # type: ignore[attr-defined]
                wants_extras=issubclass(operation, TextToSpeech) and operation.wants_extras,
                keeps_formats=issubclass(operation, TextToText) and operation.keeps_formats,
                partials_grow=issubclass(operation, SpeechToText) and operation.partials_grow,
            )
        return Binding(operations)

    def _peer(self, found: FoundBinding, place: Place) -> "Peer":
        peer = self._peers.get(found.id)
        if peer is None:
            from greenroom.bindings.isolation.children import ChildPeer
            from greenroom.bindings.isolation.peer import RemotePeer

            mode = self.mode(found)
            if mode == "process":
                settings = self._settings
                peer = ChildPeer(place, lambda: self._python_for(found), settings.idle_s, settings.logs)
            else:
                peer = RemotePeer(found.id, Address.parse(mode), self._settings.token)
            self._peers[found.id] = peer
        return peer

    def _ask_description(self, found: FoundBinding) -> Mapping[str, Any]:
        """In a thread, or where nothing else runs yet."""
        from greenroom.bindings.installing.carried import child_variables

        mode = self.mode(found)
        if mode != "process":
            asking = _describe_remote(found.id, Address.parse(mode), self._settings.token)
            with ThreadPoolExecutor(1) as own:  # the caller's thread may have a loop that runs
                return own.submit(asyncio.run, asking).result()
        python = self._python_for(found)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("GREENROOM_", "PYTHON"))}
        try:
            run = subprocess.run(  # noqa: S603 -- our own script, and a list of arguments
                [str(python or sys.executable), "-P", start.__file__, "--describe", str(found.folder)],
                capture_output=True,
                timeout=DESCRIBE_S,
                check=False,
                stdin=subprocess.DEVNULL,
                env=kept | (child_variables() if python else {}),
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Unavailable(f"{found.id} does not tell what it offers: {error}") from error
        last = run.stderr.decode(errors="replace").strip().splitlines()[-1:]
        if run.returncode != 0:
            raise Unavailable(f"{found.id} does not load in its own environment: {''.join(last)}")
        told: Mapping[str, Any] = json.loads(run.stdout.splitlines()[-1])
        return told

    async def close(self) -> None:
        """Stop every child of ours; what somebody else serves goes on."""
        peers, self._peers = list(self._peers.values()), {}
        await asyncio.gather(*(peer.close() for peer in peers))


async def _describe_remote(binding_id: str, address: Address, token: str) -> Mapping[str, Any]:
    from greenroom.bindings.isolation.peer import RemotePeer

    peer = RemotePeer(binding_id, address, token)
    try:
        async with peer.calling() as api:
            return await api.describe()
    finally:
        await peer.close()


def _described(found: FoundBinding, told: Mapping[str, Any], peer_for: "PeerFor") -> Binding:
    from greenroom.bindings.isolation.description import options_from
    from greenroom.bindings.isolation.proxy import proxy_class

    operations = {}
    for name, entry in told.items():
        options: type[Options] = options_from(entry["options"])
        operations[Role(name)] = proxy_class(
            found.id,
            Role(name),
            options,
            peer_for,
            own_role=Role(entry["role"]),
            unit=Unit(entry.get("unit", Unit.DELTA)),
            effect=Effect(entry.get("effect", Effect.TRANSFORM)),
            wants_extras=bool(entry.get("wants_extras")),
            keeps_formats=bool(entry.get("keeps_formats")),
            partials_grow=bool(entry.get("partials_grow")),
        )
    return Binding(operations)
