"""Role stt: a live stream of sound -> partial transcripts while it is said -> the final one at its end.

Audio ... -> 16 kHz mono -> Listener -> Transcript (partials) ..., Transcript (final)
"""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Hashable, Sequence
from contextlib import suppress
from typing import Any, ClassVar, Literal

from pydantic import Field

from greenroom.bindings.pcm import MonoConverter
from greenroom.bindings.roles import Engine, Options, Place, SpeechToText
from greenroom.errors import BindingFailed
from greenroom.values import Audio, Transcript

from .account import FAREWELL_S, Account, AccountOptions, account_key, account_of, load_sdk
from .failures import Failures
from .listener import SAMPLE_RATE, Ended, Heard, Listener, Listeners, Mailbox

_WARM_UP_S = 1.5
_UNTHROTTLED = ("SPEECH-TransmitLengthBeforThrottleMs", "600000")
"""ten minutes of sound go out as fast as they can, as nobody should wait for twice real time; the SDK spells it so"""
_MOST_PHRASES = 500
_LONGEST_PHRASE = 100
_UNSPACED = ("zh", "ja", "th", "yue", "wuu", "lo", "km", "my")
"""languages written without spaces between phrases"""


class RecognitionOptions(AccountOptions):
    language: str = Field(
        "en-US",
        max_length=20,
        pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$",
        description="what is spoken, as language and country: en-US, de-DE, ja-JP",
    )
    profanity: Literal["raw", "masked", "removed"] = Field("masked", description="what becomes of swear words")


class RecognitionEngine(Engine):
    """``listeners`` is ``None`` where key or region are missing."""

    def __init__(self, account: Account, failures: Failures, listeners: Listeners | None) -> None:
        self.account = account
        self.failures = failures
        self.listeners = listeners
        self._preparing: set[asyncio.Task[None]] = set()

    def ready_listeners(self) -> Listeners:
        """:raises BindingFailed: naming what is missing."""
        self.account.check()
        if self.listeners is None:
            raise BindingFailed("this connection to Azure was never opened")
        return self.listeners

    def let_go(self, listeners: Listeners, beginning: "asyncio.Future[Listener]") -> None:
        """Close one, which may only just have begun, and prepare the next, without anybody waiting for it."""

        async def exchange() -> None:
            with suppress(BindingFailed):
                listeners.discard(await beginning)
            await asyncio.to_thread(listeners.prepare)

        task = asyncio.get_running_loop().create_task(exchange(), name="azure listener")
        self._preparing.add(task)
        task.add_done_callback(self._preparing.discard)

    async def close(self) -> None:
        await asyncio.gather(*self._preparing)
        if self.listeners is not None:
            await asyncio.to_thread(self.listeners.close, FAREWELL_S)


def _open(account: Account, failures: Failures, options: RecognitionOptions) -> Listeners:
    import azure.cognitiveservices.speech as sdk

    config = account.speech_config()
    config.set_property_by_name(*_UNTHROTTLED)
    config.set_profanity(getattr(sdk.ProfanityOption, options.profanity.capitalize()))
    listeners = Listeners(lambda: Listener(config, options.language, failures))
    listeners.prepare(_WARM_UP_S)
    return listeners


class Recognition(SpeechToText[RecognitionEngine]):
    Options: ClassVar[type[Options]] = RecognitionOptions
    options: RecognitionOptions

    @classmethod
    def engine_key(cls, options: Any) -> Hashable:
        return (account_key(options), options.language, options.profanity, options.read_timeout_s)

    @classmethod
    async def open_engine(cls, options: Any, place: Place) -> RecognitionEngine:
        """Connects already, so that the first words need not wait for it. :raises BindingFailed:"""
        account = account_of(options, "stt", place)
        failures = Failures(account, options.read_timeout_s)
        try:
            account.check()
        except BindingFailed:
            return RecognitionEngine(account, failures, None)
        await load_sdk()
        return RecognitionEngine(account, failures, await asyncio.to_thread(_open, account, failures, options))

    async def transcribe(self, audio: AsyncIterator[Audio], hint: str) -> AsyncGenerator[Transcript, None]:
        """Sound with no word in it gives an empty final. :raises BadRequest, BindingFailed:"""
        listeners = self.engine.ready_listeners()
        mailbox = Mailbox()
        beginning = asyncio.ensure_future(asyncio.to_thread(_begin, listeners, phrases_of(hint), mailbox))
        feeding: asyncio.Task[None] | None = None
        try:
            listener = await asyncio.shield(beginning)
            feeding = asyncio.create_task(_feed(audio, listener), name="azure sound")
            gap = "" if self.options.language.split("-")[0].lower() in _UNSPACED else " "
            settled: list[str] = []
            while isinstance(event := await self._next(mailbox, feeding), Heard):
                if not event.text:
                    continue
                yield Transcript(gap.join([*settled, event.text]), final=False)
                if event.settled:
                    settled.append(event.text)
            yield Transcript(gap.join(settled))
        finally:
            if feeding is not None:
                feeding.cancel()
                await asyncio.gather(feeding, return_exceptions=True)
            self.engine.let_go(listeners, beginning)

    async def _next(self, mailbox: Mailbox, feeding: asyncio.Task[None]) -> Heard | Ended:
        """The next event. The service may be silent as long as somebody may be speaking, not for long after."""
        coming = asyncio.ensure_future(mailbox.next())
        try:
            await asyncio.wait((coming, feeding), return_when=asyncio.FIRST_COMPLETED)
            if not coming.done():
                feeding.result()  # raises what went wrong with the sound
                await asyncio.wait((coming,), timeout=self.options.read_timeout_s)
            if not coming.done():
                raise self.engine.failures.silent()
            return coming.result()
        finally:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)


def _begin(listeners: Listeners, phrases: Sequence[str], mailbox: Mailbox) -> Listener:
    """In a thread. :raises BindingFailed:"""
    listener = listeners.take()
    try:
        listener.start(phrases, mailbox.tell)
    except RuntimeError as error:  # what the SDK raises
        listeners.discard(listener)
        raise BindingFailed(f"Azure's recogniser did not start: {error}", retryable=True) from error
    return listener


async def _feed(audio: AsyncIterator[Audio], listener: Listener) -> None:
    """:raises BadRequest: for sound that is none."""
    converter = MonoConverter(SAMPLE_RATE)
    async for piece in audio:
        if pcm := converter.feed(piece):
            listener.write(pcm)
    listener.end()


def phrases_of(hint: str) -> list[str]:
    """What stands between commas and line ends: names and words, not sentences."""
    parts = (part.strip() for part in re.split(r"[,;\n]+", hint))
    return [part for part in parts if part and len(part) <= _LONGEST_PHRASE][:_MOST_PHRASES]
