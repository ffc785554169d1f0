from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from fakes.server_process import ServerProcess, running_server

pytest.register_assert_rewrite("e2e.promises", "e2e.visitor")


@pytest.fixture
async def server(tmp_path: Path) -> AsyncGenerator[ServerProcess, None]:
    """A real server in its own process, default configuration, empty home."""
    async with running_server(tmp_path / "home") as process:
        yield process


@pytest.fixture
def server_url(server: ServerProcess) -> str:
    return server.url
