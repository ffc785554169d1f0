"""A wheel installed elsewhere, with no checkout in sight, works the same."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from fakes.server_process import running_server

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's files in a folder of their own."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = folder.glob("*.whl")
    site = folder / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return site


def test_it_holds_bindings_characters_and_configuration_and_nothing_private(installed: Path) -> None:
    bundled = installed / "greenroom" / "bundled"
    for name in (
        "config.yaml",
        "bindings/espeak/binding.py",
        "bindings/eliza/scripts/english.yaml",
        "personalities/english/companions/robin/assets/logo.png",
    ):
        assert (bundled / name).is_file()
    assert not list(installed.rglob("__pycache__"))
    assert not list(installed.rglob("*.db"))


async def test_its_server_answers_far_from_any_checkout(installed: Path, tmp_path: Path) -> None:
    from greenroom.client import connect

    async with (
        running_server(tmp_path / "home", env={"PYTHONPATH": str(installed)}) as server,
        connect(server.url) as room,
    ):
        answer = await room.ask("Hello, who are you?")
        assert "Robin" in answer.text
        assert answer.voice is not None and answer.voice.duration_ms > 500
    where = subprocess.run(
        [sys.executable, "-c", "import greenroom; print(greenroom.__file__)"],
        env={**os.environ, "PYTHONPATH": str(installed)},
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )
    assert str(installed) in where.stdout
