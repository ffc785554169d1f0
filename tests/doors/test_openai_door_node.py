"""OpenAI's SDK for Node, as a program in that language uses it."""

import asyncio
import base64
import io
from pathlib import Path

import av
import pytest

from fakes.node import SOURCE, NodeProject, install_node_project
from fakes.openai_door import served, with_backend
from fakes.openai_script import Answer
from fakes.openai_server import FakeOpenAI, embedding_of


@pytest.fixture(scope="session")
def node_project(pytestconfig: pytest.Config) -> NodeProject:
    cache = pytestconfig.cache
    assert cache is not None
    return install_node_project(cache.mkdir("node"))


async def test_the_sdk_for_node(node_project: NodeProject, tmp_path: Path) -> None:
    async with (
        FakeOpenAI(first_token_s=0, tokens_per_s=0, speech_first_byte_s=0, transcribe_s=0) as fake,
        served(tmp_path, with_backend(fake)) as server,
    ):
        told = await asyncio.to_thread(node_project.run, SOURCE / "openai.mjs", server.base_url)
    assert {"greenroom", "english/companions/robin", "openai/fake-chat"} <= set(told["models"])
    assert told["deltas"] == list(Answer().tokens)
    assert (told["thoughts"], told["finish"]) == ("Let me think.", "stop")
    assert told["usage"]["total_tokens"] > 0
    assert told["tool"] == {"name": "add", "arguments": '{"a": 1, "b": 2}'}
    sound = b"".join(base64.b64decode(piece) for piece in told["speech_pieces"])
    assert told["speech_type"] == "audio/mpeg" and len(told["speech_pieces"]) > 1
    with av.open(io.BytesIO(sound)) as container:
        assert container.streams.audio[0].codec_context.name == "mp3float"
    assert told["heard"] == "hello there"
    assert told["vectors"] == embedding_of("one", 8)
    assert told["missing"] == {"status": 404, "code": "model_not_found", "param": "model", "kind": "NotFoundError"}
    assert (told["wrong"]["status"], told["wrong"]["param"]) == (400, "messages")
