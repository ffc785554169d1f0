"""``/v1/audio/speech`` and ``/v1/audio/voices``: text to sound, sent as it is made."""

import base64
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, aclosing
from typing import Any, Final

from greenroom.bindings.guard import guarded
from greenroom.bindings.roles import AudioFilter, TextToSpeech
from greenroom.doors.openai.context import Context
from greenroom.doors.openai.exchange import EVENT_STREAM, Exchange
from greenroom.doors.openai.failures import bad_field
from greenroom.doors.openai.models import ALIASES, OWN, Target
from greenroom.doors.openai.requests import SpeechRequest, bounded, parse
from greenroom.doors.openai.sound import MEDIA_TYPES, encoded, load_av, needs_av
from greenroom.errors import BindingFailed, GreenroomError, Unavailable
from greenroom.personalities.folder import Personality
from greenroom.pipeline.chain import closable, stacked, unstalled
from greenroom.pipeline.sentences import SentenceSplitter
from greenroom.protocol.grant import Grant
from greenroom.session.operations import operation_as
from greenroom.session.session import Session
from greenroom.values import Access, Audio, Role, SpeechText

_DEFAULT_FORMAT: Final = "mp3"
_MAX_SPEECH_BYTES: Final = 2 << 20


async def speech(context: Context, exchange: Exchange, grant: Grant) -> None:
    grant.require(Access.PERFORMER, "speaking")
    request = parse(SpeechRequest, await exchange.body(_MAX_SPEECH_BYTES))
    exchange.watch()
    bounded("input", request.input, context.config.limits.text_bytes)
    sentences = _sentences(request.input)
    if not sentences:
        raise bad_field("input", "there is nothing in it to be spoken")
    form, speed = request.response_format or _DEFAULT_FORMAT, request.speed or 1.0
    session = await context.session(grant)
    target, character = await _target(context, request.model)
    async with context.admission.place(Role.TTS):
        av = await _av(form, speed)
        async with AsyncExitStack() as held:
            voices = _voices_of(session, character)
            loaded = await context.backends.hold(session, Role.TTS, target, grant.access, {}, voices=voices)
            held.push_async_callback(loaded.release)
            voice = operation_as(TextToSpeech, loaded)
            chosen = await context.voices.choose(loaded, request.voice)
            filters = []
            if not target.binding:
                filters = await session.operations.hold_filters(Role.FILTER_AUDIO)
                for one in filters:
                    held.push_async_callback(one.release)
            spoken = _spoken(voice, sentences, chosen, context.config.turn.timeout_s, loaded.binding_id)
            stages = [operation_as(AudioFilter, one).apply for one in filters]
            with guarded(loaded.binding_id):
                async with (
                    stacked(spoken, stages) as sounds,
                    aclosing(encoded(sounds, form, speed, av)) as pieces,
                ):
                    if request.stream_format == "sse":
                        await _as_events(exchange, pieces)
                    else:
                        await _as_bytes(exchange, pieces, form)


def _sentences(text: str) -> list[str]:
    """What is spoken of a text, in pieces that a voice can begin with before it knows the next."""
    splitter = SentenceSplitter()
    pieces = [*splitter.feed(text), *splitter.finish()]
    return [piece.speech for piece in pieces if piece.speech]


async def _target(context: Context, name: str) -> tuple[Target, Personality | None]:
    """-> what speaks, and the character whose voice it has (``None``: the session's)"""
    if name in ALIASES[Role.TTS]:
        return Target(name), None
    target = await context.models.find(name)
    return target, target.personality


def _voices_of(session: Session, character: Personality | None) -> Mapping[str, Mapping[str, Any]]:
    try:
        return (character or session.personality()).voice
    except GreenroomError:
        return {}


async def _av(form: str, speed: float) -> Any:
    """PyAV where it is needed, and where it is there; :raises Unavailable: needed and not there."""
    what = f"{form} sound" if needs_av(form, 1.0) else "another speed"
    try:
        return await load_av(what)
    except Unavailable:
        if needs_av(form, speed):
            raise
        return None


async def _spoken(
    voice: TextToSpeech[Any], sentences: list[str], chosen: str, stall_s: float, what: str
) -> AsyncGenerator[Audio, None]:
    async def texts() -> AsyncGenerator[SpeechText, None]:
        for sentence in sentences:
            yield SpeechText(sentence, voice=chosen)

    async with aclosing(closable(voice.speak(texts()))) as items:
        async for item in unstalled(items, stall_s, what):
            if isinstance(item, Audio):
                yield item


async def _as_bytes(exchange: Exchange, pieces: AsyncGenerator[bytes, None], form: str) -> None:
    exchange.will_stream(MEDIA_TYPES[form])
    async for piece in pieces:
        await exchange.write(piece)
    if not exchange.started:
        raise BindingFailed("the voice made no sound", retryable=True)
    await exchange.end()


async def _as_events(exchange: Exchange, pieces: AsyncGenerator[bytes, None]) -> None:
    exchange.will_stream(EVENT_STREAM)
    async for piece in pieces:
        sound = base64.b64encode(piece).decode("ascii")
        await exchange.write(f'data: {{"type": "speech.audio.delta", "audio": "{sound}"}}\n\n'.encode("ascii"))
    if not exchange.started:
        raise BindingFailed("the voice made no sound", retryable=True)
    usage = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}
    done = json.dumps({"type": "speech.audio.done", "usage": usage})
    await exchange.end(f"data: {done}\n\n".encode("ascii"))


async def speaking_models(context: Context, exchange: Exchange, grant: Grant) -> None:
    """What may stand as ``model`` in a request for speech, beside the characters; Open WebUI asks."""
    exchange.watch()
    await exchange.json({"object": "list", "models": context.models.speaking()})


async def voices(context: Context, exchange: Exchange, grant: Grant) -> None:
    """Those of the session's voice, or of the binding that ``?model=`` names."""
    exchange.watch()
    name = exchange.query("model")
    session = await context.session(grant)
    target, _ = await _target(context, name or OWN)
    loaded = await context.backends.hold(session, Role.TTS, target, grant.access, {})
    try:
        known = await context.voices.of(loaded)
    finally:
        await loaded.release()
    listed = [
        {"id": one.id, "name": one.name or one.id, "language": one.language, "gender": one.gender} for one in known
    ]
    await exchange.json({"object": "list", "voices": listed})
