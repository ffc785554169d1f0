"""A FLAC file that says how long it is, where that is known soon.

Its length stands in its head. A stream cannot know it, and programs that make room for the whole file before they read
it (libsndfile, and so soundfile and librosa) fail at one that does not say.

    fLaC | STREAMINFO: ... 20 bits rate, 3 channels, 5 width, 36 samples ... | frames
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Final

from greenroom.pipeline.channel import Channel

HELD_S: Final = 0.3
"""how long the head waits for the end; what takes longer is sent as it is made"""
_AHEAD: Final = 1024
"""pieces, some minutes of sound: a voice is often faster than the client that takes it"""
_SAMPLES_AT: Final = 21
"""four bits of this byte, and the four bytes behind it"""


async def with_length(
    pieces: AsyncGenerator[bytes, None], samples: Callable[[], int], held_s: float = HELD_S
) -> AsyncGenerator[bytes, None]:
    """The same file. :param samples: how many there were, asked at the end."""
    ready: Channel[bytes] = Channel(_AHEAD)

    async def make() -> None:
        try:
            async with aclosing(pieces):
                async for piece in pieces:
                    await ready.send(piece)
        finally:
            ready.close()

    making = asyncio.create_task(make(), name="openai: flac")
    try:
        done, _ = await asyncio.wait({making}, timeout=held_s)
        if done:
            making.result()
            if whole := b"".join(await ready.take()):
                yield telling(whole, samples())
            return
        async for piece in ready:
            yield piece
        await making
    finally:
        making.cancel()
        await asyncio.gather(making, return_exceptions=True)


def telling(whole: bytes, samples: int) -> bytes:
    """With the number of its samples in its head."""
    if whole[:4] != b"fLaC" or len(whole) < _SAMPLES_AT + 5 or not 0 < samples < 1 << 36:
        return whole
    at = _SAMPLES_AT
    high = whole[at] & 0xF0 | samples >> 32
    return whole[:at] + bytes([high]) + (samples & 0xFFFFFFFF).to_bytes(4) + whole[at + 5 :]
