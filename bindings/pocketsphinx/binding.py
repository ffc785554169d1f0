"""Speech recognition by pocketsphinx: offline, small, English out of the box, and basic."""

from collections.abc import AsyncGenerator, AsyncIterator, Hashable, Iterator, Sequence
from typing import Any

from pydantic import Field

from greenroom.bindings.pcm import check
from greenroom.bindings.roles import Binding, Model, Options, Place, SpeechToText
from greenroom.values import Audio, Role, Transcript

from . import models
from .decoders import Decoders
from .recognizer import AUDIO, END, SOUND, START

STEP_MS = 200


class PocketsphinxOptions(Options):
    model: str = Field(models.BUILT_IN, description="en-us, or the name of a folder in models/pocketsphinx")
    decoders: int = Field(2, ge=1, le=16, description="utterances recognised at the same time, 100 MB of memory each")


class PocketsphinxRecognition(SpeechToText[Decoders]):
    Options = PocketsphinxOptions

    @classmethod
    def engine_key(cls, options: PocketsphinxOptions) -> Hashable:
        return (options.model, options.decoders)

    @classmethod
    async def open_engine(cls, options: PocketsphinxOptions, place: Place) -> Decoders:
        decoders = Decoders(models.find(options.model, place.models), options.decoders)
        await decoders.preload()
        return decoders

    @classmethod
    async def models(cls, options: Any, place: Place) -> Sequence[Model]:
        return models.listed(place.models)

    async def transcribe(self, audio: AsyncIterator[Audio], hint: str) -> AsyncGenerator[Transcript, None]:
        """A partial whenever what is understood changes. The hint is not used: the vocabulary is the model's."""
        async with self.engine.decoder() as decoder:
            await decoder.request(START)
            known = ""
            async for heard in audio:
                for step in _steps(heard):
                    text = await decoder.request(SOUND, step)
                    if text and text != known:
                        known = text
                        yield Transcript(text, final=False)
            yield Transcript(await decoder.request(END))


def _steps(audio: Audio) -> Iterator[bytes]:
    """Short enough that a cancelled transcription does not keep its decoder. :raises BadRequest: for no sound."""
    check(audio)
    head = AUDIO.pack(audio.sample_rate, audio.sample_width, audio.channels)
    size = audio.frame_bytes * (audio.sample_rate * STEP_MS // 1000)
    for start in range(0, len(audio.pcm), size):
        yield head + audio.pcm[start : start + size]


BINDING = Binding({Role.STT: PocketsphinxRecognition})
