"""Finding bindings in folders and loading their code on demand, by path, under a private module name."""

import hashlib
import importlib.util
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from greenroom.bindings.card import BindingCard, read_card, read_models
from greenroom.bindings.roles import AnyOperation, Binding
from greenroom.errors import GreenroomError, NotFound, Unavailable
from greenroom.values import Role

CARD_FILE = "binding_card.yaml"
CODE_FILE = "binding.py"


@dataclass(slots=True)
class FoundBinding:
    """A folder with a binding, as far as it can be read. ``error`` set: listed, and refused when it is asked for."""

    id: str
    folder: Path
    card: BindingCard
    model_entries: list[dict[str, Any]] = field(default_factory=list)
    error: str = ""
    _code: Binding | None = None
    _loading: threading.Lock = field(default_factory=threading.Lock)

    @property
    def has_code(self) -> bool:
        return (self.folder / CODE_FILE).is_file()

    def missing_packages(self) -> list[str]:
        return [name for name in self.card.imports if not _importable(name)]

    @property
    def status(self) -> str:
        """``ready``, ``missing_packages``, ``foreign`` (a lollms folder: listed, not run) or ``broken``."""
        if self.error:
            return "broken"
        if not self.has_code:
            return "foreign"
        return "missing_packages" if self.missing_packages() else "ready"

    @property
    def problem(self) -> str:
        """A sentence that says what is wrong and what mends it; empty if nothing is."""
        match self.status:
            case "broken":
                return self.error
            case "foreign":
                return f"{self.id} is a lollms binding: its card is listed, its code is not run by Greenroom"
            case "missing_packages":
                names = ", ".join(self.missing_packages())
                mend = self.card.install or f"pip install {names}"
                return f"{self.id} needs {names}; install with: {mend}"
        return ""

    def load(self) -> Binding:
        """Import ``binding.py``, once. :raises Unavailable: with what is wrong and what mends it."""
        with self._loading:
            if self._code is None:
                if self.error or not self.has_code:
                    raise Unavailable(self.problem)
                self._code = _import_binding(self.id, self.folder)
            return self._code

    def operation(self, role: Role) -> type[AnyOperation]:
        """The class for a role. :raises NotFound: if the binding does not serve it."""
        operations = self.load().operations
        if role not in operations:
            served = ", ".join(operations) or "none"
            raise NotFound(
                f"binding {self.id} has no role {role}; its roles: {served}",
                kind="operation_unknown_id",
            )
        return operations[role]


def _importable(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def _import_binding(binding_id: str, folder: Path) -> Binding:
    digest = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:12]
    module_name = f"_greenroom_binding_{digest}_{binding_id}"
    spec = importlib.util.spec_from_file_location(
        module_name, folder / CODE_FILE, submodule_search_locations=[str(folder)]
    )
    if spec is None or spec.loader is None:
        raise Unavailable(f"{folder / CODE_FILE} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
        binding = module.BINDING
    except Exception as error:
        sys.modules.pop(module_name, None)
        raise Unavailable(f"binding {binding_id} does not load: {type(error).__name__}: {error}") from error
    if not isinstance(binding, Binding):
        raise Unavailable(f"binding {binding_id}: BINDING is not a greenroom.bindings.roles.Binding")
    return binding


def read_binding(folder: Path) -> FoundBinding:
    """Never raises: what is wrong stands in ``error``."""
    try:
        card = read_card(folder / CARD_FILE)
        return FoundBinding(folder.name, folder, card, read_models(folder / "models.yaml"))
    except GreenroomError as error:
        return FoundBinding(folder.name, folder, BindingCard(name=folder.name), error=error.message)


class BindingShelf:
    """Every binding found under the roots; a later root's folder wins over an earlier one's of the same name."""

    def __init__(self, roots: tuple[Path, ...]) -> None:
        self.roots = roots
        self._found: dict[str, tuple[tuple[float, ...], FoundBinding]] = {}

    def all(self) -> dict[str, FoundBinding]:
        """By id, sorted. Folders without a card, dot-folders and files are not bindings."""
        folders: dict[str, Path] = {}
        for root in self.roots:
            if not root.is_dir():
                continue
            for folder in root.iterdir():
                if folder.name.startswith((".", "_")) or not (folder / CARD_FILE).is_file():
                    continue
                folders[folder.name] = folder
        self._found = {name: self._fresh(name, folders[name]) for name in sorted(folders)}
        return {name: found for name, (_, found) in self._found.items()}

    def get(self, binding_id: str) -> FoundBinding:
        """:raises NotFound: names are looked up among what was discovered, never joined to a path."""
        found = self._found.get(binding_id)
        if found is None:
            self.all()
            found = self._found.get(binding_id)
        if found is None:
            known = ", ".join(self._found) or "none"
            raise NotFound(f"there is no binding {binding_id!r}; known: {known}", kind="operation_unknown_id")
        return found[1]

    def _fresh(self, name: str, folder: Path) -> tuple[tuple[float, ...], FoundBinding]:
        stamp = tuple(
            path.stat().st_mtime if path.exists() else 0.0
            for path in (folder / CARD_FILE, folder / "models.yaml", folder / CODE_FILE)
        )
        known = self._found.get(name)
        if known is not None and known[0] == stamp and known[1].folder == folder:
            return known
        return stamp, read_binding(folder)
