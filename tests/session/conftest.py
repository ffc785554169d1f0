from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from greenroom.app import ServeOptions, open_greenroom, prepare
from session.scene import CONFIG, SCRIPTED, Scene


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "config.yaml").write_text(CONFIG, encoding="utf-8")
    (tmp_path / "bindings").symlink_to(SCRIPTED, target_is_directory=True)
    return tmp_path


@pytest.fixture
async def scene(home: Path) -> AsyncGenerator[Scene, None]:
    async with open_greenroom(prepare(ServeOptions(home=home), {})) as greenroom:
        yield Scene(greenroom, await greenroom.sessions.get("main"))
        await greenroom.close()
