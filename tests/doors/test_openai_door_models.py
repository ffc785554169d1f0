"""Which models there are, and vectors of texts."""

import base64
import math
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest

from fakes.openai_door import Served, served, with_backend
from fakes.openai_server import FakeOpenAI, embedding_of


@pytest.fixture
async def fake() -> AsyncIterator[FakeOpenAI]:
    async with FakeOpenAI(first_token_s=0, tokens_per_s=0) as backend:
        yield backend


@pytest.fixture
async def server(fake: FakeOpenAI, tmp_path: Path) -> AsyncIterator[Served]:
    async with served(tmp_path, with_backend(fake)) as running:
        yield running


async def test_the_models_are_characters_and_bare_models(server: Served) -> None:
    async with server.client() as client:
        listed = {model.id: model async for model in client.models.list()}
        for name in listed:
            assert (await client.models.retrieve(name)).id == name
    assert {"greenroom", "english/companions/robin", "german/maerchen/brumm"} <= listed.keys()
    assert {"openai/fake-chat", "scripted/plain", "scripted/fancy", "eliza/english"} <= listed.keys()
    assert not any(name.startswith(("espeak", "pocketsphinx", "filter_clean")) for name in listed)
    robin = listed["english/companions/robin"]
    assert (robin.object, robin.owned_by, robin.to_dict()["name"]) == ("model", "greenroom", "Robin")
    assert listed["openai/fake-chat"].owned_by == "openai" and robin.created > 1_700_000_000


async def test_a_list_is_not_looked_up_anew_for_everyone(server: Served, fake: FakeOpenAI) -> None:
    async with server.client() as client:
        for _ in range(3):
            await client.models.list()
    assert len(fake.of("/models")) == 1


async def test_a_model_that_is_not_there(server: Served) -> None:
    async with server.client() as client:
        for name in ("gpt-4o", "scripted/none", "english/none"):
            with pytest.raises(openai.NotFoundError) as missing:
                await client.models.retrieve(name)
            assert missing.value.code == "model_not_found"


async def test_names_that_mean_the_sessions_own_are_there(server: Served) -> None:
    async with server.client() as client:
        for name in ("tts-1", "whisper-1", "gpt-4o-mini-transcribe", "text-embedding-3-small"):
            assert (await client.models.retrieve(name)).owned_by == "greenroom"
        for name in ("espeak", "pocketsphinx"):  # no chat, and a model all the same
            assert (await client.models.retrieve(name)).owned_by == name
    answer = await server.http.get("/v1/audio/models")
    known = {model["id"]: model["name"] for model in answer.json()["models"]}
    assert known["tts-1"] == "tts-1" and known["espeak"] == "eSpeak NG" and "eliza" not in known


async def test_every_listed_model_answers(server: Served, fake: FakeOpenAI) -> None:
    hello: Any = [{"role": "user", "content": "say hello"}]
    async with server.client() as client:
        for name in (
            "greenroom",
            "scripted/fancy",
            "scripted",
            "eliza",
            "eliza/german",
            "openai/whisper-fake",
            "brumm",
        ):
            answer = await client.chat.completions.create(model=name, messages=hello)
            assert answer.choices[0].message.content, name
    assert fake.of("/chat/completions")[-2].model == "whisper-fake"


async def test_a_bare_model_stays_open_for_the_next_request(server: Served) -> None:
    hello: Any = [{"role": "user", "content": "say hello"}]
    async with server.client() as client:
        await client.chat.completions.create(model="scripted/plain", messages=hello)
        engines = server.greenroom.engines.open_count
        await client.chat.completions.create(model="scripted/fancy", messages=hello)
        assert server.greenroom.engines.open_count == engines
    await server.door.close()
    assert server.greenroom.engines.open_count < engines


async def test_only_the_owner_chooses_what_only_the_owner_may(fake: FakeOpenAI, tmp_path: Path) -> None:
    """What a session's owner configured is used; a client names models, no addresses."""
    async with served(tmp_path, with_backend(fake)) as server, server.client() as client:
        hello: Any = [{"role": "user", "content": "hi"}]
        extra: Any = {"base_url": "http://evil.example.org", "extra_body": {"a": 1}, "secret_url": "x"}
        await client.chat.completions.create(model="greenroom", messages=hello, extra_body=extra)
        assert "a" not in fake.of("/chat/completions")[-1].body


async def test_vectors(server: Served) -> None:
    async with server.client() as client:
        made = await client.embeddings.create(model="text-embedding-3-small", input=["one", "two"])
        assert [item.index for item in made.data] == [0, 1]
        assert [item.embedding for item in made.data] == [embedding_of(text, 8) for text in ("one", "two")]
        assert made.usage.total_tokens > 0 and made.model == "text-embedding-3-small"
        plain = await client.embeddings.create(model="openai", input="one", encoding_format="float")
        assert plain.data[0].embedding == embedding_of("one", 8)
        short = await client.embeddings.create(model="greenroom", input="one", dimensions=3)
        length = math.sqrt(sum(value * value for value in embedding_of("one", 8)[:3]))
        assert short.data[0].embedding == pytest.approx([value / length for value in embedding_of("one", 8)[:3]])
        with pytest.raises(openai.BadRequestError, match="this model has 8") as refused:
            await client.embeddings.create(model="greenroom", input="one", dimensions=9)
        assert refused.value.param == "dimensions"
    raw = await server.http.post("/v1/embeddings", json={"model": "greenroom", "input": "one"})
    assert raw.json()["data"][0]["embedding"] == embedding_of("one", 8), "numbers, unless base64 is asked for"
    packed = {"model": "greenroom", "input": "one", "encoding_format": "base64"}
    found = (await server.http.post("/v1/embeddings", json=packed)).json()["data"][0]["embedding"]
    assert list(struct.unpack("<8f", base64.b64decode(found))) == embedding_of("one", 8)
