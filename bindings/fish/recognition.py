"""Role stt: a whole utterance is sent as WAV, its text comes back.

Audio ... -> POST /v1/asr (msgpack) -> Transcript
"""

import asyncio
import io
import wave
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, ClassVar

from pydantic import Field

from greenroom.bindings.pcm import MonoConverter
from greenroom.bindings.retrying import pause_s
from greenroom.bindings.roles import Options, Place, SpeechToText
from greenroom.bindings.warming import or_closed
from greenroom.errors import BindingFailed
from greenroom.values import Audio, Transcript

from .service import FishEngine, FishOperation, FishOptions

_SAMPLE_RATE = 16_000
_SHORTEST_BYTES = _SAMPLE_RATE * 2 // 10


class RecognitionOptions(FishOptions):
    language: str = Field(
        "en", max_length=16, description="what is spoken, as in ISO 639-1; empty: the service finds out"
    )


class Recognition(FishOperation, SpeechToText[FishEngine]):
    Options: ClassVar[type[Options]] = RecognitionOptions
    options: RecognitionOptions

    @classmethod
    async def open_engine(cls, options: Any, place: Place) -> FishEngine:
        """Connects already, so that the first words need not wait for it. :raises BindingFailed:"""
        engine = await super().open_engine(options, place)
        return await or_closed(engine, engine.greet())

    async def transcribe(self, audio: AsyncIterator[Audio], hint: str) -> AsyncGenerator[Transcript, None]:
        """One final transcript; the service takes no hints. Less than a tenth of a second holds no word: nothing is
        sent. :raises BadRequest, BindingFailed:"""
        self.engine.check()
        converter = MonoConverter(_SAMPLE_RATE)
        pcm = bytearray()
        async for piece in audio:
            pcm += converter.feed(piece)
        if len(pcm) < _SHORTEST_BYTES:
            yield Transcript("")
            return
        yield Transcript(await self._with_retries(_wav(bytes(pcm))))

    async def _with_retries(self, wav: bytes) -> str:
        attempt = 0
        while True:
            try:
                return await self._recognize(wav)
            except BindingFailed as failure:
                wait_s = pause_s(failure, attempt)
                if attempt >= self.options.max_retries or wait_s is None:
                    raise
            await asyncio.sleep(wait_s)
            attempt += 1

    async def _recognize(self, wav: bytes) -> str:
        import httpx
        from fishaudio.core.omit import OMIT

        failures = self.engine.failures
        language = self.options.language or OMIT
        try:
            answer = await self.engine.client.asr.transcribe(audio=wav, language=language)
        except (httpx.ReadTimeout, httpx.WriteTimeout) as error:
            raise failures.silent() from error
        except (httpx.ReadError, httpx.RemoteProtocolError) as error:
            raise failures.cut_off() from error
        except httpx.TimeoutException as error:
            raise failures.of_connecting(TimeoutError()) from error
        except httpx.HTTPError as error:
            raise failures.of_connecting(error) from error
        except (ValueError, AttributeError) as error:  # no JSON, or JSON of another kind
            raise failures.nonsense("something that is no transcript") from error
        return str(answer.text).strip()


def _wav(pcm: bytes) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(_SAMPLE_RATE)
        file.writeframes(pcm)
    return out.getvalue()
