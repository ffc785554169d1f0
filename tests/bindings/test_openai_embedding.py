from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fakes.binding_rig import open_operation
from fakes.openai_server import FakeOpenAI, embedding_of
from greenroom.errors import BindingFailed
from greenroom.values import Role


@pytest.fixture
async def fake() -> AsyncIterator[FakeOpenAI]:
    async with FakeOpenAI() as server:
        yield server


async def embed(fake: FakeOpenAI, *texts: str, **options: Any) -> NDArray[np.float32]:
    async with open_operation("openai", Role.EMBEDDING, {"base_url": fake.base_url, **options}) as embedding:
        vectors: NDArray[np.float32] = await embedding.embed(texts)
        return vectors


async def test_one_vector_a_text_in_order(fake: FakeOpenAI) -> None:
    vectors = await embed(fake, "a", "b", "c", dimensions=16, batch_size=2)
    assert vectors.dtype == np.float32
    assert vectors.tolist() == [embedding_of(text, 16) for text in "abc"]
    assert [exchange.body["input"] for exchange in fake.exchanges] == [["a", "b"], ["c"]]
    assert fake.exchanges[0].body["encoding_format"] == "base64" and fake.exchanges[0].body["dimensions"] == 16


async def test_the_length_is_the_servers_unless_it_was_set(fake: FakeOpenAI) -> None:
    assert (await embed(fake, "a")).shape == (1, 8)
    assert "dimensions" not in fake.exchanges[0].body


async def test_no_text_and_an_empty_text(fake: FakeOpenAI) -> None:
    assert (await embed(fake)).shape == (0, 1536)
    assert fake.exchanges == []
    assert (await embed(fake, "")).tolist() == [embedding_of(" ", 8)]


@pytest.mark.parametrize(
    ("failure", "sentence"),
    [("html", "one vector for each text"), ("json", "one vector for each text"), ("404", "does not have the model")],
)
async def test_each_failure_has_its_sentence(fake: FakeOpenAI, failure: str, sentence: str) -> None:
    with pytest.raises(BindingFailed, match=sentence):
        await embed(fake, "a", model=f"fail:{failure}")
