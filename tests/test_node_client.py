"""The ordinary Socket.IO client of Node talks to a real server: what a program in another language sees."""

from pathlib import Path
from typing import Any

import pytest

from fakes.mini_server import threaded_server
from fakes.node import SOURCE, NodeFailed, NodeProject, install_node_project

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
CHAT = SOURCE / "chat.mjs"


@pytest.fixture(scope="session")
def node_project(pytestconfig: pytest.Config) -> NodeProject:
    cache = pytestconfig.cache
    assert cache is not None
    return install_node_project(cache.mkdir("node"))


def check(told: dict[str, Any]) -> None:
    assert told["joined"]["server"]["protocol"] == 1
    assert told["ordered"]
    assert told["chunks"] == told["text"] != ""
    assert told["names"][0] == "job_started"
    assert told["names"].count("job_finished") == 1
    assert told["finished"]["success"]
    assert told["audio_is_binary"]
    form = told["audio_format"]
    assert form["format"] == "pcm_s16le"
    assert told["audio_bytes"] > 0
    assert told["audio_bytes"] % (form["sw"] * form["ch"]) == 0


@pytest.mark.slow
def test_node_asks_and_hears_a_real_server(node_project: NodeProject, server_url: str) -> None:
    check(node_project.run(CHAT, server_url, "It rains"))


def test_node_reads_what_the_protocol_says(node_project: NodeProject) -> None:
    """Against a server whose every word is known."""
    with threaded_server() as server:
        told = node_project.run(CHAT, server.url, "Hello")
    check(told)
    assert told["text"] == "You said: Hello Fine."
    assert told["sentences"] == ["You said: Hello Fine."]
    assert told["audio_bytes"] == 4 * 1280


def test_node_is_told_why_it_is_refused(node_project: NodeProject) -> None:
    with threaded_server(token="another") as server, pytest.raises(NodeFailed, match="opens nothing here"):  # noqa: S106
        node_project.run(CHAT, server.url, "Hello")


def test_the_node_example(node_project: NodeProject) -> None:
    with threaded_server() as server:
        assert node_project.output(EXAMPLES / "node_client.mjs", server.url) == "You said: Hello, who are you? Fine.\n"
