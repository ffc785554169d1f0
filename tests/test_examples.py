"""The examples of the documentation do what they say."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from fakes.every_door import OpenServer, open_server
from fakes.mini_server import ThreadedServer, threaded_server

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
DEFAULT_URL = "http://127.0.0.1:9601"
DEFAULT_WYOMING = "tcp://127.0.0.1:10200"


def of_server(name: str, server: ThreadedServer) -> str:
    """The example, with the fake server's address and character instead of the usual ones."""
    text = (EXAMPLES / name).read_text(encoding="utf-8")
    assert DEFAULT_URL in text
    return text.replace(DEFAULT_URL, server.url).replace("english/companions/robin", "english/tests/fake")


def test_the_python_client_in_ten_lines(tmp_path: Path) -> None:
    with threaded_server() as server:
        script = tmp_path / "example.py"
        script.write_text(of_server("python_client.py", server), encoding="utf-8")
        done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "You said: Hello, who are you? Fine.\n"
    assert (tmp_path / "answer.wav").stat().st_size == 44 + 7 * 1280


@pytest.fixture
async def shipped(tmp_path: Path) -> AsyncGenerator[OpenServer, None]:
    """As it is installed: eliza answers, espeak speaks."""
    async with open_server(tmp_path / "home", "turn: {audio_lead_ms: 0}\n") as running:
        yield running


async def run(name: str, server: OpenServer, folder: Path) -> str:
    """What the example prints, against this server instead of one at the usual addresses."""
    text = (EXAMPLES / name).read_text(encoding="utf-8")
    assert DEFAULT_URL in text or DEFAULT_WYOMING in text
    script = folder / name
    script.write_text(
        text.replace(DEFAULT_URL, server.url).replace(DEFAULT_WYOMING, server.wyoming_uri), encoding="utf-8"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, script, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, err.decode()
    return out.decode()


async def test_an_example_for_each_of_the_other_doors(shipped: OpenServer, tmp_path: Path) -> None:
    assert len((await run("openai_client.py", shipped, tmp_path)).split()) > 2
    answer, sound = (await run("jaison_client.py", shipped, tmp_path)).strip().rsplit("\n", 1)
    assert len(answer.split()) > 2 and int(sound.partition(" ")[0]) > 10_000
    assert len((await run("wyoming_client.py", shipped, tmp_path)).split()) > 2
