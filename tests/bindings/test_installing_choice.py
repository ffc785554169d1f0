"""Which installer is called, how, with what environment; and what counts as a binding's requirements."""

import importlib.util
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from greenroom.bindings.discovery import FoundBinding, read_binding
from greenroom.bindings.installing import installer as installer_module
from greenroom.bindings.installing.carried import CARRIED, pack_wheels, requirement_lines
from greenroom.bindings.installing.folders import Folders
from greenroom.bindings.installing.installer import Installer, Kind, child_environment, choose, pip_is_configured
from greenroom.bindings.installing.requirements import read_requirements
from greenroom.errors import BadRequest, Unavailable

PYTHON = Path("env") / "bin" / "python"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One without any installer beside Python, and without pip's configuration; its home is the folder."""
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "prefix"))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))
    monkeypatch.setattr(installer_module, "_pip_files", lambda environ: [tmp_path / "pip.conf"])
    return tmp_path


def put_uv(folder: Path) -> Path:
    uv = folder / "tools" / ("uv.exe" if sys.platform == "win32" else "uv")
    uv.parent.mkdir()
    uv.write_text("")
    uv.chmod(0o755)
    return uv


def test_pip_where_there_is_no_uv(machine: Path) -> None:
    chosen = choose({"PATH": ""})
    assert chosen.kind is Kind.PIP
    assert chosen.install(PYTHON, ["toy"])[:5] == [sys.executable, "-P", "-m", "pip", "--python"]


def test_uv_where_pip_is_not_configured(machine: Path) -> None:
    uv = put_uv(machine)
    path = {"PATH": str(uv.parent)}
    assert choose(path).command == (str(uv),)
    assert choose({**path, "PIP_NO_INPUT": "1"}).kind is Kind.UV
    assert choose({**path, "PIP_CONSTRAINT": "c.txt"}).kind is Kind.PIP
    assert choose({**path, "PIP_CONSTRAINT": "c.txt"}, wanted=Kind.UV).kind is Kind.UV
    assert choose(path, wanted=Kind.PIP).kind is Kind.PIP
    (machine / "pip.conf").write_text("[global]\nindex-url = http://intranet.example/simple\n")
    assert choose(path).kind is Kind.PIP


def test_without_uv_it_cannot_be_asked_for(machine: Path) -> None:
    with pytest.raises(Unavailable, match="pip install uv"):
        choose({"PATH": ""}, wanted=Kind.UV)


