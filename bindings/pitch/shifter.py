"""One stream of PCM through FFmpeg's filters: a change of rate moves the pitch, a change of tempo mends the length.

PCM, cut anywhere -> asetrate -> aresample -> atempo, ... -> as many frames as came in, once finished
"""

from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from greenroom.bindings import pcm
from greenroom.errors import BadRequest, BindingFailed
from greenroom.values import Audio

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Format = tuple[int, int, int]
"""sample rate in Hz, bytes a sample, channels"""

MAX_CHANNELS: Final = 8
BLOCK_MS: Final = 20
"""always the same, so that the sound does not depend on how it came in"""
FIRST_BLOCK_MS: Final = 50
FIRST_BLOCK_FRAMES: Final = 1024
"""the resampler clicks at the joins of its first blocks unless the very first one fills its window"""
TAIL_MS: Final = 300
"""silence that pushes the last of the sound out of the filters' windows"""
_TEMPO_RANGE: Final = (0.5, 2.0)
"""within it the filter blends all of the sound; beyond, it leaves some out"""
_SAMPLE_FORMATS: Final = {1: ("s16", "<i2"), 2: ("s16", "<i2"), 3: ("s32", "<i4"), 4: ("s32", "<i4")}
"""8 and 24 bit are worked on as the next wider"""


def tempo_steps(tempo: float) -> list[float]:
    """Factors between 0.5 and 2 whose product is ``tempo``."""
    slowest, fastest = _TEMPO_RANGE
    steps = []
    while not slowest <= tempo <= fastest:
        step = slowest if tempo < slowest else fastest
        steps.append(step)
        tempo /= step
    return [*steps, tempo]


class Shifter:
    """Not for several threads at once. :raises BadRequest: for a format that no filter takes."""

    def __init__(self, semitones: float, form: Format) -> None:
        self._rate, self._width, self._channels = form
        pcm.check(Audio(b"", self._rate, self._width, self._channels))
        if self._channels > MAX_CHANNELS:
            raise BadRequest(f"pitch takes at most {MAX_CHANNELS} channels, not {self._channels}")
        self._frame_bytes = self._width * self._channels
        self._sample_format, self._dtype = _SAMPLE_FORMATS[self._width]
        self._layout = {1: "mono", 2: "stereo"}.get(self._channels, f"{self._channels}c")
        self._waiting = b""
        first = max(FIRST_BLOCK_FRAMES, self._rate * FIRST_BLOCK_MS // 1000)
        self._block_bytes = first * self._frame_bytes
        self._taken = self._given = self._pushed = 0
        self._graph = self._build(2 ** (semitones / 12))

    def _build(self, factor: float) -> Any:
        import av.filter

        graph = av.filter.Graph()
        source = graph.add_abuffer(
            sample_rate=self._rate,
            format=self._sample_format,
            layout=self._layout,
            time_base=Fraction(1, self._rate),
        )
        graph.link_nodes(
            source,
            graph.add("asetrate", str(round(self._rate * factor))),
            graph.add("aresample", str(self._rate)),
            *(graph.add("atempo", f"{step:.9f}") for step in tempo_steps(1 / factor)),
            graph.add(
                "aformat",
                f"sample_fmts={self._sample_format}:channel_layouts={self._layout}:sample_rates={self._rate}",
            ),
            graph.add("abuffersink"),
        ).configure()
        return graph

    def feed(self, data: bytes) -> bytes:
        """What is ready by now. Blocks for a few milliseconds a second of sound."""
        self._waiting += data
        self._taken += len(data)
        return self._drain()

    def finish(self) -> bytes:
        """The rest, cut or filled with silence so that the length is kept to the sample. Half a frame is dropped."""
        silence = (b"\x80" if self._width == 1 else b"\0") * self._frame_bytes
        frames = self._taken // self._frame_bytes
        left = (frames - self._given) * self._frame_bytes
        if left <= 0:
            return b""
        self._waiting = self._waiting[: len(self._waiting) - self._taken % self._frame_bytes]
        self._waiting += silence * (self._rate * TAIL_MS // 1000)
        data = self._drain()
        return data[:left] + silence * ((left - len(data)) // self._frame_bytes)

    def _drain(self) -> bytes:
        out = b"".join(self._filtered())
        self._given += len(out) // self._frame_bytes
        return out

    def _filtered(self) -> Iterator[bytes]:
        import av

        try:
            while len(self._waiting) >= self._block_bytes:
                data, self._waiting = self._waiting[: self._block_bytes], self._waiting[self._block_bytes :]
                self._block_bytes = self._frame_bytes * max(1, self._rate * BLOCK_MS // 1000)
                frame = av.AudioFrame.from_ndarray(self._samples(data), format=self._sample_format, layout=self._layout)
                frame.sample_rate = self._rate
                frame.time_base = Fraction(1, self._rate)
                frame.pts = self._pushed
                self._pushed += frame.samples
                self._graph.push(frame)
                yield from self._ready()
        except av.error.FFmpegError as error:
            raise BindingFailed(f"the pitch filter failed: {error}") from error

    def _ready(self) -> Iterator[bytes]:
        import av

        while True:
            try:
                frame = self._graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            yield self._bytes(frame.to_ndarray())

    def _samples(self, data: bytes) -> "NDArray[np.generic]":
        """-> ``[1, frames * channels]``"""
        import numpy as np

        if self._width == 1:
            return ((np.frombuffer(data, np.uint8).astype("<i2") - 128) << 8).reshape(1, -1)
        if self._width == 3:
            wide = np.zeros((len(data) // 3, 4), np.uint8)
            wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
            return wide.view("<i4").reshape(1, -1)
        return np.frombuffer(data, self._dtype).reshape(1, -1)

    def _bytes(self, samples: "NDArray[np.signedinteger[Any]]") -> bytes:
        import numpy as np

        if self._width == 1:
            return ((samples >> 8) + 128).astype(np.uint8).tobytes()
        if self._width == 3:
            wide = np.ascontiguousarray(samples.astype("<i4", copy=False)).view(np.uint8)
            return wide.reshape(-1, 4)[:, 1:].tobytes()
        return samples.tobytes()
