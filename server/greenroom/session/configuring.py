"""The desk for the server's configuration, as jobs: update, load and save by name."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from greenroom.bindings.roles import AnyOperation
from greenroom.config.problems import MAX_TOLD, ConfigError
from greenroom.config.schema import Config
from greenroom.errors import BadRequest
from greenroom.protocol import events
from greenroom.protocol.commands import ConfigLoad, ConfigSave, ConfigUpdate
from greenroom.session.access import check_options, without_secrets
from greenroom.session.handle import Caller, Reply
from greenroom.session.jobs import Job
from greenroom.session.session import Session
from greenroom.values import Access

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
            check = partial(self._check, access=caller.access)
            with _in_jaisons_words():
                merged = self._config.update(command.config, caller.access, check)
            self._session.emit(
                events.JobProgress(
                    job_id=job.job_id, result={"changed": list(merged.changed), "warnings": list(merged.warnings)}
                )
            )

        return await self._submit(command, caller, work)

    async def _load(self, command: ConfigLoad, caller: Caller) -> Reply:
        async def work(job: Job) -> None:
            check = partial(self._check, access=caller.access)
            with _in_jaisons_words():
                warnings = await self._config.load(command.config_name, caller.access, check)
            self._session.emit(events.JobProgress(job_id=job.job_id, result={"warnings": list(warnings)}))

        return await self._submit(command, caller, work)

    async def _save(self, command: ConfigSave, caller: Caller) -> Reply:
        async def work(job: Job) -> None:
            await self._config.save(command.config_name)

        return await self._submit(command, caller, work)

    def _check(self, config: Config, access: Access) -> None:
        """The bindings themselves say which of their options are the owner's.

        :raises Forbidden: for one of these. :raises NotFound, Unavailable: for a binding that cannot be asked.
        """
        if access >= Access.OWNER:
            return
        for binding_id, operation, options in self._changed_options(config):
            check_options(operation, options, access, binding_id)

    def _changed_options(self, config: Config) -> Iterator[tuple[str, type[AnyOperation], Mapping[str, Any]]]:
        bindings, now = self._session.house.bindings, self._config.value
        for binding_id, options in config.bindings.items():
            if changed := _changes(options, now.bindings.get(binding_id, {})):
                for operation in bindings.get(binding_id).load().operations.values():
                    yield binding_id, operation, changed
        for entry in config.operations:
            known = next((one.settings for one in now.operations if (one.role, one.id) == (entry.role, entry.id)), {})
            if changed := _changes(entry.settings, known):
                yield entry.id, bindings.get(entry.id).operation(entry.role), changed

    async def _submit(self, command: Any, caller: Caller, work: Any) -> Reply:
        job = Job(command.event, without_secrets(command.args()), work, writes=_CONFIG)
        return await self._session.jobs.submit(job, command.command_id or "", caller.accept)


@contextmanager
def _in_jaisons_words() -> Iterator[None]:
    """An unknown field is named first, as jaison's clients know it."""
    try:
        yield
    except ConfigError as error:
        unknown = [problem.key for problem in error.problems if problem.unknown_key]
        if not unknown:
            raise
        more = f" and {len(unknown) - MAX_TOLD} more" if len(unknown) > MAX_TOLD else ""
        sentence = f"Config field {', '.join(unknown[:MAX_TOLD])}{more} does not exist\n{error.message}"
        raise BadRequest(sentence, kind=error.kind, details=error.details) from None


def _changes(options: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name not in known or known[name] != value}
