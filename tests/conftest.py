import os
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from fakes.server_process import ServerProcess, running_server

pytest.register_assert_rewrite("e2e.promises", "e2e.visitor")
# A busy machine is slow, not wrong; and what CI finds has to be found again elsewhere.
settings.register_profile(
    "greenroom",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=bool(os.environ.get("CI")),
    print_blob=True,
)
settings.load_profile("greenroom")


@pytest.fixture
async def server(tmp_path: Path) -> AsyncGenerator[ServerProcess, None]:
    """A real server in its own process, default configuration, empty home."""
    async with running_server(tmp_path / "home") as process:
        yield process


@pytest.fixture
def server_url(server: ServerProcess) -> str:
    return server.url
