import shutil
from collections.abc import AsyncGenerator
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio

from fakes.server_process import ServerProcess, running_server

SCRIPTED = Path(__file__).parents[1] / "fakes" / "bindings" / "scripted"
QUICK = "turn: {audio_lead_ms: 0}\n"


def make_home(folder: Path, config: str = "") -> Path:
    """A home with the binding ``scripted`` beside the built-in ones, and this configuration."""
    shutil.copytree(SCRIPTED, folder / "bindings" / "scripted", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "config.yaml").write_text(config, encoding="utf-8")
    return folder


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[ServerProcess, None]:
    """One server for a module's tests, each of which has a session of its own; speech is sent as fast as it is made."""
    async with running_server(make_home(tmp_path_factory.mktemp("shared"), QUICK)) as process:
        yield process


@pytest.fixture
def den() -> str:
    """A session that no other test uses."""
    return f"den-{uuid4()}"
