"""Role tts: SpeechText -> MP3 from the service, decoded as it comes -> Audio, WordTime."""

import asyncio
import logging
import re
from collections.abc import AsyncGenerator, AsyncIterator, Hashable, Sequence
from contextlib import aclosing
from typing import Any, ClassVar
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from greenroom.bindings.retrying import pause_s
from greenroom.bindings.roles import OWNER_ONLY, Engine, Options, Place, TextToSpeech, Voice
from greenroom.bindings.service_failures import ServiceFailures
from greenroom.bindings.spoken_text import WordFinder, utterances
from greenroom.errors import BindingFailed
from greenroom.values import Audio, SpeechText, WordTime

from .mp3 import SAMPLE_RATE, Mp3Decoder
from .sdk import EdgeSdk
from .voices import KNOWN_VOICES, listed_voices

logger = logging.getLogger(__name__)

_VOICE = re.compile(r"[a-z]{2,}-[A-Z]{2,}-[A-Za-z-]+Neural")
_LONGEST = 1000
"""characters of one request: below the size at which the package would cut by itself"""
_LONGEST_SILENCE_S = 600
"""of the package's own timeout, in whole seconds; ours is the option"""
_TICKS_A_MS = 10_000
_BYTES_A_MS = SAMPLE_RATE * 2 / 1000


class SpeechOptions(Options):
    voice: str = Field(
        "en-US-EmmaMultilingualNeural",
        max_length=120,
        pattern=rf"^{_VOICE.pattern}$",
        description="the voice's short name; `greenroom list voices` shows them",
    )
    rate: int = Field(0, ge=-90, le=200, description="percent by which it speaks faster")
    pitch: int = Field(0, ge=-200, le=200, description="hertz by which the voice is higher")
    volume: int = Field(0, ge=-100, le=100, description="percent by which it is louder")
    base_url: str = Field(
        "",
        max_length=300,
        description="another server of the same protocol, wss://example.com; empty: Microsoft's",
        json_schema_extra=OWNER_ONLY,
    )
    proxy: str = Field("", max_length=300, description="HTTP proxy to go through", json_schema_extra=OWNER_ONLY)
    connect_timeout_s: int = Field(10, ge=1, le=60, description="seconds to wait for a connection")
    read_timeout_s: float = Field(20.0, gt=0, le=600, description="longest silence of the service in seconds")
    max_retries: int = Field(1, ge=0, le=5, description="further attempts where nothing had come yet")

    @field_validator("base_url")
    @classmethod
    def _is_address(cls, value: str) -> str:
        value = value.strip().rstrip("/")
        parts = urlsplit(value)
        if value and (parts.scheme not in ("ws", "wss") or not parts.hostname or parts.query):
            raise ValueError("wanted an address such as wss://example.com")
        return value


class EdgeEngine(Engine):
    def __init__(self, sdk: EdgeSdk, failures: ServiceFailures) -> None:
        self.sdk = sdk
        self.failures = failures


def _open(options: SpeechOptions) -> EdgeEngine:
    sdk = EdgeSdk(options.base_url)
    Mp3Decoder().end()  # loads the codec: not while somebody waits for a first word
    return EdgeEngine(sdk, ServiceFailures(sdk.host, "", None, options.read_timeout_s))


