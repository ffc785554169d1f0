"""The desk for lollms' vector events: texts made into vectors, and looked up again. The client keeps the database."""

import asyncio
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from greenroom.bindings.guard import guarded
from greenroom.bindings.roles import Embedding
from greenroom.errors import BadRequest, Forbidden, TooLarge
from greenroom.protocol.commands import QueryDatabase, VectorizeText, validation_problem
from greenroom.session.handle import Caller, Reply
from greenroom.session.operations import operation_as
from greenroom.session.session import Session
from greenroom.session.tfidf import cut_text, nearest, unit, vector, weights
from greenroom.values import Role

_MAX_PIECES = 1024
_EMBEDDED_AT_ONCE = 64


class _Database(BaseModel):
    """What ``vectorize_text`` gave."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    embeddings: list[list[float]] = Field(max_length=_MAX_PIECES)
    texts: list[str] = Field(max_length=_MAX_PIECES)
    infos: list[dict[str, Any]] = Field(max_length=_MAX_PIECES)
    vectorizer: dict[str, float] | None = None


class VectorDesk:
    def __init__(self, session: Session) -> None:
        self._session = session
        session.handle(VectorizeText, self._vectorize)
        session.handle(QueryDatabase, self._query)

    async def _vectorize(self, command: VectorizeText, caller: Caller) -> Reply:
        _refuse_path(command.database_path)
        pieces = [(item.path, piece) for item in command.payloads for piece in cut_text(item.text, command.chunk_size)]
        if len(pieces) > _MAX_PIECES:
            raise TooLarge(f"vectorize_text: {len(pieces)} pieces; at most {_MAX_PIECES}: take a larger chunk_size")
        texts = [text for _, text in pieces]
        idf: dict[str, float] | None = None
        if command.vectorization_method == "model_embedding":
            embeddings = await self._embed(texts)
        else:
            idf, embeddings = await asyncio.to_thread(_tfidf, texts)
        return {
            "status": True,
            "embeddings": embeddings,
            "texts": texts,
            "infos": [{"path": path, "chunk_index": index} for index, (path, _) in enumerate(pieces)],
            "vectorizer": idf,
        }

    async def _query(self, command: QueryDatabase, caller: Caller) -> Reply:
        _refuse_path(command.database_path)
        try:
            database = _Database.model_validate(command.database)
        except ValidationError as error:
            raise validation_problem("query_database: database", error) from None
        if not len(database.embeddings) == len(database.texts) == len(database.infos):
            raise BadRequest("query_database: database: embeddings, texts and infos differ in length")
        if command.vectorization_method == "model_embedding":
            (wanted,) = await self._embed([command.query])
        elif database.vectorizer is None:
            raise BadRequest("query_database: database: wanted the vectorizer that vectorize_text gave")
        else:
            wanted = await asyncio.to_thread(vector, command.query, database.vectorizer)
        try:
            found = await asyncio.to_thread(nearest, wanted, database.embeddings, command.top_k)
        except ValueError:
            raise BadRequest("query_database: database: its vectors are of another size than the query's") from None
        return {
            "status": True,
            "chunks": [database.texts[index] for index in found],
            "refs": [database.infos[index] for index in found],
        }

    async def _embed(self, texts: list[str]) -> list[list[float]]:
        loaded = await self._session.operations.hold(Role.EMBEDDING)
        vectors: list[list[float]] = []
        try:
            with guarded(loaded.binding_id):
                embedding: Embedding[Any] = operation_as(Embedding, loaded)
                for at in range(0, len(texts), _EMBEDDED_AT_ONCE):
                    found = await embedding.embed(texts[at : at + _EMBEDDED_AT_ONCE])
                    vectors += [unit([float(value) for value in row]) for row in found]
        finally:
            await loaded.release()
        return vectors


def _refuse_path(path: str | None) -> None:
    """Clients name no files here: not to read and not to write."""
    if path:
        raise Forbidden(
            "database_path: the server keeps no vector files for clients; keep the database that it returns"
        )


def _tfidf(texts: list[str]) -> tuple[dict[str, float], list[list[float]]]:
    idf = weights(texts)
    return idf, [vector(text, idf) for text in texts]
