"""The messages of a websocket call.

    client                                        server
    {"type": "args", "json": {...}}               {"type": "result", "value": ...}
    {"type": "file", "name": f} bytes file_end    or {"type": "stream"} items or bytes {"type": "end"}
    {"type": "stream", "name": s} items {"end"}   or, at any point, {"type": "error", "message": ...}

Peers of this library agree on the subprotocol :data:`SUBPROTOCOL`, which adds

* ``{"type": "items", "values": [...]}``: items that wait for the same socket travel together;
* ``{"type": "credit", "bytes": n}``: a client's stream may have :data:`WINDOW` bytes under way, and n more for each
  credit (a message weighs its length and :data:`MESSAGE_WEIGHT`), so that a server never stops reading and hears at
  once when a client leaves;
* ``"open": true`` on the last message of a call: the connection takes the next call.

Every client names the files that it sends in ``args`` (``"files": [...]``), which other servers ignore.
"""

import json
from collections.abc import Iterable
from typing import Any, Final

SUBPROTOCOL: Final = "greenroom.rpc.1"
WINDOW: Final = 1024 * 1024
MESSAGE_WEIGHT: Final = 64
"""what each message of a stream costs beside its length, so that empty ones are bounded, too"""
FILE_CHUNK: Final = 64 * 1024
BATCH_BYTES: Final = 64 * 1024
BATCH_ITEMS: Final = 512
SPLIT_BYTES: Final = 4 * 1024 * 1024
"""a larger binary chunk is sent in pieces, so that no reader needs room for it at once"""

FILE_END: Final = '{"type": "file_end"}'
STREAM: Final = '{"type": "stream"}'
END: Final = '{"type": "end"}'
END_OPEN: Final = '{"type": "end", "open": true}'


def message(kind: str, **fields: Any) -> str:
    """In ASCII: half a surrogate pair, which clients do send, has no UTF-8."""
    return json.dumps({"type": kind, **fields}, default=str)


def result(value: bytes, stays_open: bool) -> str:
    """:param value: JSON."""
    more = ', "open": true' if stays_open else ""
    return f'{{"type": "result", "value": {value.decode()}{more}}}'


def item(value: bytes) -> str:
    return f'{{"type": "item", "value": {value.decode()}}}'


def item_frames(values: Iterable[bytes], batched: bool) -> Iterable[str]:
    """One message for each item, or as few as the batch limits allow. A single item never travels as a batch."""
    if not batched:
        return (item(value) for value in values)
    return (_items(batch) for batch in _batches(values))


def binary_frames(chunk: bytes) -> Iterable[bytes]:
    if len(chunk) <= SPLIT_BYTES:
        return (chunk,)
    return (chunk[start : start + SPLIT_BYTES] for start in range(0, len(chunk), SPLIT_BYTES))


def _items(values: list[bytes]) -> str:
    if len(values) == 1:
        return item(values[0])
    return f'{{"type": "items", "values": [{b",".join(values).decode()}]}}'


def _batches(values: Iterable[bytes]) -> Iterable[list[bytes]]:
    batch: list[bytes] = []
    size = 0
    for value in values:
        batch.append(value)
        size += len(value)
        if size >= BATCH_BYTES or len(batch) >= BATCH_ITEMS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