class Speech(TextToSpeech[EdgeEngine]):
    Options: ClassVar[type[Options]] = SpeechOptions
    options: SpeechOptions

    @classmethod
    def engine_key(cls, options: Any) -> Hashable:
        return (options.base_url, options.read_timeout_s)

    @classmethod
    async def open_engine(cls, options: Any, place: Place) -> EdgeEngine:
        """:raises BindingFailed: where a package is missing."""
        return await asyncio.to_thread(_open, options)

    async def voices(self) -> Sequence[Voice]:
        """What the service lists; some well-known ones if it does not answer."""
        return await listed_voices(self.engine.sdk, self.options.proxy) or KNOWN_VOICES

    async def speak(self, text: AsyncIterator[SpeechText]) -> AsyncGenerator[Audio | WordTime, None]:
        """Offsets of words count through all the texts of the call, as if they were joined. :raises BindingFailed:"""
        sent = characters = 0
        async for part in text:
            for start, piece in utterances(part.text, _LONGEST):
                begin_ms, finder = sent / _BYTES_A_MS, WordFinder(piece)
                async with aclosing(self._with_retries(piece, self._voice(part))) as items:
                    async for item in items:
                        if isinstance(item, bytes):
                            sent += len(item)
                            yield Audio(item, SAMPLE_RATE)
                            continue
                        at = finder.find(item.text)
                        place = characters + start + at if at >= 0 else -1
                        yield WordTime(item.text, begin_ms + item.start_ms, begin_ms + item.end_ms, place)
            characters += len(part.text)

    def _voice(self, part: SpeechText) -> str:
        if not part.voice or _VOICE.fullmatch(part.voice):
            return part.voice or self.options.voice
        logger.debug("edge has no voice %r: speaking as %s", part.voice, self.options.voice)
        return self.options.voice

    async def _with_retries(self, text: str, voice: str) -> AsyncGenerator[bytes | WordTime, None]:
        for attempt in range(self.options.max_retries + 1):
            sounded = False
            try:
                async with aclosing(self._speak(text, voice)) as items:
                    async for item in items:
                        sounded = True
                        yield item
            except BindingFailed as failure:
                wait_s = pause_s(failure, attempt)
                if sounded or attempt == self.options.max_retries or wait_s is None:
                    raise
                await asyncio.sleep(wait_s)
            else:
                return

    async def _speak(self, text: str, voice: str) -> AsyncGenerator[bytes | WordTime, None]:
        options = self.options
        communicate = self.engine.sdk.communicate(
            text,
            voice,
            rate=f"{options.rate:+d}%",
            volume=f"{options.volume:+d}%",
            pitch=f"{options.pitch:+d}Hz",
            boundary="WordBoundary",
            proxy=options.proxy or None,
            connect_timeout=options.connect_timeout_s,
            receive_timeout=_LONGEST_SILENCE_S,
        )
        decoder = Mp3Decoder()
        async with aclosing(self._messages(communicate)) as messages:
            async for message in messages:
                if message["type"] == "audio":
                    if pcm := decoder.feed(message["data"]):
                        yield pcm
                else:
                    start_ms = message["offset"] / _TICKS_A_MS
                    yield WordTime(message["text"], start_ms, start_ms + message["duration"] / _TICKS_A_MS)
        if pcm := decoder.end():
            yield pcm
        if not decoder.sounded:
            raise self.engine.failures.no_sound()
        if communicate.state["chunk_audio_bytes"]:  # the package counts them as done when the service says so
            raise self.engine.failures.cut_off()

    async def _messages(self, communicate: Any) -> AsyncGenerator[dict[str, Any], None]:
        """:raises BindingFailed: with a sentence for whatever went wrong."""
        import aiohttp

        errors, failures = self.engine.sdk.errors, self.engine.failures
        try:
            async with aclosing(communicate.stream()) as messages:
                while True:
                    async with asyncio.timeout(self.options.read_timeout_s):
                        message = await anext(messages, None)
                    if message is None:
                        return
                    yield message
        except errors.NoAudioReceived as error:
            raise BindingFailed(
                f"{failures.host} sent no sound: is the voice right, and does it speak the text's language?",
                retryable=True,
            ) from error
        except errors.SkewAdjustmentError as error:
            raise _refused(failures) from error
        except aiohttp.ClientResponseError as error:
            refused = error.status == 403
            said = failures.of_status(error.status, error.message, error.headers)
            raise (_refused(failures) if refused else said) from error
        except errors.WebSocketError as error:
            raise failures.cut_off(str(error)) from error
        except (errors.EdgeTTSException, ValueError, KeyError, TypeError) as error:
            raise failures.nonsense(f"something that is no speech ({failures.clean(str(error))})") from error
        except aiohttp.ClientConnectorError as error:
            raise failures.of_connecting(error) from error
        except aiohttp.ConnectionTimeoutError as error:
            raise failures.of_connecting(TimeoutError()) from error
        except TimeoutError as error:
            raise failures.silent() from error
        except (aiohttp.ClientError, OSError) as error:
            raise failures.cut_off() from error


def _refused(failures: ServiceFailures) -> BindingFailed:
    return BindingFailed(
        f"{failures.host} does not take Greenroom for the browser: is this machine's clock right? "
        "Otherwise try pip install -U edge-tts",
        details={"status": 403},
    )
