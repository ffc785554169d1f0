"""The examples of the documentation do what they say."""

import subprocess
import sys
from pathlib import Path

from fakes.mini_server import ThreadedServer, threaded_server

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
DEFAULT_URL = "http://127.0.0.1:9601"


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
    assert done.stdout == "You said: Hello, who are you? Fine."
    assert (tmp_path / "answer.wav").stat().st_size == 44 + 7 * 1280
