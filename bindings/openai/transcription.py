"""Role stt: a whole utterance is sent as WAV; models that stream their transcript give partials.

Audio ... -> POST /audio/transcriptions -> Transcript (partials) ... Transcript (final)
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from greenroom.bindings.chat_format import error_message
from greenroom.bindings.roles import Options, SpeechToText
from greenroom.bindings.server_events import EventDecoder
from greenroom.bindings.wav import wav_of
from greenroom.bindings.wire_text import encodable
from greenroom.errors import BadRequest, BindingFailed
from greenroom.values import Audio, Transcript

from .connection import ConnectionOptions, OpenAIEngine, OpenAIOperation, pieces_of, read_whole

if TYPE_CHECKING:
    import httpx2

_SHORTEST_MS = 100
_MAX_TEXT_BYTES = 4 << 20
_AT_OPENAI = "gpt-transcribe"
_HINT_CHARACTERS = 800
"""the model reads the last 224 tokens of it only"""


class TranscriptionOptions(ConnectionOptions):
    model: str = Field(
        "gpt-4o",
        min_length=1,
        description="the model, by the server's name for it; gpt-4o stands at OpenAI for gpt-transcribe",
    )
    language: str = Field(
        "en", max_length=16, description="what is spoken, as in ISO 639-1; empty: the model finds out"
    )
    response_format: Literal["json", "text"] = Field("json", description="text for servers that send no JSON")
    stream: bool = Field(False, description="ask for partial transcripts, where the model can (gpt-transcribe)")


class Transcription(OpenAIOperation, SpeechToText[OpenAIEngine]):
    Options: ClassVar[type[Options]] = TranscriptionOptions
    options: TranscriptionOptions
    partials_grow = True

    async def transcribe(self, audio: AsyncIterator[Audio], hint: str) -> AsyncIterator[Transcript]:
        """Less than a tenth of a second holds no word: an empty final, nothing sent. :raises BindingFailed:"""
        whole = await _collect(audio)
        if whole is None or whole.duration_ms < _SHORTEST_MS:
            yield Transcript("")
            return
        files = [("file", ("speech.wav", wav_of(whole), "audio/wav"))]
        request = self.engine.request(
            "/audio/transcriptions", self._form(hint), retries=self.options.max_retries, files=files
        )
        async with request as response, aclosing(self._read(response)) as transcripts:
            async for transcript in transcripts:
                yield transcript

    def _form(self, hint: str) -> dict[str, Any]:
        options = self.options
        model = options.model
        if model == "gpt-4o" and self.engine.is_official:
            model = _AT_OPENAI
        form: dict[str, Any] = {"model": model, "response_format": options.response_format}
        if options.language and model.startswith(_AT_OPENAI):
            form["languages"] = [options.language]
        elif options.language:
            form["language"] = options.language
        if hint:
            form["prompt"] = encodable(hint[-_HINT_CHARACTERS:])
        if options.stream:
            form["stream"] = True
        return form

    async def _read(self, response: "httpx2.Response") -> AsyncGenerator[Transcript, None]:
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "text/event-stream":
            async with aclosing(self._read_events(response)) as transcripts:
                async for transcript in transcripts:
                    yield transcript
            return
        text = (await read_whole(response, _MAX_TEXT_BYTES)).decode(errors="replace")
        if kind == "text/html":
            raise self.engine.failures.nonsense(self.engine.failures.clean(text))
        if kind == "application/json":
            text = self._text_of(self._parse(text.encode()))
        yield Transcript(text.strip())

    async def _read_events(self, response: "httpx2.Response") -> AsyncGenerator[Transcript, None]:
        decoder = EventDecoder()
        heard = ""
        final: str | None = None
        async with aclosing(pieces_of(response)) as pieces:
            async for piece in pieces:
                for data in decoder.feed(piece):
                    if final is not None or data == b"[DONE]":
                        continue
                    event = self._parse(data)
                    match event.get("type"):
                        case "transcript.text.delta":
                            heard += str(event.get("delta") or "")
                            yield Transcript(heard.strip(), final=False)
                        case "transcript.text.done":
                            final = self._text_of(event)
        if final is None:
            raise self.engine.failures.cut_off()
        yield Transcript(final.strip())

    def _parse(self, data: bytes) -> dict[str, Any]:
        try:
            parsed = self.engine.parse_json(data)
        except ValueError:
            parsed = None
        if not isinstance(parsed, dict):
            raise self.engine.failures.nonsense("something that is no transcript")
        if parsed.get("error"):
            said = self.engine.failures.clean(error_message(parsed["error"]))
            raise BindingFailed(f"{self.engine.failures.host} failed while transcribing: {said}", retryable=True)
        return parsed

    def _text_of(self, answer: dict[str, Any]) -> str:
        text = answer.get("text")
        if not isinstance(text, str):
            raise self.engine.failures.nonsense("something that is no transcript")
        return text


async def _collect(audio: AsyncIterator[Audio]) -> Audio | None:
    """:raises BadRequest: if the format changes on the way."""
    first: Audio | None = None
    pcm = bytearray()
    async for piece in audio:
        first = first or piece
        if (piece.sample_rate, piece.sample_width, piece.channels) != (
            first.sample_rate,
            first.sample_width,
            first.channels,
        ):
            raise BadRequest("the format of the audio changed in the middle")
        pcm += piece.pcm
    if first is None:
        return None
    whole = len(pcm) - len(pcm) % first.frame_bytes
    return Audio(bytes(pcm[:whole]), first.sample_rate, first.sample_width, first.channels)
