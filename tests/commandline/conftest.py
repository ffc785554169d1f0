import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fakes.mini_server import ThreadedServer, threaded_server


@pytest.fixture(autouse=True)
def away_from_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run in an empty folder, with an empty home and no sound device."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GREENROOM_HOME", str(tmp_path / "home"))
    for name in ("GREENROOM_URL", "GREENROOM_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    return tmp_path


@pytest.fixture
def server() -> Iterator[ThreadedServer]:
    with threaded_server() as running:
        yield running
