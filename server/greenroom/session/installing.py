"""The desk for installing what bindings need: the owner's, beside everything else that the session does.

An installation is answered when it is done. Until then its caller alone hears ``install_progress``, all of one
installation under one ``request_id``; the last of them is the answer itself.
"""

from greenroom.errors import Cancelled
from greenroom.protocol.commands import InstallBinding, UninstallBinding
from greenroom.session.handle import Caller, Reply
from greenroom.session.install_news import InstallNews
from greenroom.session.installations import Stopped
from greenroom.session.session import Session


class InstallingDesk:
    def __init__(self, session: Session) -> None:
        self._session = session
        self._environments = session.house.environments
        self._running = session.house.installations
        session.handle(InstallBinding, self._install)
        session.handle(UninstallBinding, self._uninstall)
        session.when_forgotten(self._running.forget)

    async def _install(self, command: InstallBinding, caller: Caller) -> Reply:
        found = self._session.house.bindings.get(command.name)
        news = InstallNews(caller, found.id)
        work = self._environments().install(found, news.report, upgrade=command.upgrade)
        try:
            await self._running.run(work, found.id, "", caller.client_id)
        except Stopped:
            raise Cancelled(f"the installation of {found.id} was stopped; nothing of it is used") from None
        return news.reply()

    async def _uninstall(self, command: UninstallBinding, caller: Caller) -> Reply:
        found = self._session.house.bindings.get(command.name)
        await self._running.stop(found.id)
        removed = await self._environments().uninstall(found.id)
        return {"status": True, "binding_name": found.id, "binding_folder": found.id, "removed": removed, "error": ""}
