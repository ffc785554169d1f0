import os
import sys
from pathlib import Path

import pytest

from greenroom.errors import BadRequest, Unavailable
from greenroom.paths import BuiltIn, Home, find_built_in, find_home, make_folder, user_data_folder


@pytest.fixture
def built_in(tmp_path: Path) -> BuiltIn:
    root = tmp_path / "installed"
    return BuiltIn(root / "bindings", root / "personalities", root / "config.yaml")


def test_the_named_home_comes_first(tmp_path: Path, built_in: BuiltIn) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "config.yaml").touch()
    env = {"GREENROOM_HOME": str(tmp_path / "by-env"), "XDG_DATA_HOME": str(tmp_path / "data")}
    here = tmp_path / "here"
    assert find_home(tmp_path / "named", env=env, working_folder=here, built_in=built_in).root == tmp_path / "named"
    assert find_home(None, env=env, working_folder=here, built_in=built_in).root == tmp_path / "by-env"
    assert find_home("", env={}, working_folder=here, built_in=built_in).root == here


def test_the_nearest_config_upwards(tmp_path: Path, built_in: BuiltIn) -> None:
    deep = tmp_path / "home" / "personalities" / "english" / "fun" / "pirate"
    deep.mkdir(parents=True)
    (tmp_path / "config.yaml").touch()
    (tmp_path / "home" / "config.yaml").write_text("user_name: Ann\n", encoding="utf-8")
    (deep / "config.yaml").write_text("name: pirate\npersonality_conditioning: Arr\n", encoding="utf-8")
    home = find_home(env={}, working_folder=deep, built_in=built_in)
    assert home.root == tmp_path / "home"
    assert home.config_file == tmp_path / "home" / "config.yaml"
    assert home.notes == ()


if sys.platform != "win32":

    def test_a_strangers_config_further_up_is_not_trusted(
        tmp_path: Path, built_in: BuiltIn, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "config.yaml").touch()
        inner = tmp_path / "work"
        inner.mkdir()
        if os.geteuid() == 0:
            os.chown(tmp_path / "config.yaml", 12345, -1)
        else:
            monkeypatch.setattr(os, "geteuid", lambda: 12345)
        home = find_home(env={"XDG_DATA_HOME": "/data"}, working_folder=inner, built_in=built_in)
        assert home.root == Path("/data/greenroom")
        assert "belongs to another user" in home.notes[0]
        assert find_home(env={}, working_folder=tmp_path, built_in=built_in).root == tmp_path


def test_else_the_platforms_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    data = str(tmp_path / "shared")
    assert user_data_folder("linux", {"XDG_DATA_HOME": data}) == tmp_path / "shared" / "greenroom"
    assert user_data_folder("linux", {"XDG_DATA_HOME": "relative"}) == tmp_path / ".local" / "share" / "greenroom"
    assert user_data_folder("darwin", {}) == tmp_path / "Library" / "Application Support" / "greenroom"
    assert user_data_folder("win32", {"LOCALAPPDATA": data}) == tmp_path / "shared" / "greenroom"
    assert user_data_folder("win32", {}) == tmp_path / "AppData" / "Local" / "greenroom"


def test_a_user_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", nowhere)
    with pytest.raises(Unavailable, match="--home or GREENROOM_HOME"):
        user_data_folder("linux", {})


def test_an_empty_home_is_a_complete_one_and_nothing_is_written(tmp_path: Path, built_in: BuiltIn) -> None:
    home = find_home(tmp_path / "new", env={}, built_in=built_in)
    assert home.config_file is None
    assert home.binding_roots == (built_in.bindings, tmp_path / "new" / "bindings")
    assert home.personality_roots == (built_in.personalities, tmp_path / "new" / "personalities")
    assert home.database == tmp_path / "new" / "data" / "greenroom.db"
    names = [home.models, home.prompts, home.configs, home.data, home.logs, home.env_file]
    assert [path.name for path in names] == ["models", "prompts", "configs", "data", "logs", ".env"]
    assert all(path.parent == home.root for path in names)
    assert not (tmp_path / "new").exists()


def test_a_home_that_is_the_installation_has_one_root(tmp_path: Path) -> None:
    built_in = BuiltIn(tmp_path / "bindings", tmp_path / "personalities", tmp_path / "config.yaml")
    home = Home(tmp_path, built_in)
    assert home.binding_roots == (tmp_path / "bindings",)
    assert home.personality_roots == (tmp_path / "personalities",)


def test_a_home_that_is_a_file(tmp_path: Path, built_in: BuiltIn) -> None:
    (tmp_path / "home").touch()
    with pytest.raises(BadRequest, match="is a file; wanted a folder"):
        find_home(tmp_path / "home", env={}, built_in=built_in)


def test_the_checkouts_own_folders() -> None:
    root = Path(__file__).parents[1]
    built_in = find_built_in(root / "server" / "greenroom")
    assert built_in == BuiltIn(root / "bindings", root / "personalities", root / "config.yaml")
    assert (built_in.bindings / "eliza").is_dir()
    assert built_in.config.is_file()


def test_a_wheel_brings_them_inside_the_package(tmp_path: Path) -> None:
    package = tmp_path / "lib" / "site-packages" / "greenroom"
    for name in ("bindings", "personalities"):
        (package / "bundled" / name).mkdir(parents=True)
    assert find_built_in(package).bindings == package / "bundled" / "bindings"


def test_an_incomplete_installation(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="is incomplete"):
        find_built_in(tmp_path / "server" / "greenroom")


def test_folders_are_made_when_needed(tmp_path: Path) -> None:
    assert make_folder(tmp_path / "a" / "b").is_dir()
    assert make_folder(tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "inner"):
        with pytest.raises(Unavailable, match="cannot be made: a file of that name is in the way"):
            make_folder(path)


def test_a_folder_that_the_system_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, parents: bool = False, exist_ok: bool = False) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(Unavailable, match="cannot be made: Permission denied"):
        make_folder(tmp_path / "data")
