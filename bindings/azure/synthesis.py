"""Role tts: SpeechText -> SSML -> Audio as it is made, WordTime with the mouth shapes that belong to it."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Hashable, Sequence
from contextlib import aclosing
from typing import Any, ClassVar

from pydantic import Field

from greenroom.bindings.retrying import pause_s
from greenroom.bindings.roles import Engine, Options, Place, TextToSpeech, Voice
from greenroom.bindings.spoken_text import utterances
from greenroom.bindings.threads import stream_from_thread
from greenroom.errors import BindingFailed
from greenroom.values import Audio, SpeechText, WordTime

from .account import FAREWELL_S, Account, AccountOptions, account_key, account_of, load_sdk
from .failures import Failures
from .lines import Item, Line, Lines, Utterance
from .ssml import Manner, ssml
from .timing import Timing
from .voices import KNOWN_VOICES, listed_voices

_LONGEST = 3000
"""characters of one request: the service speaks ten minutes at most"""
_WARM_UP_S = 1.5


class SynthesisOptions(AccountOptions):
    voice: str = Field(
        "en-US-AshleyNeural",
        min_length=1,
        max_length=120,
        description="the voice's short name; `greenroom list voices` shows them",
    )
    style: str = Field(
        "", max_length=60, pattern=r"^[A-Za-z_-]*$", description="cheerful, sad, whispering ..., where the voice has it"
    )
    style_degree: float = Field(1.0, ge=0.01, le=2, description="how strongly the style is heard")
    rate: float = Field(1.0, ge=0.5, le=2, description="1: as fast as the voice speaks")
    pitch: int = Field(0, ge=-50, le=50, description="percent by which the voice is higher or lower")
    volume: int = Field(100, ge=0, le=100, description="loudness in percent")


class SynthesisEngine(Engine):
    """``lines`` is ``None`` where key or region are missing: voices can be listed all the same."""

    def __init__(self, account: Account, failures: Failures, lines: Lines | None) -> None:
        self.account = account
        self.failures = failures
        self.lines = lines

    def ready_lines(self) -> Lines:
        """:raises BindingFailed: naming what is missing."""
        self.account.check()
        if self.lines is None:
            raise BindingFailed("this connection to Azure was never opened")
        return self.lines

    async def close(self) -> None:
        if self.lines is not None:
            await asyncio.to_thread(self.lines.close, FAREWELL_S)


def _open(account: Account, failures: Failures, options: AccountOptions) -> Lines:
    import azure.cognitiveservices.speech as sdk

    config = account.speech_config()
    config.set_speech_synthesis_output_format(sdk.SpeechSynthesisOutputFormat.Raw24Khz16BitMonoPcm)
    # Ours is the timeout that counts; the SDK's would also end a slow but steady synthesis.
    frame_ms = round(1000 * options.read_timeout_s) + 10_000
    config.set_property(sdk.PropertyId.SpeechSynthesis_FrameTimeoutInterval, str(frame_ms))
    config.set_property(sdk.PropertyId.SpeechSynthesis_RtfTimeoutThreshold, "10")
    lines = Lines(lambda: Line(config, failures))
    lines.warm(_WARM_UP_S)
    return lines


class Synthesis(TextToSpeech[SynthesisEngine]):
    Options: ClassVar[type[Options]] = SynthesisOptions
    options: SynthesisOptions

    @classmethod
    def engine_key(cls, options: Any) -> Hashable:
        return (account_key(options), options.read_timeout_s)

    @classmethod
    async def open_engine(cls, options: Any, place: Place) -> SynthesisEngine:
        """Connects already, so that the first sentence need not wait for it. :raises BindingFailed:"""
        account = account_of(options, "tts", place)
        failures = Failures(account, options.read_timeout_s)
        try:
            account.check()
        except BindingFailed:
            return SynthesisEngine(account, failures, None)
        await load_sdk()
        return SynthesisEngine(account, failures, await asyncio.to_thread(_open, account, failures, options))

    async def voices(self) -> Sequence[Voice]:
        """What the service lists; without a key, or if it does not answer, some well-known ones."""
        return await listed_voices(self.engine.account) or KNOWN_VOICES

    async def speak(self, text: AsyncIterator[SpeechText]) -> AsyncGenerator[Audio | WordTime, None]:
        """Offsets of words count through all the texts of the call, as if they were joined. :raises BindingFailed:"""
        call = Timing()
        async for part in text:
            manner = self._manner(part)
            for start, piece in utterances(part.text, _LONGEST):
                call.begin(piece, call.characters + start)
                async with aclosing(self._with_retries(ssml(piece, manner))) as items:
                    async for item in items:
                        for made in call.take(item):
                            yield made
                for made in call.end():
                    yield made
            call.characters += len(part.text)

    def _manner(self, part: SpeechText) -> Manner:
        options = self.options
        return Manner(
            part.voice or options.voice,
            options.style,
            options.style_degree,
            options.rate,
            options.pitch,
            options.volume,
            part.language,
        )

    async def _with_retries(self, document: str) -> AsyncGenerator[Item, None]:
        for attempt in range(self.options.max_retries + 1):
            sounded = False
            try:
                async with aclosing(self._utter(document)) as items:
                    async for item in items:
                        sounded = True
                        yield item
            except BindingFailed as failure:
                wait_s = pause_s(failure, attempt)
                if sounded or attempt == self.options.max_retries or wait_s is None:
                    raise
                await asyncio.sleep(wait_s)
            else:
                if not sounded:
                    raise BindingFailed(
                        f"{self.engine.account.name} sent no sound: does the voice speak the text's language?"
                    )
                return

    async def _utter(self, document: str) -> AsyncGenerator[Item, None]:
        utterance = Utterance(self.engine.ready_lines(), document)
        try:
            async with aclosing(stream_from_thread(utterance.run, limit=0, name="azure")) as items:
                while True:
                    try:
                        async with asyncio.timeout(self.options.read_timeout_s):
                            item = await anext(items, None)
                    except TimeoutError:
                        raise self.engine.failures.silent() from None
                    if item is None:
                        return
                    yield item
        finally:
            utterance.stop()
