from collections.abc import Callable
from pathlib import Path

import pytest

Maker = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Maker:
    """``make("english/fun/bear", "name: Bear", logo="png")`` -> the folder under ``tmp_path / "zoo"``."""

    def build(place: str, config: str = "", *, logo: str = "", script: bool = False, root: str = "zoo") -> Path:
        folder = tmp_path / root / place
        (folder / "assets").mkdir(parents=True)
        (folder / "config.yaml").write_text(config or f"name: {folder.name.title()}\n", encoding="utf-8")
        if logo:
            (folder / "assets" / f"logo.{logo}").write_bytes(b"picture")
        if script:
            (folder / "scripts").mkdir()
            (folder / "scripts" / "processor.py").write_text("", encoding="utf-8")
        return folder

    return build


@pytest.fixture
def soul(tmp_path: Path) -> Maker:
    """``soul("fun/bear", text)`` -> a folder with a ``SOUL.md`` and nothing else."""

    def build(place: str, text: str | bytes, *, root: str = "zoo") -> Path:
        folder = tmp_path / root / place
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "SOUL.md").write_bytes(text.encode() if isinstance(text, str) else text)
        return folder

    return build
