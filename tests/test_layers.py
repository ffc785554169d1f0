"""Imports run down only, in the order that the design gives: a cycle would load everything and let nothing move."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import greenroom

PACKAGE = Path(greenroom.__file__).parent
BINDINGS = PACKAGE.parent.parent / "bindings"

LEVELS = (
    "values errors",
    "protocol",
    "config paths log metrics yaml_text garbage http_bounds",
    "rpc",
    "personalities bindings store places",
    "assistants tools extensions",
    "pipeline",
    "session",
    "doors",
    "serving",
    "app",
    "cli commandline __main__",
)
"""From the ground up. Parts of one level may use each other; the modules inside a part are its own business."""

RANKS = {part: rank for rank, level in enumerate(LEVELS) for part in level.split()}
CLIENT_MAY_USE = frozenset({"client", "protocol", "values", "errors"})
MAY_USE_CLIENT = frozenset({"client", "cli", "commandline", "__main__"})
DATA_ONLY = frozenset({"bundled", "web"})
BINDINGS_MAY_USE = (
    "greenroom.bindings",
    "greenroom.errors",
    "greenroom.pipeline.sentences",
    "greenroom.yaml_text",
    "greenroom.rpc",
    "greenroom.values",
)


@dataclass(frozen=True)
class Import:
    file: Path
    line: int
    target: str
    """dotted; empty for a relative one"""

    @property
    def part(self) -> str:
        """The first name below ``greenroom``; empty for ``greenroom`` itself."""
        return self.target.partition(".")[2].partition(".")[0]


def imports_of(file: Path) -> Iterator[Import]:
    """Everything imported anywhere in a file, in functions and for type checkers too."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"), str(file))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(file, node.lineno, alias.name)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                yield Import(file, node.lineno, "")
            elif node.module == "greenroom":
                yield from (_from_root(file, node.lineno, alias.name) for alias in node.names)
            else:
                yield Import(file, node.lineno, node.module or "")


def _from_root(file: Path, line: int, name: str) -> Import:
    is_module = (PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").is_file()
    return Import(file, line, f"greenroom.{name}" if is_module else "greenroom")


def part_of(file: Path) -> str:
    first = file.relative_to(PACKAGE).parts[0]
    return "" if first == "__init__.py" else first.removesuffix(".py")


MODULES = sorted(file for file in PACKAGE.rglob("*.py") if file.relative_to(PACKAGE).parts[0] not in DATA_ONLY)
BINDING_MODULES = sorted(BINDINGS.rglob("*.py"))


def problem_of(found: Import) -> str:
    """Empty if the import is as it should be."""
    if not found.target:
        return "relative imports hide where a module stands; write it out"
    if found.target.partition(".")[0] != "greenroom" or not found.part:
        return ""
    user, used = part_of(found.file), found.part
    if user == "client":
        return "" if used in CLIENT_MAY_USE else "the client uses the protocol alone"
    if used == "client":
        return "" if user in MAY_USE_CLIENT else "the server does not use the client"
    if used not in RANKS:
        return f"{used} has no level here yet"
    return "" if RANKS[used] <= RANKS.get(user, -1) else f"{user or 'greenroom'} lies below {used}"


def told(found: Import, problem: str) -> str:
    return f"{found.file.name}:{found.line}: imports {found.target or '(relative)'}: {problem}"


@pytest.mark.parametrize("file", MODULES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_a_module_imports_only_what_lies_below_it(file: Path) -> None:
    problems = [told(found, problem) for found in imports_of(file) if (problem := problem_of(found))]
    assert problems == []


def test_every_part_has_its_level() -> None:
    known = RANKS.keys() | {"", "client"}
    assert {part_of(file) for file in MODULES} <= known


@pytest.mark.parametrize("file", BINDING_MODULES, ids=lambda file: f"{file.parent.name}-{file.name}")
def test_a_binding_sees_only_what_bindings_are_given(file: Path) -> None:
    """Folders of bindings are loaded under private names, so inside one of them relative imports are the way."""
    strays = [
        told(found, "not part of what bindings may use")
        for found in imports_of(file)
        if found.target.partition(".")[0] == "greenroom" and not found.target.startswith(BINDINGS_MAY_USE)
    ]
    assert strays == []


@pytest.mark.parametrize(
    ("place", "source", "refused"),
    [
        ("protocol/x.py", "from greenroom.session.handle import Caller", True),
        ("protocol/x.py", "from greenroom import app", True),
        ("protocol/x.py", "from greenroom import __version__", False),
        ("session/x.py", "def f() -> None:\n    import greenroom.doors.safety", True),
        ("session/x.py", "from greenroom.pipeline import channel", False),
        ("session/x.py", "from . import handle", True),
        ("client/x.py", "from greenroom.bindings import roles", True),
        ("doors/x.py", "import greenroom.client", True),
        ("commandline/x.py", "import greenroom.client", False),
    ],
)
def test_the_rule_itself(
    place: str, source: str, refused: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("protocol", "session", "client", "doors", "commandline", "app"):
        (tmp_path / package).mkdir()
    monkeypatch.setattr(f"{__name__}.PACKAGE", tmp_path)
    file = tmp_path / place
    file.write_text(source, encoding="utf-8")
    assert any(problem_of(found) for found in imports_of(file)) is refused
