"""``/v1/audio/transcriptions``: a recording in any form to text."""

import json
import math
import re
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
from greenroom.doors.openai.models import ALIASES, Target
from greenroom.doors.openai.recording import decoded
from greenroom.doors.openai.requests import bounded
from greenroom.doors.openai.subtitles import segments, srt, vtt, words
from greenroom.errors import BindingFailed
from greenroom.pipeline.chain import closable, unstalled
from greenroom.pipeline.framing import cut
from greenroom.protocol.grant import Grant
from greenroom.session.operations import operation_as
from greenroom.values import Access, Audio, Role, Transcript

_FORMATS: Final = ("json", "text", "srt", "verbose_json", "vtt")
_FORM_BYTES: Final = 256 << 10
"""what a form may have beside its file"""
_GRANULARITIES: Final = ("word", "segment")
_LANGUAGE: Final = re.compile(r"[A-Za-z]{2,}([-_][A-Za-z0-9]+)*")
_PIECE_MS: Final = 200


@dataclass(frozen=True, slots=True)
class _Asked:
    model: str
    audio: bytes
    language: str
    hint: str
    form: str
    stream: bool
    words: bool
    """``verbose_json`` is to say when each word was said"""


async def transcribe(context: Context, exchange: Exchange, grant: Grant) -> None:
    grant.require(Access.PERFORMER, "transcribing")
    limits = context.config.limits
    form = await read_form(exchange, limits.audio_bytes, limits.audio_bytes + _FORM_BYTES)
    exchange.watch()
    asked = _asked(form, limits.text_bytes)
    target = Target(asked.model) if asked.model in ALIASES[Role.STT] else await context.models.find(asked.model)
    session = await context.session(grant)
    async with context.admission.place(Role.STT):
        audio = await decoded(asked.audio, limits.audio_s)
        changes = {"language": asked.language} if asked.language else {}
        loaded = await context.backends.hold(session, Role.STT, target, grant.access, changes)
        try:
            with guarded(loaded.binding_id):
                ears = operation_as(SpeechToText, loaded)
                heard = _heard(ears, audio, asked.hint, context.config.turn.timeout_s, loaded.binding_id)
                async with aclosing(heard) as transcripts:
                    if asked.stream:
                        await _as_events(exchange, transcripts, grow=ears.partials_grow)
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
    granularities = form.lists.get("timestamp_granularities", [])
    if any(one not in _GRANULARITIES for one in granularities):
        raise bad_field("timestamp_granularities", f"wanted {' or '.join(_GRANULARITIES)}")
    _check_temperature(form.fields.get("temperature", ""))
    language = bounded("language", form.fields.get("language", ""), 64)
    if language and not _LANGUAGE.fullmatch(language):
        raise bad_field("language", "wanted a language such as en")
    return _Asked(
        model,
        form.file,
        language,
        bounded("prompt", form.fields.get("prompt", ""), text_bytes),
        wanted,
        flag in ("true", "1"),
        "word" in granularities,
    )


def _check_temperature(text: str) -> None:
    """Recognisers here have none; what is no temperature is refused all the same. :raises BadRequest:"""
    try:
        good = not text or 0 <= float(text) <= 1
    except ValueError:
        good = False
    if not good:
        raise bad_field("temperature", "wanted a number from 0 to 1")


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
            found = segments(text, seconds)
            await exchange.json(
                {
                    "task": "transcribe",
                    "language": asked.language or "unknown",
                    "duration": seconds,
                    "text": text,
                    "segments": [segment.wire(index) for index, segment in enumerate(found)],
                    **({"words": words(found)} if asked.words else {}),
                    "usage": _usage(audio),
                }
            )
        case _:
            await exchange.json({"text": text, "usage": _usage(audio)})


def _usage(audio: Audio) -> dict[str, Any]:
    """By the second, each that was begun."""
    return {"type": "duration", "seconds": math.ceil(audio.duration_ms / 1000)}


async def _as_events(exchange: Exchange, transcripts: AsyncGenerator[Transcript, None], *, grow: bool) -> None:
    """The deltas joined are the text, as clients count on: partials that may still change are not told.

    :param grow: they may not; see ``SpeechToText.partials_grow``.
    """
    exchange.will_stream(EVENT_STREAM)
    told = ""
    async for transcript in transcripts:
        text = transcript.text
        if (grow or transcript.final) and text.startswith(told) and len(text) > len(told):
            await exchange.write(_event({"type": "transcript.text.delta", "delta": text[len(told) :]}))
            told = text
        if transcript.final:
            await exchange.end(_event({"type": "transcript.text.done", "text": text}))
            return
    raise BindingFailed("the transcription ended without its text", retryable=True)


def _event(value: Any) -> bytes:
    return f"data: {json.dumps(value)}\n\n".encode("ascii")
