"""One stream of PCM through a voice: bytes in, cut anywhere -> bytes out, as long as what came in."""

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from greenroom.bindings import pcm
from greenroom.values import Audio

from .blocks import Blocks, Cut, Limiter, resampler
from .converter import FRAME, SPEECH_RATE, Converter, Manner

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Samples = NDArray[np.float32]

Format = tuple[int, int, int]
"""sample rate in Hz, bytes a sample, channels"""
_RESAMPLER_SLACK: Final = 512
"""frames at 16 kHz that a resampler may still hold back"""


class VoiceStream:
    """``put`` is cheap and runs anywhere; what else blocks, and runs in the engine's thread.

    :param rate: of what goes out, in Hz
    :raises BadRequest: for a format that no sound has
    """

    def __init__(
        self,
        converter: Converter,
        manner: Manner,
        cut: Cut,
        form: Format,
        rate: int,
        fixed_pitch: "NDArray[np.float32] | None",
    ) -> None:
        self.rate = rate
        self._source_rate, self._width, self._channels = form
        pcm.check(Audio(b"", *form))
        self._frame_bytes = self._width * self._channels
        self._converter = converter
        self._manner = manner
        self._fixed_pitch = fixed_pitch
        self._blocks = Blocks(cut, converter.sample_rate * FRAME // SPEECH_RATE, self._convert)
        self._limiter = Limiter()
        self._lower = resampler(self._source_rate, SPEECH_RATE)
        self._raise = resampler(converter.sample_rate, rate)
        self._waiting: deque[bytes] = deque()
        self._bytes_in = self._samples_out = 0
        self._rest = b""
        self._is_over = False

    def put(self, data: bytes) -> None:
        self._waiting.append(data)
        self._bytes_in += len(data)

    @property
    def is_ready(self) -> bool:
        """Whether :meth:`step` is worth a call: it may still make nothing, as a resampler holds something back."""
        came = self._bytes_in // self._frame_bytes * SPEECH_RATE // self._source_rate
        return came >= self._blocks.wanted_frames * FRAME + (_RESAMPLER_SLACK if self._lower else 0)

    def step(self) -> bytes:
        """One block, or nothing. :raises BindingFailed: if the voice fails"""
        self._take()
        return self._encoded(self._blocks.next_block()) if self._blocks.is_ready else b""

    def finish(self) -> bytes | None:
        """Once nothing more comes: call it until it gives ``None``. :raises BindingFailed: if the voice fails"""
        import numpy as np

        if not self._is_over:
            self._is_over = True
            self._take()
        block = self._blocks.last_block()
        if block is not None:
            return self._encoded(block)
        lacking = self._lacking()
        if lacking <= 0:
            return None
        rest = np.zeros(0, np.float32)
        if self._raise:
            rest = self._raise(rest, last=True)[:lacking]
        self._samples_out += lacking
        return _pcm16(np.pad(rest, (0, lacking - len(rest))))

    def _lacking(self) -> int:
        """Samples until as much has gone out as has come in, rounded to the nearest."""
        frames_in = self._bytes_in // self._frame_bytes
        return (2 * frames_in * self.rate + self._source_rate) // (2 * self._source_rate) - self._samples_out

    def _take(self) -> None:
        """All that waits, as 16 kHz."""
        import numpy as np

        data = b"".join([self._rest, *self._waiting])
        self._waiting.clear()
        whole = len(data) - len(data) % self._frame_bytes
        self._rest = data[whole:]
        samples = _mono(data[:whole], self._width, self._channels)
        if self._lower and (len(samples) or self._is_over):
            samples = self._lower(samples, last=self._is_over)
        if len(samples):
            self._blocks.put(samples.astype(np.float32, copy=False))

    def _convert(self, window: "Samples", start: int) -> "Samples":
        import numpy as np

        fixed: NDArray[np.float32] | None = None
        if self._fixed_pitch is not None:
            fixed = self._fixed_pitch[max(0, start) :][: len(window) // FRAME + min(0, start)]
            if start < 0 and len(fixed):
                fixed = np.concatenate([np.full(-start, fixed[0], np.float32), fixed])
        return self._converter.convert(window, self._manner, fixed)

    def _encoded(self, block: "Samples") -> bytes:
        made = self._limiter.limit(block)
        if self._raise:
            made = self._raise(made)
        made = made[: max(0, self._lacking())]
        self._samples_out += len(made)
        return _pcm16(made)


def _mono(data: bytes, width: int, channels: int) -> "Samples":
    """PCM -> one channel between -1 and 1: the mean of all"""
    import numpy as np

    if width == 1:
        samples = (np.frombuffer(data, np.uint8).astype(np.float32) - 128) / 128
    elif width == 3:
        wide = np.zeros((len(data) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        samples = wide.view("<i4").ravel().astype(np.float32) / 2**31
    else:
        samples = np.frombuffer(data, "<i2" if width == 2 else "<i4").astype(np.float32) / 2 ** (8 * width - 1)
    mixed: Samples = samples.reshape(-1, channels).mean(axis=1, dtype=np.float32)
    return mixed


def _pcm16(samples: "Samples") -> bytes:
    import numpy as np

    encoded: Any = np.clip(np.rint(samples * 32767), -32768, 32767).astype("<i2")
    return bytes(encoded.tobytes())
