"""Reading ``model.safetensors``: a length, a JSON header, and the numbers as they lie in memory."""

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from greenroom.errors import Unavailable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_MAX_HEADER_BYTES: Final = 100_000_000
_FLOATS: Final = {"F32": 4, "F16": 2, "BF16": 2}
"""bytes of a number; tensors of other kinds (position numbers) are not needed"""


def read_weights(path: Path) -> dict[str, "NDArray[np.float32]"]:
    """Every tensor of floats, by name. :raises Unavailable: if the file is cut, broken or no safetensors."""
    broken = Unavailable(f"{path} is no safetensors file, or was not downloaded to its end: download it again")
    data = path.read_bytes()
    if len(data) < 8:
        raise broken
    (length,) = struct.unpack_from("<Q", data)
    if not 2 <= length <= min(_MAX_HEADER_BYTES, len(data) - 8):
        raise broken
    try:
        header = json.loads(data[8 : 8 + length])
        body = memoryview(data)[8 + length :]
        return {
            name: _tensor(entry, body)
            for name, entry in header.items()
            if name != "__metadata__" and entry["dtype"] in _FLOATS
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise broken from error


def _tensor(entry: Mapping[str, Any], body: memoryview) -> "NDArray[np.float32]":
    """:raises ValueError: if the entry does not fit the file"""
    import numpy as np

    begin, end = entry["data_offsets"]
    raw = body[begin:end]
    if not 0 <= begin <= end or len(raw) != end - begin:
        raise ValueError("a tensor lies outside of the file")
    match entry["dtype"]:
        case "F32":
            flat = np.frombuffer(raw, "<f4").astype(np.float32)
        case "F16":
            flat = np.frombuffer(raw, "<f2").astype(np.float32)
        case _:
            flat = (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
    return flat.reshape(entry["shape"])
