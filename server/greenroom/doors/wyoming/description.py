"""What ``describe`` is told: the recogniser's models, the voice's voices, and a program for each character on call."""

import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any

from greenroom import __version__
from greenroom.bindings.discovery import FoundBinding
from greenroom.bindings.guard import guarded
from greenroom.bindings.roles import TextToSpeech, Voice
from greenroom.doors.wyoming.operations import Backends
from greenroom.errors import GreenroomError
from greenroom.protocol.commands import ListActivePersonalities
from greenroom.session.operations import operation_as
from greenroom.values import Role

logger = logging.getLogger(__name__)

_MAX_VOICES = 1000
_TAG = re.compile(r"([A-Za-z]{2,3})[-_]([A-Za-z]{2})")
_LANGUAGE = re.compile(r"^([a-z]{2,3}(?:[-_][A-Za-z]{2,4})?)(?:$|[-_.+])")
_CODES: Mapping[str, str] = {
    "arabic": "ar",
    "chinese": "zh",
    "dutch": "nl",
    "english": "en",
    "french": "fr",
    "german": "de",
    "hindi": "hi",
    "italian": "it",
    "japanese": "ja",
    "korean": "ko",
    "polish": "pl",
    "portuguese": "pt",
    "russian": "ru",
    "spanish": "es",
    "turkish": "tr",
    "ukrainian": "uk",
}
"""the names of languages as folders of characters have them"""

Members = dict[str, Any]


async def info(backends: Backends) -> Members:
    """The data of an ``info`` event. A backend that fails to answer is left out, and the log says why."""
    return {
        "asr": await _ears(backends),
        "tts": await _voices(backends),
        "handle": await _characters(backends),
        "intent": [],
        "wake": [],
        "mic": [],
        "snd": [],
    }


async def _ears(backends: Backends) -> list[Members]:
    found = []
    for chosen in await backends.chosen(Role.STT):
        binding = backends.rooms.house.bindings.all().get(chosen.id)
        if binding is None:
            continue
        models = [_model(binding, entry) for entry in binding.model_entries] or [_model(binding, {"name": chosen.id})]
        wanted = chosen.options.get("model")
        models.sort(key=lambda model: model["name"] != wanted)
        program = _program(binding, models=models, supports_transcript_streaming=True, requires_external_vad=True)
        found.append({**program, "prefers_auto_gain_enabled": True, "prefers_noise_reduction_enabled": True})
    return found


async def _voices(backends: Backends) -> list[Members]:
    chosen = await backends.chosen(Role.TTS)
    if not chosen:
        return []
    one = chosen[0]
    overlays = await backends.wanted_voices()

    async def look() -> Sequence[Voice]:
        async with backends.loaded(Role.TTS, one, overlays) as loaded:
            with guarded(loaded.binding_id):
                found = list(await operation_as(TextToSpeech, loaded).voices())
            return found or [Voice(str(getattr(loaded.operation.options, "voice", "") or loaded.binding_id), "")]

    try:
        voices = await backends.voices.of(one.id, one.options, look)
        binding = backends.rooms.house.bindings.get(one.id)
    except GreenroomError as error:
        logger.warning("describing the voice: %s", error.message)
        return []
    # While they are being found out there is at least the one that is configured.
    current = Voice(str(one.options.get("voice") or one.id), "")
    listed = [_voice(binding, voice) for voice in (list(voices) or [current])[:_MAX_VOICES]]
    return [_program(binding, voices=listed, supports_synthesize_streaming=True)]


async def _characters(backends: Backends) -> list[Members]:
    """The one that answers comes first: it is meant where a client selects none."""
    programs: list[Members] = []
    for name, personality, active in await characters(backends):
        try:
            found = backends.rooms.house.personalities.get(personality)
        except GreenroomError:
            continue
        language = _CODES.get(found.language.lower(), found.language[:2].lower())
        about = {
            "name": name,
            "attribution": {"name": str(getattr(found, "author", "") or "Greenroom"), "url": ""},
            "installed": True,
            "description": " ".join(found.description.split())[:500] or name,
            "version": __version__,
        }
        program = {
            **about,
            "models": [{**about, "languages": [language]}],
            "supports_handled_streaming": True,
            "supports_home_control": False,
        }
        programs.insert(0 if active else len(programs), program)
    return programs


async def characters(backends: Backends) -> list[tuple[str, str, bool]]:
    """Those on call, in the order of the session: name (each once), id, and whether it is the one that answers."""
    reply = await (await backends.handle()).execute(ListActivePersonalities(), backends.caller)
    names: list[str] = list(reply["personalities"])
    return [
        (name if names.count(name) == 1 else str(personality), str(personality), place == reply["active"])
        for place, (name, personality) in enumerate(zip(names, reply["ids"], strict=True))
    ]


def _program(binding: FoundBinding, **more: Any) -> Members:
    card = binding.card
    return {
        "name": binding.id,
        "attribution": {"name": card.author or card.name or binding.id, "url": card.link},
        "installed": binding.status == "ready",
        "description": " ".join((card.description or card.name).split())[:500],
        "version": card.version,
        **more,
    }


def _model(binding: FoundBinding, entry: Mapping[str, Any]) -> Members:
    name = str(entry.get("name") or entry.get("filename") or binding.id)
    languages = [_tag(str(one)) for one in entry.get("languages") or ()] or _languages(name)
    return {
        "name": name,
        "attribution": {
            "name": str(entry.get("owner") or binding.card.author or binding.id),
            "url": str(entry.get("owner_link") or binding.card.link),
        },
        "installed": True,
        "description": str(entry.get("title") or name),
        "version": binding.card.version,
        "languages": languages,
    }


def _voice(binding: FoundBinding, voice: Voice) -> Members:
    return {
        "name": voice.id,
        "attribution": {"name": binding.card.author or binding.id, "url": binding.card.link},
        "installed": True,
        "description": voice.name or voice.id,
        "version": binding.card.version,
        "languages": [_tag(voice.language)] if voice.language else _languages(voice.id),
    }


def _languages(name: str) -> list[str]:
    found = _LANGUAGE.match(name)
    return [_tag(found[1].replace("_", "-"))] if found else ["en"]


def _tag(language: str) -> str:
    """``en-us`` -> ``en-US``, as Home Assistant writes it; anything longer stays as it is."""
    found = _TAG.fullmatch(language)
    return f"{found[1].lower()}-{found[2].upper()}" if found else language
