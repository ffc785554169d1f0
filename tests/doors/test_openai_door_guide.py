"""The guide's examples run as they stand there, against a server as it comes, and it names every endpoint."""

import asyncio
import re
import sys
from pathlib import Path

import pytest

from fakes.server_process import ServerProcess
from greenroom.doors.openai.door import ENDPOINTS

GUIDE = (Path(__file__).parents[2] / "docs" / "openai.md").read_text(encoding="utf-8")
SERVER = "http://127.0.0.1:9601"
EXAMPLES = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)


@pytest.mark.parametrize("path", ENDPOINTS)
def test_the_guide_names_every_endpoint(path: str) -> None:
    assert f"/v1/{path}`" in GUIDE


@pytest.mark.slow
async def test_the_examples_run(server: ServerProcess, tmp_path: Path) -> None:
    assert len(EXAMPLES) == 2
    for example in EXAMPLES:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", example.replace(SERVER, server.url)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=tmp_path,
        )
        said, failed = await process.communicate()
        assert process.returncode == 0, failed.decode()
        assert len(said) > 10
    assert (tmp_path / "curtain.wav").stat().st_size > 10_000
