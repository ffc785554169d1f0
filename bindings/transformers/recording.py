"""Live sound, as it comes in, and the next stretch of it that is to be heard.

A stretch is at most as long as Whisper's window; a longer recording is cut where the last seconds of it are quietest.
What was cut off is settled: heard once more and never again, so that the cost of a long recording stays bounded.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from greenroom.bindings.pcm import MonoConverter
from greenroom.values import Audio

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SAMPLE_RATE: Final = 16_000
_BYTES: Final = 2
_FULL_SCALE: Final = 32768
_LONGEST: Final = 28 * SAMPLE_RATE
_CUT_WITHIN: Final = 8 * SAMPLE_RATE
"""samples at the end of the longest stretch in which the quietest place is looked for"""
_FRAME: Final = SAMPLE_RATE // 20
_SHORTEST: Final = SAMPLE_RATE // 10


@dataclass(frozen=True, slots=True)
class Stretch:
    samples: "NDArray[np.float32]"
    is_loud: bool
    """something may be said in it"""
    is_settled: bool


class Recording:
    """:param quiet_db: what is not louder, in dB below full scale, is silence"""

    def __init__(self, quiet_db: float) -> None:
        self._quiet = 10 ** (quiet_db / 20)
        self._converter = MonoConverter(SAMPLE_RATE)
        self._pcm = bytearray()
        self._fresh = 0
        """samples since the last stretch"""
        self._arrival = asyncio.Event()
        self._has_ended = False

    async def collect(self, audio: AsyncIterator[Audio]) -> None:
        """Take in everything. :raises BadRequest: for what is no sound."""
        try:
            async for piece in audio:
                pcm = await asyncio.to_thread(self._converter.feed, piece)
                self._pcm += pcm
                self._fresh += len(pcm) // _BYTES
                self._arrival.set()
        finally:
            self._has_ended = True
            self._arrival.set()

    @property
    def is_done(self) -> bool:
        return self._has_ended and len(self._pcm) < _BYTES

    async def more(self, every_s: float, is_busy: Callable[[], bool]) -> bool:
        """Wait until there is something new to be heard and nobody else waits for the model, but ``every_s`` at least;
        0: until a stretch is full. ``False``: all sound is there."""
        loop = asyncio.get_running_loop()
        due = loop.time() + every_s
        while not self._has_ended:
            wait_s = due - loop.time()
            if every_s and wait_s <= 0 and self._fresh >= _SHORTEST and not is_busy():
                return True
            if len(self._pcm) // _BYTES > _LONGEST:
                return True
            self._arrival.clear()
            try:
                async with asyncio.timeout(wait_s if every_s and wait_s > 0 else None):
                    await self._arrival.wait()
            except TimeoutError:
                continue
        return False

    def stretch(self) -> Stretch:
        """The next one; of what is not settled the same beginning comes again."""
        import numpy as np

        self._fresh = 0
        pcm = bytes(self._pcm[: _LONGEST * _BYTES])
        samples = np.frombuffer(pcm[: len(pcm) // _BYTES * _BYTES], "<i2").astype(np.float32) / np.float32(_FULL_SCALE)
        is_long = len(self._pcm) > _LONGEST * _BYTES
        if is_long:
            samples = samples[: self._quietest(samples)]
        is_loud = len(samples) >= _SHORTEST and float(np.abs(samples).max()) > self._quiet
        return Stretch(samples, is_loud, is_long or self._has_ended)

    def drop(self, samples: int) -> None:
        """They are settled."""
        del self._pcm[: samples * _BYTES]
        if self._has_ended and len(self._pcm) < _BYTES:
            self._pcm.clear()

    @staticmethod
    def _quietest(samples: "NDArray[np.float32]") -> int:
        """The middle of the quietest frame near the end."""
        import numpy as np

        end = samples[-_CUT_WITHIN:]
        frames = end[: len(end) // _FRAME * _FRAME].reshape(-1, _FRAME)
        smoothed = np.convolve(np.square(frames).mean(1), np.ones(5), "same")
        smoothed[:2] = smoothed[-2:] = np.inf  # the sums at both ends have fewer frames
        return len(samples) - len(end) + int(smoothed.argmin()) * _FRAME + _FRAME // 2
