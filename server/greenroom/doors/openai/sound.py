"""A voice's sound in the form that a client asked for, piece by piece: resampled, sped up, encoded.

    Audio, ... -> 24 kHz, 16 bit, mono -> [speed] -> pcm | wav | mp3 | opus (in Ogg) | flac | aac (ADTS)

PyAV does it where it must; ``pcm`` and ``wav`` at the voice's own speed need nothing but this file.
"""

import asyncio
import importlib
import struct
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from fractions import Fraction
from itertools import pairwise
from typing import Any, Final, Protocol

from greenroom.bindings.pcm import MonoConverter
from greenroom.doors.openai.flac import with_length
from greenroom.errors import Unavailable
from greenroom.values import Audio

RATE_HZ: Final = 24_000
MEDIA_TYPES: Final[Mapping[str, str]] = {
    "pcm": "audio/pcm",
    "wav": "audio/wav",
    "mp3": "audio/mpeg",
    "opus": "audio/ogg; codecs=opus",
    "flac": "audio/flac",
    "aac": "audio/aac",
}
_CODECS: Final[Mapping[str, tuple[str, str, int, dict[str, str]]]] = {
    "mp3": ("mp3", "libmp3lame", 64_000, {"write_xing": "0", "id3v2_version": "0"}),
    "opus": ("ogg", "libopus", 32_000, {"page_duration": "100000"}),
    "flac": ("flac", "flac", 0, {}),
    "aac": ("adts", "aac", 64_000, {}),
}
"""container, codec, bits a second, the container's options; all can be written where nobody seeks back"""
_UNKNOWN_LENGTH: Final = 0xFFFFFFFF


class _Stage(Protocol):
    """Not tied to a thread, but for one at a time."""

    def feed(self, audio: Audio) -> bytes: ...

    def finish(self) -> bytes: ...


def needs_av(form: str, speed: float) -> bool:
    return form in _CODECS or speed != 1.0


async def load_av(what: str) -> Any:
    """The package, imported beside the event loop. :raises Unavailable: it is not installed."""
    try:
        return await asyncio.to_thread(importlib.import_module, "av")
    except ImportError:
        failure = Unavailable(f'{what} needs PyAV on the server; install it with: pip install "greenroom[encode]"')
        failure.retryable = False
        raise failure from None


async def encoded(sounds: AsyncIterator[Audio], form: str, speed: float, av: Any) -> AsyncGenerator[bytes, None]:
    """``av``: what :func:`load_av` gave; ``None`` for what does not need it, or where it is not there."""
    if av is None:
        pieces = _pieces(_Plain(), sounds, form)
    else:
        encoder = _Encoder(av, form, speed)
        pieces = _pieces(encoder, sounds, form)
        if form == "flac":
            pieces = with_length(pieces, lambda: encoder.samples)
    async with aclosing(pieces):
        async for piece in pieces:
            yield piece


async def _pieces(stage: _Stage, sounds: AsyncIterator[Audio], form: str) -> AsyncGenerator[bytes, None]:
    head = wav_head() if form == "wav" else b""
    async for audio in sounds:
        if audio.pcm and (data := await _fed(stage, audio)):
            yield head + data
            head = b""
    if data := await asyncio.to_thread(stage.finish):
        yield head + data


async def _fed(stage: _Stage, audio: Audio) -> bytes:
    if isinstance(stage, _Plain) and audio.sample_rate == RATE_HZ:
        return stage.feed(audio)
    return await asyncio.to_thread(stage.feed, audio)


def wav_head() -> bytes:
    """Of a stream whose length nobody knows yet."""
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, RATE_HZ, RATE_HZ * 2, 2, 16)
    return (
        struct.pack("<4sI4s", b"RIFF", _UNKNOWN_LENGTH, b"WAVE") + form + struct.pack("<4sI", b"data", _UNKNOWN_LENGTH)
    )


class _Plain:
    """Without PyAV: what is 24 kHz, 16 bit, mono passes as it is, all else by the simplest of resamplers."""

    def __init__(self) -> None:
        self._converter = MonoConverter(RATE_HZ)

    def feed(self, audio: Audio) -> bytes:
        return self._converter.feed(audio)

    def finish(self) -> bytes:
        return b""


