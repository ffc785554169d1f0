"""The ``program`` block of a binding's card: which external program the binding needs, and how to tell that it is up.

program:
  command: ["{kobold}", --quiet, --config, "{config}", --port, "{port}"]
  ready: /api/v1/model          # GET of it is answered with a status below 400; without: the port takes connections
  start_timeout_s: 300
"""

import re
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from greenroom.bindings.program import Program, split_command
from greenroom.bindings.program_probe import HttpProbe, Probe, TcpProbe
from greenroom.errors import BadRequest

FILLED_AT_START = frozenset({"port", "host"})
PLACEHOLDER = re.compile(r"\{([A-Za-z_]\w*)\}")
_DEFAULTS: dict[str, Any] = {one.name: one.default for one in fields(Program)}


class ProgramCard(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    command: tuple[str, ...] = Field(min_length=1, description="the program and its arguments, as a list")
    port: int | None = Field(default=None, ge=1, le=65535, description="a fixed port; without one, any free one")
    ready: str = Field(default="", pattern="^(/.*)?$", description="the path that it answers once it is ready")
    ready_status: int | None = Field(default=None, ge=100, le=599, description="the one status that says so")
    env: dict[str, str] = Field(default_factory=dict, description="environment variables beside Greenroom's own")
    start_timeout_s: float = Field(default=_DEFAULTS["start_timeout_s"], gt=0)
    stop_grace_s: float = Field(default=_DEFAULTS["stop_grace_s"], ge=0)
    linger_s: float = Field(default=_DEFAULTS["linger_s"], ge=0)
    log_bytes: int = Field(default=_DEFAULTS["log_bytes"], ge=1)
    health_s: float = Field(default=_DEFAULTS["health_s"], ge=0)

    @field_validator("command", mode="before")
    @classmethod
    def _no_line(cls, value: Any) -> Any:
        if isinstance(value, str):
            raise ValueError('a list of arguments is wanted, ["program", "--port", "{port}"]; no shell reads it')
        return value

    def program(self, key: str, values: Mapping[str, str], cwd: Path | None = None) -> Program:
        """What to give to ``Programs.use``.

        ``values`` fill the placeholders but ``{port}`` and ``{host}``, usually from options that only the owner sets.
        Where the first argument is a placeholder, its value may be a program with arguments of its own.

        :raises BadRequest: for a placeholder without a value, or a program's line that cannot be taken apart
        """
        known = {f"{{{name}}}": value for name, value in values.items() if name not in FILLED_AT_START}
        first, *rest = self.command
        return Program(
            key,
            (*self._program(first, known), *(self._filled(argument, known) for argument in rest)),
            env={name: self._filled(value, known) for name, value in self.env.items()},
            cwd=cwd,
            port=self.port,
            probe=self._probe(),
            start_timeout_s=self.start_timeout_s,
            stop_grace_s=self.stop_grace_s,
            linger_s=self.linger_s,
            log_bytes=self.log_bytes,
            health_s=self.health_s,
        )

    def _probe(self) -> Probe:
        return HttpProbe(self.ready, self.ready_status) if self.ready else TcpProbe()

    def _program(self, first: str, known: Mapping[str, str]) -> tuple[str, ...]:
        if first not in known:
            return (self._filled(first, known),)
        try:
            return split_command(known[first])
        except ValueError as error:
            raise BadRequest(f"{first[1:-1]}: {known[first]!r} names no program: {error}") from error

    def _filled(self, text: str, known: Mapping[str, str]) -> str:
        """Braces around anything but one of our names are the program's own."""
        alone = PLACEHOLDER.fullmatch(text)
        if alone and text not in known and alone[1] not in FILLED_AT_START:
            raise BadRequest(f"the command wants {alone[1]}, which is not set")
        return PLACEHOLDER.sub(lambda found: known.get(found[0], found[0]), text)
