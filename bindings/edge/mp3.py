"""MP3, cut anywhere -> PCM: 16 bit, mono, 24 kHz, each frame (24 ms) as soon as it is whole."""

from typing import Any

from greenroom.errors import BindingFailed

SAMPLE_RATE = 24_000


class Mp3Decoder:
    """One stream. About 20 microseconds a frame."""

    def __init__(self) -> None:
        import av

        self.sounded = False
        self._av = av
        self._codec: Any = av.CodecContext.create("mp3", "r")
        self._resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)

    def feed(self, data: bytes) -> bytes:
        """-> what is whole by now. :raises BindingFailed: for something that is no MP3."""
        return self._decode(self._codec.parse(data))

    def end(self) -> bytes:
        """-> the rest. :raises BindingFailed: as :meth:`feed`."""
        return self._decode([*self._codec.parse(), None])

    def _decode(self, packets: list[Any]) -> bytes:
        try:
            frames = [frame for packet in packets for frame in self._codec.decode(packet)]
        except self._av.FFmpegError as error:
            raise BindingFailed(f"the voice sent something that is no MP3: {error.strerror}") from error
        made = bytearray()
        for frame in frames:
            for plain in self._resampler.resample(frame):
                made += bytes(plain.planes[0])[: plain.samples * 2]
        self.sounded = self.sounded or bool(made)
        return bytes(made)
