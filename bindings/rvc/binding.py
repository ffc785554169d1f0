"""Role filter_audio: what is spoken, in the voice of an RVC model, block by block as it streams."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Hashable, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import Field, field_validator

from greenroom.bindings.classifier import chosen_device
from greenroom.bindings.roles import OWNER_ONLY, AudioFilter, Binding, Engine, Model, Options, Place
from greenroom.bindings.threads import Worker
from greenroom.errors import Unavailable
from greenroom.values import Audio, Role

from .blocks import Cut, frames_of
from .converter import FRAME, FRAMES_A_SECOND, SPEECH_RATE, Converter, Files, Manner
from .stream import Format, VoiceStream
from .voice_files import (
    choose_voice,
    find_hubert,
    find_index,
    find_rmvpe,
    find_voices,
    plain_name,
    read_pitch_file,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LOWEST_RATE: Final = 16_000
"""below, RVC leaves the rate as the voice has it"""


class RvcOptions(Options):
    voice: str = Field(min_length=1, max_length=200, description="name of a voice: its .pth file, with or without .pth")
    f0_up_key: int = Field(0, ge=-48, le=48, description="semitones up, or down below 0; 12 is an octave")
    f0_method: Literal["rmvpe", "pm", "harvest", "crepe"] = Field(
        "rmvpe",
        description="finds the pitch: rmvpe is best, pm and harvest need no model, crepe needs further packages",
    )
    f0_file: str | None = Field(
        None, description="file of pitches to sing in place of those found: lines of seconds,hertz",
        json_schema_extra=OWNER_ONLY,
    )  # fmt: skip
    index_file: str | None = Field(
        None, description="index of the voice, or its folder; empty: found by the voice's name",
        json_schema_extra=OWNER_ONLY,
    )  # fmt: skip
    index_rate: float = Field(0, ge=0, le=1, description="how much of the index; 0: it is not even read")
    filter_radius: int = Field(3, ge=0, le=100, description="above 2 the pitch of harvest is smoothed")
    resample_sr: int = Field(0, ge=0, le=192_000, description="sample rate of the sound, 16000 or more; 0: the voice's")
    rms_mix_rate: float = Field(0, ge=0, le=1, description="loudness: 0 as what was spoken, 1 as the voice makes it")
    protect: float = Field(0.5, ge=0, le=0.5, description="keeps breath and consonants; lower is more, 0.5 is off")
    speaker_id: int = Field(0, ge=0, description="number of the speaker, where the voice has several")
    device: str = Field("auto", pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$", description="auto, cpu, cuda, cuda:1 or mps")
    half_precision: bool = Field(False, description="16 bit numbers on cuda: quicker, and half the memory")
    block_ms: int = Field(800, ge=200, le=20_000, description="length of a block: longer is less work, and later")
    context_ms: int = Field(400, ge=200, le=5000, description="how much of what came before helps to make a block")
    crossfade_ms: int = Field(40, ge=10, le=200, description="over how long one block goes over into the next")

    @field_validator("resample_sr")
    @classmethod
    def _is_a_rate(cls, value: int) -> int:
        if 0 < value < LOWEST_RATE:
            raise ValueError(f"RVC resamples to {LOWEST_RATE} Hz and more; 0 leaves the voice's own rate")
        return value


class RvcEngine(Engine):
    """One voice, shared by all sessions that convert to it; their blocks take turns."""

    def __init__(self, name: str) -> None:
        self.worker = Worker(f"rvc {name}")
        self._converter: Converter | None = None
        self.fixed_pitch: NDArray[np.float32] | None = None
        """Hz of each 10 ms from a stream's begin on"""

    @classmethod
    async def open(cls, options: RvcOptions, place: Place) -> "RvcEngine":
        """Load and warm up. :raises Unavailable, NotFound, BadRequest: with what is missing and what mends it"""
        engine = cls(options.voice)
        try:
            await engine.worker.call(lambda: engine._load(options, place))
        except BaseException:
            engine.worker.close()
            raise
        return engine

    def _load(self, options: RvcOptions, place: Place) -> None:
        voice = choose_voice(place, options.voice)
        files = Files(
            voice.path,
            find_hubert(place),
            find_rmvpe(place) if options.f0_method == "rmvpe" else None,
            find_index(place, voice, options.index_file) if options.index_rate else None,
        )
        if options.f0_file:
            self.fixed_pitch = _every_frame(read_pitch_file(options.f0_file))
        try:
            device = chosen_device(options.device)
        except ImportError as error:
            raise Unavailable(f"rvc needs the package {error.name}; install with: greenroom install rvc") from error
        half = options.half_precision and device.startswith("cuda")
        self._converter = Converter(files, device, half, options.f0_method)
        _warm_up(self._converter, _manner(options), _cut(options))

    @property
    def converter(self) -> Converter:
        if self._converter is None:
            raise Unavailable("this voice has been closed")
        return self._converter

    async def close(self) -> None:
        def free() -> None:
            self._converter = None

        await self.worker.call(free)
        self.worker.close()


