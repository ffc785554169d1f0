"""The desk for the weights of models: fetched, stopped, removed; the owner's, beside everything else.

It answers as the desk for bindings does, on the same events. An address is never taken from the wire: what a client
names is looked up among what the bindings list.
"""

import os
from typing import TYPE_CHECKING

from greenroom.bindings.discovery import FoundBinding
from greenroom.bindings.downloads.entries import Download
from greenroom.errors import BadRequest, Cancelled, Conflict, GreenroomError, NotFound
from greenroom.protocol.commands import CancelInstall, InstallModel, UninstallModel
from greenroom.session.handle import Caller, Reply
from greenroom.session.install_news import InstallNews
from greenroom.session.installations import Stopped
from greenroom.session.model_use import may_be_open
from greenroom.session.models import catalogue_of
from greenroom.session.session import Session
from greenroom.values import Role

if TYPE_CHECKING:
    from greenroom.bindings.downloads.store import ModelStore


class ModelDesk:
    def __init__(self, session: Session) -> None:
        self._session = session
        self._house = session.house
        self._running = session.house.installations
        session.handle(InstallModel, self._install)
        session.handle(UninstallModel, self._uninstall)
        session.handle(CancelInstall, self._cancel)

    async def _install(self, command: InstallModel, caller: Caller) -> Reply:
        found, download = self._find(command.binding, command.name)
        news = InstallNews(caller, found.id, download.name, download.source)
        work = self._store(found).install(download.name, news.report, upgrade=command.upgrade)
        try:
            await self._running.run(work, found.id, download.name, caller.client_id)
        except Stopped:
            raise Cancelled(
                f"the installation of {download.name} was stopped; what has come is kept for the next time"
            ) from None
        return news.reply()

    async def _cancel(self, command: CancelInstall, caller: Caller) -> Reply:
        found, download = self._find(command.binding, command.name)
        if not await self._running.stop(found.id, download.name):
            raise NotFound(f"no installation of {download.name} of {found.id} is running here")
        return {"success": True, "binding_name": found.id, "model_name": download.name}

    async def _uninstall(self, command: UninstallModel, caller: Caller) -> Reply:
        found, download = self._find(command.binding, command.name)
        await self._running.stop(found.id, download.name)
        catalogue = catalogue_of(self._house, found)
        for key in self._house.engines.open_keys(found):
            if may_be_open(key, download, catalogue):
                raise Conflict(
                    f"{found.id} has an engine open that uses {download.name}, or may: unload it with "
                    "operation_unload, or select another model, and try again",
                    kind="model_in_use",
                )
        removed = await self._store(found).uninstall(download.name)
        return {
            "status": True,
            "binding_name": found.id,
            "binding_folder": found.id,
            "model_name": download.name,
            "removed": removed,
            "error": "",
        }

    def _store(self, found: FoundBinding) -> "ModelStore":
        """What fetches is imported when somebody asks for it."""
        from greenroom.bindings.downloads.store import open_store

        return open_store(found, self._house.engines.place(found), os.environ)

    def _find(self, binding: str | None, name: str) -> tuple[FoundBinding, Download]:
        """Of the binding named; else of the selected one; else of the only one that has it.

        :raises NotFound, BadRequest: with what there is.
        """
        if binding is not None:
            found = self._house.bindings.get(binding)
            return found, catalogue_of(self._house, found).find(name)
        spec = self._session.operations.spec(Role.T2T)
        everywhere = self._house.bindings.all()
        first = [everywhere[spec.id]] if spec is not None and spec.id in everywhere else []
        having: list[tuple[FoundBinding, Download]] = []
        for found in (*first, *everywhere.values()):
            try:
                having.append((found, catalogue_of(self._house, found).find(name)))
            except GreenroomError:
                continue
            if found in first:
                break
        if not having:
            raise NotFound(f"no binding has a model {name[:200]!r}; name the binding to see what it has")
        if len(having) > 1:
            raise BadRequest(f"which binding? {', '.join(found.id for found, _ in having)} have a model {name[:200]!r}")
        return having[0]
