"""Role filter_audio: the voice a number of semitones higher or lower, as it streams, its length kept."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from pydantic import Field

from greenroom.bindings.packages import load_packages
from greenroom.bindings.roles import AudioFilter, Binding, Engine, Options, Place
from greenroom.values import Audio, Role

from .shifter import Format, Shifter

_WARM_UP: Format = (24_000, 2, 1)
_SLICE_MS = 200
"""no longer piece goes through the filters at once: the first of it leaves early, and a stop is never far"""


class PitchOptions(Options):
    pitch_amount: float = Field(
        0, ge=-24, le=24, allow_inf_nan=False, description="semitones up, or down below 0; 12 is an octave"
    )


def _warm_up() -> None:
    load_packages("pitch", ("av.filter", "numpy"))
    shifter = Shifter(1, _WARM_UP)
    shifter.feed(bytes(2 * 24_000))
    shifter.finish()


class PitchFilter(AudioFilter[Engine]):
    Options = PitchOptions

    @classmethod
    async def open_engine(cls, options: Any, place: Place) -> Engine:
        """:raises Unavailable: without PyAV"""
        await asyncio.to_thread(_warm_up)
        return Engine()

    async def apply(self, audio: AsyncIterator[Audio]) -> AsyncGenerator[Audio, None]:
        """As many frames as come in, to the sample. A change of format ends one stretch of sound and begins another.

        :raises BadRequest: for sound of no format that there is
        """
        semitones = self.options.pitch_amount
        shifter: Shifter | None = None
        form: Format = (0, 0, 0)
        async for piece in audio:
            if semitones == 0:
                yield piece
                continue
            if shifter is None or (piece.sample_rate, piece.sample_width, piece.channels) != form:
                if shifter is not None and (rest := await asyncio.to_thread(shifter.finish)):
                    yield Audio(rest, *form)
                form = (piece.sample_rate, piece.sample_width, piece.channels)
                shifter = await asyncio.to_thread(Shifter, semitones, form)
            step = piece.frame_bytes * max(1, piece.sample_rate * _SLICE_MS // 1000)
            for at in range(0, len(piece.pcm), step):
                if made := await asyncio.to_thread(shifter.feed, piece.pcm[at : at + step]):
                    yield Audio(made, *form)
        if shifter is not None and (rest := await asyncio.to_thread(shifter.finish)):
            yield Audio(rest, *form)


BINDING = Binding({Role.FILTER_AUDIO: PitchFilter})