class _Sink:
    """What a container is written to: bytes that are taken away as they come. It cannot be sought in."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._pieces.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)


class _Encoder:
    def __init__(self, av: Any, form: str, speed: float) -> None:
        self._av = av
        self._shaped = _Shaper(av, speed)
        self._sink = _Sink()
        self._container: Any = None
        self._samples = 0
        if form in _CODECS:
            name, codec, bit_rate, options = _CODECS[form]
            self._container = av.open(
                self._sink, "w", format=name, options={**options, "flush_packets": "1"}, buffer_size=4096
            )
            self._stream = self._container.add_stream(codec, rate=RATE_HZ)
            self._stream.codec_context.layout = "mono"
            if bit_rate:
                self._stream.bit_rate = bit_rate

    @property
    def samples(self) -> int:
        """that were encoded"""
        return self._samples

    def feed(self, audio: Audio) -> bytes:
        pcm = self._shaped.feed(audio)
        return self._write(pcm) if self._container is not None else pcm

    def finish(self) -> bytes:
        pcm = self._shaped.finish()
        if self._container is None:
            return pcm
        data = self._write(pcm)
        if self._samples:
            for packet in self._stream.encode(None):
                self._container.mux(packet)
        self._container.close()
        return data + self._sink.take()

    def _write(self, pcm: bytes) -> bytes:
        if pcm:
            frame = _frame(self._av, Audio(pcm, RATE_HZ), self._samples)
            self._samples += len(pcm) // 2
            for packet in self._stream.encode(frame):
                self._container.mux(packet)
        return self._sink.take()


class _Shaper:
    """Any sound -> 24 kHz, 16 bit, mono, at the speed asked for; a change of format on the way begins anew."""

    def __init__(self, av: Any, speed: float) -> None:
        self._av = av
        self._speed = speed
        self._format: tuple[int, int, int] | None = None
        self._graph: Any = None
        self._samples = 0

    def feed(self, audio: Audio) -> bytes:
        if audio.sample_width not in _SAMPLE_FORMATS:  # 24 bit, for which libav has no name
            audio = Audio(MonoConverter(audio.sample_rate).feed(audio), audio.sample_rate)
        form = (audio.sample_rate, audio.sample_width, audio.channels)
        done = b""
        if form != self._format:
            done = self.finish()
            self._format, self._samples = form, 0
            plain = form == (RATE_HZ, 2, 1) and self._speed == 1.0
            self._graph = None if plain else _graph(self._av, audio, self._speed)
        whole = Audio(audio.pcm[: len(audio.pcm) - len(audio.pcm) % audio.frame_bytes], *form)
        if self._graph is None:
            return done + whole.pcm
        self._graph.push(_frame(self._av, whole, self._samples))
        self._samples += len(whole.pcm) // whole.frame_bytes
        return done + self._pull()

    def finish(self) -> bytes:
        if self._graph is None:
            return b""
        self._graph.push(None)
        done = self._pull()
        self._graph = None
        return done

    def _pull(self) -> bytes:
        pieces: list[bytes] = []
        while True:
            try:
                frame = self._graph.pull()
            except (self._av.error.BlockingIOError, self._av.error.EOFError):
                return b"".join(pieces)
            pieces.append(bytes(frame.planes[0])[: frame.samples * 2])


def _graph(av: Any, audio: Audio, speed: float) -> Any:
    graph = av.filter.Graph()
    source = graph.add_abuffer(
        sample_rate=audio.sample_rate,
        format=_SAMPLE_FORMATS[audio.sample_width],
        layout=_LAYOUTS.get(audio.channels, f"{audio.channels}c"),
        time_base=Fraction(1, audio.sample_rate),
    )
    chain = [source]
    if speed != 1.0:
        # One filter does a half to the double well, two in a row the rest.
        steps = [speed] if 0.5 <= speed <= 2 else [speed**0.5, speed**0.5]
        chain += [graph.add("atempo", f"{step:.6f}") for step in steps]
    chain.append(graph.add("aresample", str(RATE_HZ)))
    chain.append(graph.add("aformat", f"sample_fmts=s16:sample_rates={RATE_HZ}:channel_layouts=mono"))
    chain.append(graph.add("abuffersink"))
    for one, other in pairwise(chain):
        one.link_to(other)
    graph.configure()
    return graph


_SAMPLE_FORMATS: Final = {1: "u8", 2: "s16", 4: "s32"}
_LAYOUTS: Final = {1: "mono", 2: "stereo"}


def _frame(av: Any, audio: Audio, at: int) -> Any:
    """``at``: how many samples of its stream came before."""
    samples = len(audio.pcm) // audio.frame_bytes
    layout = _LAYOUTS.get(audio.channels, f"{audio.channels}c")
    frame = av.AudioFrame(format=_SAMPLE_FORMATS[audio.sample_width], layout=layout, samples=samples)
    frame.sample_rate = audio.sample_rate
    frame.time_base = Fraction(1, audio.sample_rate)
    frame.pts = at
    frame.planes[0].update(audio.pcm.ljust(frame.planes[0].buffer_size, b"\0"))
    return frame
