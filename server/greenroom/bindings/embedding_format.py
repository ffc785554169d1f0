"""The reply of ``/embeddings`` as OpenAI and its imitators send it -> vectors."""

import asyncio
import base64
import binascii
import importlib
from typing import TYPE_CHECKING, Any

from greenroom.errors import Unavailable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


async def load_numpy() -> None:
    """Beside the event loop, as it takes a tenth of a second. :raises Unavailable: if it is not installed."""
    try:
        await asyncio.to_thread(importlib.import_module, "numpy")
    except ImportError:
        raise Unavailable("embeddings need numpy; install it with: pip install numpy") from None


def read_vectors(answer: Any, count: int) -> "NDArray[np.float32]":
    """-> ``[count, dimensions]``, in the order of the texts, from base64 of little-endian floats or lists of numbers.

    :raises ValueError: unless there is exactly one vector for each text, all of one length
    """
    import numpy as np

    entries = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(entries, list) or len(entries) != count:
        raise ValueError("not one vector for each text")
    placed: dict[Any, NDArray[np.float32]] = {}
    for position, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise ValueError("not one vector for each text")
        placed[entry.get("index", position)] = _vector(entry.get("embedding"))
    if set(placed) != set(range(count)) or len({len(vector) for vector in placed.values()}) > 1:
        raise ValueError("not one vector for each text")
    return np.stack([placed[index] for index in range(count)])


def _vector(value: Any) -> "NDArray[np.float32]":
    import numpy as np

    try:
        if isinstance(value, str):
            vector = np.frombuffer(base64.b64decode(value, validate=True), "<f4").astype(np.float32)
        else:
            vector = np.asarray(value, np.float32)
    except (binascii.Error, TypeError) as error:
        raise ValueError("a vector that is no list of numbers") from error
    if vector.ndim != 1 or not len(vector):
        raise ValueError("a vector that is no list of numbers")
    return vector
