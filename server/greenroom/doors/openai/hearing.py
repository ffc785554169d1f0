"""``/v1/audio/transcriptions``: a recording in any form to text."""

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

from greenroom.bindings.guard import guarded
from greenroom.bindings.roles import SpeechToText
from greenroom.doors.openai.context import Context
from greenroom.doors.openai.exchange import EVENT_STREAM, Exchange
from greenroom.doors.openai.failures import NotServed, bad_field
from greenroom.doors.openai.form import Form, read_form
from greenroom.doors.openai.models import OWN, Target
from greenroom.doors.openai.recording import decoded
from greenroom.doors.openai.requests import bounded
from greenroom.doors.openai.subtitles import segments, srt, vtt
from greenroom.doors.safety import Grant
from greenroom.errors import BindingFailed
from greenroom.pipeline.chain import closable, unstalled
from greenroom.pipeline.framing import cut
from greenroom.session.operations import operation_as
from greenroom.values import Access, Audio, Role, Transcript

_ALIASES: Final = frozenset({OWN, "whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe", "gpt-transcribe"})
"""names that clients have built in: they stand for the session's ears"""
_FORMATS: Final = ("json", "text", "srt", "verbose_json", "vtt")
_FORM_BYTES: Final = 256 << 10
"""what a form may have beside its file"""
_PIECE_MS: Final = 200


@dataclass(frozen=True, slots=True)
class _Asked:
    model: str
    audio: bytes
    language: str
    hint: str
    form: str
    stream: bool


async def transcribe(context: Context, exchange: Exchange, grant: Grant) -> None:
    grant.require(Access.PERFORMER, "transcribing")
    limits = context.config.limits
    form = await read_form(exchange, limits.audio_bytes, limits.audio_bytes + _FORM_BYTES)
    exchange.watch()
    asked = _asked(form, limits.text_bytes)
    target = Target(asked.model) if asked.model in _ALIASES else await context.models.find(asked.model)
    session = await context.session(grant)
    with context.admission.place(Role.STT):
        audio = await decoded(asked.audio, limits.audio_s)
        changes = {"language": asked.language} if asked.language else {}
        loaded = await context.backends.hold(session, Role.STT, target, grant.access, changes)
        try:
            with guarded(loaded.binding_id):
                ears = operation_as(SpeechToText, loaded)
                heard = _heard(ears, audio, asked.hint, context.config.turn.timeout_s, loaded.binding_id)
                async with aclosing(heard) as transcripts:
                    if asked.stream:
                        await _as_events(exchange, transcripts)
                    else:
                        await _whole(exchange, asked, audio, await _final(transcripts))
        finally:
            await loaded.release()


async def translate(context: Context, exchange: Exchange, grant: Grant) -> None:
    raise NotServed("translations are not served here; /v1/audio/transcriptions gives the words in their own language")


def _asked(form: Form, text_bytes: int) -> _Asked:
    """:raises BadRequest: naming the field."""
    if form.file is None:
        raise bad_field("file", "wanted a recording")
    if not form.file:
        raise bad_field("file", "is empty")
    model = form.fields.get("model", "")
    if not model:
        raise bad_field("model", "wanted the name of a model, such as whisper-1")
    wanted = form.fields.get("response_format") or "json"
    if wanted not in _FORMATS:
        raise bad_field("response_format", f"wanted one of {', '.join(_FORMATS)}")
    flag = form.fields.get("stream", "false").lower()
    if flag not in ("true", "false", "1", "0", ""):
        raise bad_field("stream", "wanted true or false")
    return _Asked(
        model,
        form.file,
        bounded("language", form.fields.get("language", ""), 64),
        bounded("prompt", form.fields.get("prompt", ""), text_bytes),
        wanted,
        flag in ("true", "1"),
    )


async def _heard(
    ears: SpeechToText[Any], audio: Audio, hint: str, stall_s: float, what: str
) -> AsyncGenerator[Transcript, None]:
    async def pieces() -> AsyncGenerator[Audio, None]:
        for piece in cut([audio], _PIECE_MS):
            yield piece

    async with aclosing(closable(ears.transcribe(pieces(), hint))) as transcripts:
        async for transcript in unstalled(transcripts, stall_s, what):
            yield transcript


async def _final(transcripts: AsyncGenerator[Transcript, None]) -> str:
    async for transcript in transcripts:
        if transcript.final:
            return transcript.text
    raise BindingFailed("the transcription ended without its text", retryable=True)


async def _whole(exchange: Exchange, asked: _Asked, audio: Audio, text: str) -> None:
    seconds = round(audio.duration_ms / 1000, 3)
    match asked.form:
        case "text":
            await exchange.whole(f"{text}\n".encode(), "text/plain; charset=utf-8")
        case "srt":
            await exchange.whole(srt(segments(text, seconds)).encode(), "text/plain; charset=utf-8")
        case "vtt":
            await exchange.whole(vtt(segments(text, seconds)).encode(), "text/vtt; charset=utf-8")
        case "verbose_json":
            await exchange.json(
                {
                    "task": "transcribe",
                    "language": asked.language or "unknown",
                    "duration": seconds,
                    "text": text,
                    "segments": [segment.wire(index) for index, segment in enumerate(segments(text, seconds))],
                }
            )
        case _:
            usage = {"type": "duration", "seconds": round(seconds)}
            await exchange.json({"text": text, "usage": usage})


async def _as_events(exchange: Exchange, transcripts: AsyncGenerator[Transcript, None]) -> None:
    """Partials may still change: what two of them agree on is told, up to a whole word; the end has the last say."""
    exchange.will_stream(EVENT_STREAM)
    told = before = ""
    async for transcript in transcripts:
        text = transcript.text
        agreed = text if transcript.final else agreed_words(before, text)
        before = text
        if agreed.startswith(told) and len(agreed) > len(told):
            await exchange.write(_event({"type": "transcript.text.delta", "delta": agreed[len(told) :]}))
            told = agreed
        if transcript.final:
            await exchange.end(_event({"type": "transcript.text.done", "text": text}))
            return
    raise BindingFailed("the transcription ended without its text", retryable=True)


def agreed_words(one: str, other: str) -> str:
    """The words that both begin with, without the last, which may still grow."""
    size = 0
    for size, (left, right) in enumerate(zip(one, other, strict=False)):  # noqa: B007 -- its last value is the result
        if left != right:
            break
    else:
        size = min(len(one), len(other))
    return other[: other.rfind(" ", 0, size)] if " " in other[:size] else ""


def _event(value: Any) -> bytes:
    return f"data: {json.dumps(value)}\n\n".encode("ascii")
