"""lollms' vector events."""

from typing import Any

import pytest

from greenroom.errors import BadRequest, Forbidden, Unavailable
from session.scene import Scene

TEXTS = [
    {"path": "a.txt", "text": "the cat sits on the mat and purrs"},
    {"path": "b.txt", "text": "a ship sails over the stormy sea to the harbour"},
]


async def test_what_was_vectorized_is_found_again(scene: Scene) -> None:
    database = await scene.ask("vectorize_text", payloads=TEXTS, chunk_size="5")
    assert database["status"] is True
    assert database["texts"][0] == "the cat sits on the"
    assert len(database["embeddings"]) == len(database["texts"]) == len(database["infos"]) == 4
    found = await scene.ask("query_database", database=dict(database), query="harbour", top_k=1)
    assert found["chunks"] == ["stormy sea to the harbour"]
    assert found["refs"][0]["path"] == "b.txt"


async def test_no_file_is_read_or_written_for_a_client(scene: Scene) -> None:
    with pytest.raises(Forbidden):
        await scene.ask("vectorize_text", payloads=TEXTS, database_path="../../x.json")
    with pytest.raises(Forbidden):
        await scene.ask("query_database", query="x", database_path="/etc/passwd")


@pytest.mark.parametrize(
    "database",
    [
        {},
        {"embeddings": [[1.0]], "texts": [], "infos": [], "vectorizer": {"x": 1}},
        {"embeddings": [[1.0, 2.0]], "texts": ["x"], "infos": [{}], "vectorizer": {"x": 1}},
        {"embeddings": [["x"]], "texts": ["x"], "infos": [{}]},
        {"embeddings": [], "texts": [], "infos": []},
    ],
)
async def test_a_broken_database_is_named(scene: Scene, database: dict[str, Any]) -> None:
    with pytest.raises(BadRequest, match="database"):
        await scene.ask("query_database", database=database, query="x")


async def test_embeddings_need_an_operation_that_makes_them(scene: Scene) -> None:
    with pytest.raises(Unavailable, match="EMBEDDING"):
        await scene.ask("vectorize_text", payloads=TEXTS, vectorization_method="model_embedding")
