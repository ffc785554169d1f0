"""``/v1/embeddings``."""

import base64
import math
import sys
from array import array
from collections.abc import Sequence
from typing import Any, Final

from greenroom.bindings.guard import guarded
from greenroom.bindings.roles import Embedding
from greenroom.doors.openai.context import Context
from greenroom.doors.openai.exchange import Exchange
from greenroom.doors.openai.failures import bad_field, too_large, unsupported
from greenroom.doors.openai.models import ALIASES, Target
from greenroom.doors.openai.requests import EmbeddingRequest, bounded, parse
from greenroom.errors import BindingFailed
from greenroom.personalities.prompt import estimated_tokens
from greenroom.protocol.grant import Grant
from greenroom.session.operations import operation_as
from greenroom.values import Access, Role

_MAX_TEXTS: Final = 2048
_MAX_BYTES: Final = 16 << 20
_AT_ONCE: Final = 64


async def embed(context: Context, exchange: Exchange, grant: Grant) -> None:
    grant.require(Access.PERFORMER, "embedding")
    request = parse(EmbeddingRequest, await exchange.body(_MAX_BYTES))
    exchange.watch()
    texts = _texts(request.input, context.config.limits.text_bytes)
    target = (
        Target(request.model) if request.model in ALIASES[Role.EMBEDDING] else await context.models.find(request.model)
    )
    session = await context.session(grant)
    async with context.admission.place(Role.EMBEDDING):
        loaded = await context.backends.hold(session, Role.EMBEDDING, target, grant.access, {})
        try:
            with guarded(loaded.binding_id):
                embedding = operation_as(Embedding, loaded)
                vectors: list[list[float]] = []
                for at in range(0, len(texts), _AT_ONCE):
                    found = await embedding.embed(texts[at : at + _AT_ONCE])
                    vectors += [[float(value) for value in row] for row in found.tolist()]
        finally:
            await loaded.release()
    if len(vectors) != len(texts):
        raise BindingFailed(f"{loaded.binding_id} gave {len(vectors)} vectors for {len(texts)} texts")
    if request.dimensions is not None:
        vectors = [_shortened(vector, request.dimensions) for vector in vectors]
    in_base64 = request.encoding_format == "base64"
    data = [
        {"object": "embedding", "index": index, "embedding": _base64(vector) if in_base64 else vector}
        for index, vector in enumerate(vectors)
    ]
    tokens = sum(map(estimated_tokens, texts))
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    await exchange.json({"object": "list", "data": data, "model": request.model, "usage": usage})


def _texts(given: Any, limit: int) -> list[str]:
    """:raises BadRequest, TooLarge: naming the text."""
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts:
        raise bad_field("input", "wanted a text or a list of texts")
    if len(texts) > _MAX_TEXTS:
        raise too_large("input", f"at most {_MAX_TEXTS} texts are taken")
    if any(isinstance(text, int | list) for text in texts):
        raise unsupported(
            "input", "token numbers are not taken; send text (LangChain: check_embedding_ctx_length=False)"
        )
    for index, text in enumerate(texts):
        if not isinstance(text, str) or not text:
            raise bad_field(f"input[{index}]", "wanted a text that is not empty")
        bounded(f"input[{index}]", text, limit)
    return texts


def _shortened(vector: Sequence[float], dimensions: int) -> list[float]:
    """The first ``dimensions`` of it, of length one again. :raises BadRequest: it has fewer."""
    if dimensions > len(vector):
        raise bad_field("dimensions", f"this model has {len(vector)}")
    kept = list(vector[:dimensions])
    length = math.sqrt(sum(value * value for value in kept))
    return [value / length for value in kept] if length else kept


def _base64(vector: Sequence[float]) -> str:
    packed = array("f", vector)
    if sys.byteorder == "big":
        packed.byteswap()
    return base64.b64encode(packed.tobytes()).decode("ascii")