def _manner(options: RvcOptions) -> Manner:
    return Manner(
        options.f0_up_key,
        options.f0_method,
        options.filter_radius,
        options.index_rate,
        options.rms_mix_rate,
        options.protect,
        options.speaker_id,
    )


def _cut(options: RvcOptions) -> Cut:
    return Cut(frames_of(options.block_ms), frames_of(options.context_ms), frames_of(options.crossfade_ms))


def _warm_up(converter: Converter, manner: Manner, cut: Cut) -> None:
    """A hum as long as the windows to come. :raises BadRequest: for a speaker that the voice does not have"""
    import numpy as np

    converter.check_speaker(manner.speaker_id)
    at = np.arange((cut.context + cut.block + cut.after) * FRAME, dtype=np.float32) / SPEECH_RATE
    converter.convert((0.3 * np.sin(2 * np.pi * 150 * at)).astype(np.float32), manner)


def _every_frame(points: list[tuple[float, float]]) -> "NDArray[np.float32]":
    import numpy as np

    times, hertz = zip(*points, strict=True)
    frames = np.arange(round(times[-1] * FRAMES_A_SECOND) + 1) / FRAMES_A_SECOND
    every: NDArray[np.float32] = np.interp(frames, times, hertz).astype(np.float32)
    return every


class RvcFilter(AudioFilter[RvcEngine]):
    Options = RvcOptions

    def __init__(self, engine: RvcEngine, options: RvcOptions) -> None:
        """:raises BadRequest: for a speaker that the voice does not have"""
        super().__init__(engine, options)
        engine.converter.check_speaker(options.speaker_id)

    @classmethod
    def engine_key(cls, options: Any) -> Hashable:
        return (
            plain_name(options.voice),
            (options.index_file or "") if options.index_rate else None,
            options.f0_method,
            options.f0_file,
            options.device,
            options.half_precision,
        )

    @classmethod
    async def open_engine(cls, options: Any, place: Place) -> RvcEngine:
        """:raises Unavailable, NotFound, BadRequest: with what is missing and what mends it"""
        return await RvcEngine.open(options, place)

    @classmethod
    async def models(cls, options: Any, place: Place) -> Sequence[Model]:
        """The voices: what the option ``voice`` takes."""
        return await asyncio.to_thread(
            lambda: [Model(voice.name, size_bytes=voice.path.stat().st_size) for voice in find_voices(place)]
        )

    async def apply(self, audio: AsyncIterator[Audio]) -> AsyncGenerator[Audio, None]:
        """16 bit mono, as long as what comes in. A change of format ends one stretch of sound and begins another.
        Closed, it stops after the block that is being made.

        :raises BadRequest: for sound of no format that there is
        :raises BindingFailed: if the voice fails
        """
        stream: VoiceStream | None = None
        form: Format = (0, 0, 0)
        async for piece in audio:
            if stream is None or (piece.sample_rate, piece.sample_width, piece.channels) != form:
                if stream is not None:
                    while (rest := await self.engine.worker.call(stream.finish)) is not None:
                        yield Audio(rest, stream.rate)
                form = (piece.sample_rate, piece.sample_width, piece.channels)
                stream = self._stream(form)
            stream.put(piece.pcm)
            while stream.is_ready and (made := await self.engine.worker.call(stream.step)):
                yield Audio(made, stream.rate)
        if stream is not None:
            while (rest := await self.engine.worker.call(stream.finish)) is not None:
                yield Audio(rest, stream.rate)

    def _stream(self, form: Format) -> VoiceStream:
        options: RvcOptions = self.options
        converter = self.engine.converter
        rate = options.resample_sr or converter.sample_rate
        return VoiceStream(converter, _manner(options), _cut(options), form, rate, self.engine.fixed_pitch)


BINDING = Binding({Role.FILTER_AUDIO: RvcFilter})
