"""A stream cut into windows, each with what came before it, and the converted windows joined so that nobody hears it.

    what came in    ----------------------------------------->
    window n              [context][block n][fade|search|ahead]
    window n + 1                   [context][block n + 1][fade|search|ahead]
    what goes out          ... block n ><  block n + 1   >< ...

The voice is made anew for each window, so two windows never agree to the sample: the second is moved by up to 10 ms to
where it fits the end of the first best, and they are faded into each other. The next window starts from the true time
again, so nothing adds up and the length is kept.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from .converter import FRAME, FRAMES_A_SECOND

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Samples = NDArray[np.float32]

SEARCH: Final = 1
"""frames to either side: a whole period of the deepest voice (50 Hz)"""
AHEAD: Final = 10
"""frames: the networks know what follows, and lack up to 3 frames at the end"""
Convert = Callable[["Samples", int], "Samples"]
"""``convert(window, start)``: ``start`` is the window's first frame, from the stream's on; negative at its begin"""


@dataclass(frozen=True, slots=True)
class Cut:
    """In frames of 10 ms."""

    block: int
    context: int
    fade: int

    @property
    def after(self) -> int:
        return self.fade + SEARCH + AHEAD


class Blocks:
    """:param hop: converted samples a frame"""

    def __init__(self, cut: Cut, hop: int, convert: Convert) -> None:
        import numpy as np

        self._cut = cut
        self._hop = hop
        self._convert = convert
        self._input: Samples = np.zeros(0, np.float32)
        self._begin = 0
        """frame of the first sample that is kept"""
        self._done = 0
        """frames that have gone out"""
        self._tail: Samples | None = None
        """of the last window, to be faded into the next"""
        self._end: int | None = None
        """frames of the whole stream, once it is known"""

    @property
    def wanted_frames(self) -> int:
        """How much must have come in for the next block."""
        return self._done + self._cut.block + self._cut.after

    def put(self, speech: "Samples") -> None:
        """More of the stream, 16 kHz."""
        import numpy as np

        self._input = np.concatenate([self._input, speech])

    @property
    def is_ready(self) -> bool:
        return self._begin * FRAME + len(self._input) >= self.wanted_frames * FRAME

    def next_block(self) -> "Samples":
        """Only where :attr:`is_ready`."""
        cut, hop = self._cut, self._hop
        window, at = self._window()
        made = self._convert(window, self._done - at // FRAME)
        start = self._fitting(made, at // FRAME * hop)
        block = self._joined(made, start, cut.block * hop)
        self._tail = made[start + cut.block * hop :][: cut.fade * hop]
        self._done += cut.block
        drop = max(0, self._done - cut.context - self._begin)
        self._input = self._input[drop * FRAME :]
        self._begin += drop
        return block

    def last_block(self) -> "Samples | None":
        """What is left when nothing more comes: call it until it gives ``None``. The last frame may be filled up."""
        import numpy as np

        if self._end is None:
            self._end = -(-(self._begin * FRAME + len(self._input)) // FRAME)
        left = self._end - self._done
        if left <= 0:
            return None
        short = self.wanted_frames * FRAME - (self._begin * FRAME + len(self._input))
        if short > 0:
            self._input = np.pad(self._input, (0, short), mode="reflect")
        return self.next_block()[: left * self._hop]

    def _window(self) -> tuple["Samples", int]:
        """-> sound, where in it the block starts. Before the stream's begin, it is reflected."""
        import numpy as np

        cut = self._cut
        first = max(self._begin, self._done - cut.context)
        kept = self._input[(first - self._begin) * FRAME : (self.wanted_frames - self._begin) * FRAME]
        lacking = cut.context - (self._done - first)
        if lacking:
            kept = np.pad(kept, (lacking * FRAME, 0), mode="reflect")
        return kept, cut.context * FRAME

    def _fitting(self, made: "Samples", at: int) -> int:
        """Where near ``at`` the window goes on as the last one ended: the best normalised cross-correlation."""
        import numpy as np

        if self._tail is None:
            return at
        reach, length = SEARCH * self._hop, len(self._tail)
        candidates = made[at - reach : at + reach + length].astype(np.float64)
        likeness = np.correlate(candidates, self._tail.astype(np.float64), "valid")
        sums = np.concatenate([[0.0], np.cumsum(candidates**2)])
        energy = sums[length:] - sums[:-length]
        return at - reach + int(np.argmax(likeness / np.sqrt(np.maximum(energy, 0) + 1e-8)))

    def _joined(self, made: "Samples", start: int, length: int) -> "Samples":
        import numpy as np

        block = made[start : start + length].copy()
        if self._tail is not None:
            size = min(len(self._tail), len(block))
            rise = np.sin(np.linspace(0, np.pi / 2, size, dtype=np.float32)) ** 2
            block[:size] = self._tail[:size] * (1 - rise) + block[:size] * rise
        return block


class Limiter:
    """No sample passes ``ceiling``; the loudness changes slowly, over a block, not at its begin."""

    def __init__(self, ceiling: float = 0.99) -> None:
        self._ceiling = ceiling
        self._gain = 1.0

    def limit(self, block: "Samples") -> "Samples":
        import numpy as np

        if not len(block):
            return block
        wanted = min(1.0, self._ceiling / max(float(np.abs(block).max()), 1e-9))
        gain, self._gain = self._gain, wanted
        if gain == wanted == 1.0:
            return block
        curve = np.linspace(gain, wanted, len(block), dtype=np.float32)
        limited: Samples = np.clip(block * curve, -self._ceiling, self._ceiling)
        return limited


def frames_of(milliseconds: int) -> int:
    return max(1, milliseconds * FRAMES_A_SECOND // 1000)


def resampler(source: int, target: int) -> Any:
    """``feed(samples, last) -> samples``, without joins; ``None`` where there is nothing to do."""
    if source == target:
        return None
    import soxr

    stream = soxr.ResampleStream(source, target, 1, dtype="float32")
    return stream.resample_chunk
