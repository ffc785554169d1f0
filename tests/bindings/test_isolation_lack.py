"""What an isolated binding needs before it runs, said in a sentence: by the server, `greenroom list` and `doctor`."""

from pathlib import Path

import pytest

from greenroom.bindings.discovery import BindingShelf
from greenroom.bindings.environments import held
from greenroom.bindings.installing.manifest import MANIFEST_FILE
from greenroom.bindings.isolation.isolation import Isolation, IsolationSettings
from greenroom.commandline.local import find_local
from greenroom.errors import Unavailable

CODE = "from greenroom.bindings.roles import Binding\nBINDING = Binding({})\n"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "config.yaml").write_text("operations: []\n", encoding="utf-8")
    return tmp_path


def make(home: Path, *lines: str, requirements: str | None = None) -> None:
    folder = home / "bindings" / "apart"
    folder.mkdir(parents=True)
    card = "\n".join(("name: Apart", "roles: [t2t]", "isolation: process", *lines, ""))
    (folder / "binding_card.yaml").write_text(card, encoding="utf-8")
    (folder / "binding.py").write_text(CODE, encoding="utf-8")
    if requirements is not None:
        (folder / "requirements.txt").write_bytes(requirements.encode("latin-1"))


def seen(home: Path, python: Path | None = None) -> tuple[str, str]:
    isolation = Isolation(IsolationSettings({}, 0), lambda found: python)
    found = BindingShelf((home / "bindings",), isolation).get("apart")
    return found.status, found.problem


def test_with_requirements_the_installer_mends_it(home: Path) -> None:
    make(home, "imports: [no_such_package]", "install: something else", requirements="no-such-package==1\n")
    sentence = "apart needs no_such_package; install with: greenroom install apart"
    assert seen(home) == ("missing_packages", sentence)
    assert seen(home, Path("python")) == ("ready", "")
    found = find_local(home, env={}).bindings().get("apart")
    assert (found.status, found.problem) == ("missing_packages", sentence)
    assert find_local(home, env={}).bindings_here().get("apart").problem.endswith("something else")


def test_requirements_of_which_the_card_tells_no_imports(home: Path) -> None:
    make(home, 'requirements: ["no-such-package"]')
    assert seen(home)[1] == "apart needs the packages of its requirements; install with: greenroom install apart"


def test_without_an_environment_it_runs_in_ours_if_that_has_what_it_imports(home: Path) -> None:
    make(home, "imports: [pydantic]", requirements="pydantic\n")
    assert seen(home) == ("ready", "")


def test_without_requirements_the_cards_own_command_mends_it(home: Path) -> None:
    make(home, "imports: [no_such_package]", "install: conda install it", requirements="# none\n")
    assert seen(home)[1] == "apart needs no_such_package; install with: conda install it"


def test_requirements_that_cannot_be_read_harm_nobody_else(home: Path) -> None:
    make(home, requirements="caf\xe9\n")
    status, problem = seen(home)
    assert status == "missing_packages"
    assert problem.startswith("apart cannot be installed: ") and "UTF-8" in problem


def test_a_program_in_the_card_is_checked_when_it_is_read(home: Path) -> None:
    make(home, "program: {command: kobold --port 1}")
    assert seen(home)[0] == "broken" and "program.command" in seen(home)[1]


def test_an_environment_that_has_just_been_removed_is_not_used(tmp_path: Path) -> None:
    python = tmp_path / "apart-0123456789ab" / "bin" / "python"
    python.parent.mkdir(parents=True)
    with pytest.raises(Unavailable, match="apart-0123456789ab has just been removed"), held(python):
        pass
    (python.parents[1] / MANIFEST_FILE).write_text("{}")
    with held(python):
        assert list((python.parents[1] / "users").iterdir())
    assert not list((python.parents[1] / "users").iterdir())
