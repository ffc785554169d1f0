"""Finding bindings in folders and loading their code on demand, by path, under a private module name."""

import hashlib
import importlib.util
import re
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from greenroom.bindings.card import BindingCard, read_card, read_models
from greenroom.bindings.roles import AnyOperation, Binding
from greenroom.errors import GreenroomError, NotFound, Unavailable
from greenroom.values import Role

CARD_FILE = "binding_card.yaml"
CODE_FILE = "binding.py"


class Elsewhere(Protocol):
    """Runs bindings in other processes: :class:`greenroom.bindings.isolation.isolation.Isolation`."""

    def isolates(self, found: "FoundBinding") -> bool: ...

    def lack(self, found: "FoundBinding") -> str:
        """What has to be installed before it can run there, and how: a sentence; empty if nothing has."""
        ...

    def load(self, found: "FoundBinding") -> Binding:
        """What stands for the binding in this process. May block. :raises GreenroomError: if there is nothing."""
        ...


@dataclass(slots=True)
class FoundBinding:
    """A folder with a binding, as far as it can be read. ``error`` set: listed, and refused when it is asked for."""

    id: str
    folder: Path
    card: BindingCard
    model_entries: list[dict[str, Any]] = field(default_factory=list)
    error: str = ""
    elsewhere: Elsewhere | None = None
    """set: the binding runs in another process"""
    _code: Binding | None = None
    _loading: threading.Lock = field(default_factory=threading.Lock)

    @property
    def has_code(self) -> bool:
        return (self.folder / CODE_FILE).is_file()

    def missing_packages(self) -> list[str]:
        """Of the packages that the card names, those that this interpreter lacks."""
        return [name for name in self.card.imports if not _importable(name)]

    def lack_here(self) -> str:
        """What has to be installed before it can run in this process: a sentence; empty if nothing has."""
        names = ", ".join(self.missing_packages())
        mend = self.card.install or f"pip install {names}"
        return f"{self.id} needs {names}; install with: {mend}" if names else ""

    @property
    def lack(self) -> str:
        return self.elsewhere.lack(self) if self.elsewhere is not None else self.lack_here()

    @property
    def status(self) -> str:
        """``ready``, ``missing_packages``, ``foreign`` (a lollms folder: listed, not run) or ``broken``."""
        if self.error:
            return "broken"
        if not self.has_code:
            return "foreign"
        return "missing_packages" if self.lack else "ready"

    @property
    def problem(self) -> str:
        """A sentence that says what is wrong and what mends it; empty if nothing is."""
        match self.status:
            case "broken":
                return self.error
            case "foreign":
                return f"{self.id} is a lollms binding: its card is listed, its code is not run by Greenroom"
        return self.lack

    def load(self) -> Binding:
        """Import ``binding.py``, once. :raises Unavailable: with what is wrong and what mends it."""
        with self._loading:
            if self._code is None:
                if self.error or not self.has_code:
                    raise Unavailable(self.problem)
                self._code = self.elsewhere.load(self) if self.elsewhere else self.load_here()
            return self._code

    @property
    def loaded(self) -> bool:
        return self._code is not None

    def load_here(self) -> Binding:
        """Import ``binding.py`` into this process. :raises Unavailable: if it does not load."""
        return _import_binding(self.id, self.folder)

    def operation(self, role: Role) -> type[AnyOperation]:
        """The class for a role. :raises NotFound: if the binding does not serve it."""
        operations = self.load().operations
        if role is Role.MCP and role not in operations and Role.T2T in operations:
            role = Role.T2T  # any text model can pick tools
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
    # Below our own name, so that what a binding logs goes where our records go.
    module_name = f"greenroom.bindings.loaded.{re.sub(r'[^A-Za-z0-9_]', '_', binding_id)}_{digest}"
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
    except (Exception, SystemExit) as error:  # code that ends its program must not end this one
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

    def __init__(self, roots: tuple[Path, ...], elsewhere: Elsewhere | None = None) -> None:
        self.roots = roots
        self._elsewhere = elsewhere
        self._found: dict[str, tuple[tuple[float, ...], FoundBinding]] = {}

    def all(self) -> dict[str, FoundBinding]:
        """By id, sorted. Folders without a card, dot-folders and files are not bindings."""
        folders: dict[str, Path] = {}
        for root in self.roots:
            for folder in _folders(root):
                if not folder.name.startswith((".", "_")) and _has_card(folder):
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
        stamp = tuple(_changed_at(folder / name) for name in (CARD_FILE, "models.yaml", CODE_FILE))
        known = self._found.get(name)
        if known is not None and known[0] == stamp and known[1].folder == folder:
            return known
        found = read_binding(folder)
        if self._elsewhere is not None and self._elsewhere.isolates(found):
            found.elsewhere = self._elsewhere
        return stamp, found


def _folders(root: Path) -> list[Path]:
    try:
        return list(root.iterdir())
    except OSError:  # not there, or not for us
        return []


def _has_card(folder: Path) -> bool:
    """One that cannot be looked into counts: it is listed with what is wrong."""
    try:
        return (folder / CARD_FILE).is_file()
    except OSError:
        return True


def _changed_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