@pytest.mark.parametrize("bundled", [True, False])
def test_a_python_without_pip(bundled: bool, machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec

    def find_spec(name: str, package: str | None = None) -> ModuleSpec | None:
        if name == "pip" or (name == "ensurepip" and not bundled):
            return None
        return real(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    if not bundled:
        with pytest.raises(Unavailable, match="neither pip nor uv"):
            choose({"PATH": ""})
        return
    chosen = choose({"PATH": ""})
    assert chosen.prepare(PYTHON) == [str(PYTHON), "-P", "-m", "ensurepip", "--default-pip"]
    assert chosen.install(PYTHON, ["toy"])[:5] == [str(PYTHON), "-P", "-m", "pip", "install"]


@pytest.mark.parametrize(("version", "raw"), [("23.2.1", False), ("24.0", False), ("24.1", True), ("26.3", True)])
def test_a_pip_that_counts_bytes_is_asked_to(version: str, raw: bool) -> None:
    command = Installer(Kind.PIP, version, ("pip",)).install(PYTHON, [])
    assert command[command.index("--progress-bar") + 1] == ("raw" if raw else "off")


def test_where_pip_keeps_its_configuration(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "USERPROFILE": str(tmp_path), "XDG_CONFIG_DIRS": str(tmp_path / "shared")}
    files = installer_module._pip_files(environ)
    assert any(tmp_path in file.parents for file in files)
    assert all(file.name in ("pip.conf", "pip.ini") for file in files)
    own = next(file for file in files if tmp_path in file.parents)
    assert own.parent != tmp_path
    own.parent.mkdir(parents=True)
    own.write_text("[global]\ntimeout = 3\n")
    assert pip_is_configured(environ)


def test_the_installers_environment(machine: Path) -> None:
    given = {
        "PATH": "p",
        "GREENROOM_TOKEN": "t",
        "PIP_TARGET": "elsewhere",
        "PYTHONPATH": "x",
        "PIP_INDEX_URL": "u",
        "HTTPS_PROXY": "q",
    }
    child = child_environment(given, machine / "tmp")
    assert (child["PATH"], child["PIP_INDEX_URL"], child["HTTPS_PROXY"]) == ("p", "u", "q")
    assert "GREENROOM_TOKEN" not in child, "a package that is built here runs code of its own"
    assert "PIP_TARGET" not in child and "PYTHONPATH" not in child
    assert child["TMPDIR"] == child["TEMP"] == str(machine / "tmp")
    assert child["PIP_NO_INPUT"] == "1", "nobody could answer"
    assert "PIP_CONFIG_FILE" not in child
    (machine / "prefix").mkdir()
    site = machine / "prefix" / ("pip.ini" if sys.platform == "win32" else "pip.conf")
    site.write_text("[global]\n")
    assert child_environment(given, machine)["PIP_CONFIG_FILE"] == str(site)
    assert child_environment({"PIP_CONFIG_FILE": "mine"}, machine)["PIP_CONFIG_FILE"] == "mine"


def binding(folder: Path, requirements: str | None = None, card: str = "") -> FoundBinding:
    folder.mkdir(exist_ok=True)
    (folder / "binding_card.yaml").write_text(f"name: x\n{card}")
    if requirements is not None:
        (folder / "requirements.txt").write_text(requirements, encoding="utf-8")
    return read_binding(folder)


def digest(found: FoundBinding) -> str:
    needed = read_requirements(found)
    assert needed is not None
    return needed.digest


def test_what_counts_as_a_requirement(tmp_path: Path) -> None:
    assert read_requirements(binding(tmp_path / "none")) is None
    assert read_requirements(binding(tmp_path / "empty", "\n# nothing\n")) is None
    plain = digest(binding(tmp_path / "a", "toy==1\n"))
    assert digest(binding(tmp_path / "a", "# a word\ntoy==1   # another\n\n")) == plain
    assert digest(binding(tmp_path / "a", "toy==2\n")) != plain
    assert digest(binding(tmp_path / "a", "toy==1\n", "requirements: [six]\n")) != plain
    only_card = read_requirements(binding(tmp_path / "b", None, "requirements: [six, 'toy>1']\n"))
    assert only_card is not None and only_card.file is None and only_card.lines == ("six", "toy>1")


def test_files_that_are_named_count_too(tmp_path: Path) -> None:
    found = binding(tmp_path / "a", "-r more.txt\n-c pins.txt\n-r more.txt\n-r https://example.org/x.txt\n")
    (tmp_path / "a" / "more.txt").write_text("toy\n-r requirements.txt\n")
    before = digest(found)
    (tmp_path / "a" / "pins.txt").write_text("toy==1\n")
    after = digest(found)
    (tmp_path / "a" / "more.txt").write_text("six\n")
    assert len({before, after, digest(found)}) == 3


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    found = binding(tmp_path / "a", "")
    (tmp_path / "a" / "requirements.txt").write_bytes(b"\xff\xfe toy")
    with pytest.raises(BadRequest, match=r"requirements.txt: wanted text in UTF-8"):
        read_requirements(found)


def test_the_servers_own_packages_as_wheels(tmp_path: Path) -> None:
    pack_wheels(tmp_path)
    names = {path.name.partition("-")[0].lower() for path in tmp_path.iterdir()}
    assert {"pydantic", "pydantic_core", "typing_extensions", "starlette", "anyio", "httpx"} <= names
    assert all(path.suffix == ".whl" for path in tmp_path.iterdir())
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    pack_wheels(tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before
    lines = requirement_lines()
    assert [line.partition(">")[0].partition("<")[0] for line in lines] == list(CARRIED)
    assert "uvicorn>=0.35" in lines, "the range is greenroom's, its extras are left out"


def test_folders_of_bindings_with_similar_names(tmp_path: Path) -> None:
    folders = Folders(tmp_path)
    for name in ("a-0123456789ab", "a-0123456789ab-2", "a-0123456789ab-10", "a-b-0123456789ab", "a-nothing", "wheels"):
        (tmp_path / name).mkdir()
    assert [folder.generation for folder in folders.of("a")] == [1, 2, 10]
    assert [folder.path.name for folder in folders.of("a-b")] == ["a-b-0123456789ab"]
    assert folders.next("a", "0123456789ab").name == "a-0123456789ab-11"
    assert folders.next("a", "ba9876543210").name == "a-ba9876543210"
    assert folders.of("../a") == []
