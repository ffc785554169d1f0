"""Opens operations of the bindings in this repository as the server does, from their folders."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from greenroom.bindings.discovery import BindingShelf, FoundBinding
from greenroom.bindings.engines import Engines
from greenroom.bindings.programs import Programs
from greenroom.bindings.roles import Place, no_programs
from greenroom.values import Role

BINDINGS = Path(__file__).parents[2] / "bindings"


@dataclass(slots=True)
class Places:
    """Where bindings run: ``models`` and ``assets`` hold a folder a binding, ``secrets`` maps (name, URL) to values."""

    models: Path = Path("no-models-here")
    secrets: Mapping[tuple[str, str], str] = field(default_factory=dict)
    assets: Path = Path("no-assets-here")
    programs: Callable[[], Programs] = no_programs

    def place(self, found: FoundBinding) -> Place:
        return Place(
            found.id,
            found.folder,
            self.models / found.id,
            lambda name, url: self.secrets.get((name, url)),
            self.assets / found.id,
            self.programs,
            found.card.program,
        )


@asynccontextmanager
async def open_engines(places: Places | None = None) -> AsyncIterator[Engines]:
    engines = Engines(BindingShelf((BINDINGS,)), places or Places())
    try:
        yield engines
    finally:
        await engines.close()


@asynccontextmanager
async def open_operation(
    binding_id: str, role: Role, options: Mapping[str, Any], places: Places | None = None
) -> AsyncIterator[Any]:
    """One operation, closed with its engine at the end."""
    async with open_engines(places) as engines:
        loaded = await engines.load(binding_id, role, options)
        try:
            yield loaded.operation
        finally:
            await loaded.release()
