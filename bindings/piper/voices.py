"""Which voices there are: ``<name>.onnx`` with ``<name>.onnx.json`` below ``models/piper``, looked up by name."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from greenroom.bindings.roles import Voice
from greenroom.errors import BadRequest, NotFound, Unavailable

SUGGESTED: Final = "en_US-lessac-medium"
PRONOUNCER_FOLDER: Final = "g2pW"
"""beside Chinese voices: no voice, but what piper-tts pronounces them with"""


@dataclass(frozen=True, slots=True)
class VoiceFile:
    name: str
    path: Path
    """the ``.onnx`` file"""

    @property
    def config_path(self) -> Path:
        return self.path.with_name(f"{self.path.name}.json")

    @property
    def size_bytes(self) -> int:
        return self.path.stat().st_size if self.path.is_file() else 0


@dataclass(frozen=True, slots=True)
class VoiceConfig:
    """What the JSON beside a voice says."""

    raw: dict[str, Any]
    language: str
    """``en-US``"""
    speakers: Mapping[str, int] = field(default_factory=dict)
    """number by name; empty for a voice of one speaker"""


def find_voices(folder: Path) -> list[VoiceFile]:
    """By name."""
    paths = folder.rglob("*.onnx") if folder.is_dir() else ()
    found = {path.stem: VoiceFile(path.stem, path) for path in paths if path.parent.name != PRONOUNCER_FOLDER}
    return [found[name] for name in sorted(found)]


def choose_voice(folder: Path, name: str) -> VoiceFile:
    """Names are looked up among what was found, never joined to a path; empty means the only one.

    :raises Unavailable: if there is none at all, or the one has no JSON beside it
    :raises NotFound: for an unknown name; :raises BadRequest: for an empty one where there are several
    """
    voices = find_voices(folder)
    wanted = name.partition("#")[0].strip().removesuffix(".onnx").casefold()
    if not voices:
        command = install_command(name.partition("#")[0] or SUGGESTED)
        raise Unavailable(f"there is no voice in {folder}; install one with: {command}")
    matching = [voice for voice in voices if wanted in ("", voice.name.casefold())]
    known = ", ".join(voice.name for voice in voices)
    if not matching:
        raise NotFound(
            f"the Piper voice {name!r} is not installed; there are: {known}; install it with: "
            f"{install_command(name.partition('#')[0])}",
            details={"field": "voice"},
        )
    if len(matching) > 1:
        raise BadRequest(f"which voice? Set the option voice to one of: {known}", details={"field": "voice"})
    voice = matching[0]
    if not voice.config_path.is_file():
        raise Unavailable(
            f"the voice {voice.name} lacks its file {voice.config_path.name}; install it again with: "
            f"{install_command(voice.name)}"
        )
    return voice


def install_command(name: str) -> str:
    return f"greenroom install model piper {name}"


def read_config(voice: VoiceFile) -> VoiceConfig:
    """:raises Unavailable: if the JSON is broken or lacks what a voice needs"""
    again = f"install it again with: {install_command(voice.name)}"
    try:
        raw = json.loads(voice.config_path.read_text(encoding="utf-8"))
        speakers = {str(name): int(number) for name, number in (raw.get("speaker_id_map") or {}).items()}
        count = int(raw["num_speakers"])
        if not (raw["audio"]["sample_rate"] > 0 and raw["phoneme_id_map"] and raw["num_symbols"]):
            raise ValueError("an empty value")
        language = (raw.get("language") or {}).get("code") or raw["espeak"]["voice"]
    except KeyError as error:
        raise Unavailable(f"{voice.config_path} is no voice's description: it lacks {error}; {again}") from error
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise Unavailable(f"{voice.config_path} cannot be read ({error}); {again}") from error
    if count > 1 and not speakers:
        speakers = {str(number): number for number in range(count)}
    return VoiceConfig(raw, str(language).replace("_", "-"), speakers if count > 1 else {})


def choose_speaker(config: VoiceConfig, name: str) -> int | None:
    """Number of the speaker of this name or number; ``None``: the voice's own first. :raises BadRequest: unknown."""
    if not name:
        return None
    if not config.speakers:
        raise BadRequest("this voice has one speaker: leave the option speaker empty", details={"field": "speaker"})
    by_name = {speaker.casefold(): number for speaker, number in config.speakers.items()}
    found = by_name.get(name.strip().casefold())
    if found is None and name.isdecimal() and int(name) in config.speakers.values():
        found = int(name)
    if found is None:
        names = list(config.speakers)
        some = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
        raise BadRequest(f"this voice has no speaker {name!r}; its speakers: {some}", details={"field": "speaker"})
    return found


def listed(voices: Sequence[VoiceFile], current: str) -> list[Voice]:
    """Every installed voice, and the speakers of the current one. Files that cannot be read are left out."""
    found: list[Voice] = []
    for voice in voices:
        try:
            config = read_config(voice)
        except Unavailable:
            continue
        found.append(Voice(voice.name, voice.name, config.language))
        if voice.name == current:
            found += [
                Voice(f"{voice.name}#{speaker}", f"{voice.name}, {speaker}", config.language)
                for speaker in config.speakers
            ]
    return found
