from pathlib import Path

import pytest

from greenroom.commandline.local import find_local
from greenroom.errors import BadRequest
from greenroom.serving.preparation import ServeOptions, prepare


def home_with(folder: Path, *names: str) -> Path:
    (folder / "configs").mkdir(parents=True)
    for name in names:
        (folder / "configs" / name).write_text(f"character_name: {name.split('.')[0].title()}\n", encoding="utf-8")
    return folder


@pytest.mark.parametrize("given", ["stage", "stage.yaml"])
def test_a_configuration_may_be_given_by_its_name(tmp_path: Path, given: str) -> None:
    home = home_with(tmp_path / "home", "stage.yaml", "other.yaml")
    prepared = prepare(ServeOptions(home=home, config=Path(given)), {})
    assert prepared.loaded.path == home / "configs" / "stage.yaml"
    assert prepared.loaded.config.context.character_name == "Stage"
    local = find_local(home, Path(given), env={})
    assert local.loaded is not None and local.loaded.path == prepared.loaded.path


def test_a_file_goes_before_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = home_with(tmp_path / "home", "stage.yaml")
    (tmp_path / "stage").write_text("user_name: Ana\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert prepare(ServeOptions(home=home, config=Path("stage")), {}).loaded.config.user_name == "Ana"


@pytest.mark.parametrize("given", ["nowhere", "configs/stage", "../home/configs/stage", "nowhere/stage.yaml"])
def test_a_configuration_that_is_not_there_stops_the_start(tmp_path: Path, given: str) -> None:
    home = home_with(tmp_path / "home", "stage.yaml")
    with pytest.raises(BadRequest, match="there is no configuration file"):
        prepare(ServeOptions(home=home, config=Path(given)), {})
    assert "there is no configuration file" in find_local(home, Path(given), env={}).problem
