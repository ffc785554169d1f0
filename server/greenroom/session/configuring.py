"""The desk for the server's configuration, as jobs: update, load and save by name."""

from typing import Any

from greenroom.protocol import events
from greenroom.protocol.commands import ConfigLoad, ConfigSave, ConfigUpdate
from greenroom.session.handle import Caller, Reply
from greenroom.session.jobs import Job
from greenroom.session.session import Session

_CONFIG = frozenset({"config"})


class ConfigurationDesk:
    """Operations follow at ``operation_reload_from_config``; what the server listens on at its next start."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._config = session.house.config
        session.handle(ConfigUpdate, self._update)
        session.handle(ConfigLoad, self._load)
        session.handle(ConfigSave, self._save)

    async def _update(self, command: ConfigUpdate, caller: Caller) -> Reply:
        async def work(job: Job) -> None:
            merged = self._config.update(command.config, caller.access)
            self._session.emit(
                events.JobProgress(
                    job_id=job.job_id, result={"changed": list(merged.changed), "warnings": list(merged.warnings)}
                )
            )

        return await self._submit(command, caller, work)

    async def _load(self, command: ConfigLoad, caller: Caller) -> Reply:
        async def work(job: Job) -> None:
            warnings = await self._config.load(command.config_name, caller.access)
            self._session.emit(events.JobProgress(job_id=job.job_id, result={"warnings": list(warnings)}))

        return await self._submit(command, caller, work)

    async def _save(self, command: ConfigSave, caller: Caller) -> Reply:
        async def work(job: Job) -> None:
            await self._config.save(command.config_name)

        return await self._submit(command, caller, work)

    async def _submit(self, command: Any, caller: Caller, work: Any) -> Reply:
        job = Job(command.event, command.args(), work, writes=_CONFIG)
        return await self._session.jobs.submit(job, command.command_id or "", caller.accept)
