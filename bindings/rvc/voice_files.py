"""Where RVC's files lie: voices, their indices, and the two models that all voices share.

    assets/rvc/weights/ana.pth        models/rvc/ana.pth        models/rvc/weights/ana.pth     models/rvc/ana/ana.pth
    assets/rvc/indices/added_..._ana_v2.index                   models/rvc/..., a folder of it, or models/rvc/indices/
    assets/rvc/hubert_base/           models/rvc/hubert_base/   models/rvc/r3gm/hubert_base/
    assets/rvc/rmvpe/rmvpe.pt         models/rvc/rmvpe.pt

Names that clients send are looked up among what was found, never joined to a path.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from greenroom.bindings.hub_models import CONFIG_FILE
from greenroom.bindings.roles import Place
from greenroom.errors import BadRequest, NotFound, Unavailable

_HUBERT_FOLDERS: Final = ("hubert_base", "hubert/hubert_base", "r3gm/hubert_base", "hubert")
_RMVPE_FILES: Final = ("rmvpe.pt", "rmvpe/rmvpe.pt")
_NO_VOICES: Final = ("pretrained", "uvr5", "indices", "indicies")
"""what folders of RVC's own begin with that hold other ``.pth`` files, or none"""
_MOST_PITCH_BYTES: Final = 10_000_000


@dataclass(frozen=True, slots=True)
class VoiceFile:
    name: str
    path: Path


def find_voices(place: Place) -> list[VoiceFile]:
    """By name; of two with the same name, that in ``assets`` counts."""
    found: dict[str, VoiceFile] = {}
    for path in _voice_paths(place):
        found.setdefault(path.stem, VoiceFile(path.stem, path))
    return [found[name] for name in sorted(found)]


def _voice_paths(place: Place) -> Iterator[Path]:
    for folder in (place.assets / "weights", place.models / "weights", place.models):
        if folder.is_dir():
            yield from sorted(folder.glob("*.pth"))
    if place.models.is_dir():
        for path in sorted(place.models.glob("*/*.pth")):
            if not path.parent.name.startswith((".", *_NO_VOICES)):
                yield path


def plain_name(voice: str) -> str:
    """The name by which a voice is looked up: jaison adds ``.pth``, people write it, too."""
    return voice.strip().removesuffix(".pth").casefold()


def choose_voice(place: Place, name: str) -> VoiceFile:
    """:raises Unavailable: if there is none at all; :raises NotFound: for an unknown name"""
    voices = find_voices(place)
    folders = f"{place.assets / 'weights'} or {place.models}"
    if not voices:
        raise Unavailable(f"there is no RVC voice here: put its .pth file into {folders}")
    for voice in voices:
        if voice.name == name.strip().removesuffix(".pth"):
            return voice
    for voice in voices:
        if voice.name.casefold() == plain_name(name):
            return voice
    known = ", ".join(voice.name for voice in voices)
    raise NotFound(
        f"there is no RVC voice {name!r}; there are: {known}; others belong into {folders}", details={"field": "voice"}
    )


def find_index(place: Place, voice: VoiceFile, wanted: str | None) -> Path | None:
    """The index that the owner named, a file or its folder; else the one of the voice's name, if there is one.

    :raises Unavailable: if the named one is not there
    """
    if wanted:
        return _named_index(place, wanted)
    others = [other.name.casefold() for other in find_voices(place) if other.name.casefold() != voice.name.casefold()]
    matching = [path for path in _indices(place) if _is_of(path, voice.name.casefold(), others)]
    return min(matching, key=lambda path: _rank(path, voice.name.casefold()), default=None)


def _named_index(place: Place, wanted: str) -> Path:
    path = Path(wanted).expanduser()
    home = place.models.parent.parent
    for base in (Path(), home, place.models, place.models / "indices", place.assets / "indices"):
        candidate = base / path
        if candidate.is_file():
            return candidate
        if candidate.is_dir() and (inside := [one for one in sorted(candidate.glob("*.index")) if _is_trained(one)]):
            return inside[0]
    raise Unavailable(f"the index {wanted} is not there: index_file wants a file or its folder, or nothing")


def _indices(place: Place) -> list[Path]:
    found = [
        path
        for folder in (place.assets / "indices", place.models)
        if folder.is_dir()
        for path in sorted(folder.rglob("*.index"))
    ]
    return [path for path in found if _is_trained(path)]


def _is_trained(path: Path) -> bool:
    """RVC writes ``added_...``, which is complete, and beside it ``trained_...``, which holds no sound yet."""
    return not path.name.startswith((".", "trained_"))


def _is_of(path: Path, voice: str, others: list[str]) -> bool:
    stem = path.stem.casefold()
    if path.parent.name.casefold() == voice:
        return True
    return voice in stem and not any(voice in other and other in stem for other in others)


def _rank(path: Path, voice: str) -> tuple[bool, bool, bool, int, str]:
    """The smallest is the most specific: the name stands by itself, in a complete index, with little around it."""
    stem = path.stem.casefold()
    whole = re.search(rf"(?<![^\W_]){re.escape(voice)}(?![^\W_])", stem) is not None
    return not whole, voice not in stem, not stem.startswith("added_"), len(stem), path.as_posix()


def find_hubert(place: Place) -> Path:
    """:raises Unavailable: if it is not there, with the command that gets it"""
    for base in (place.assets, place.models):
        for name in _HUBERT_FOLDERS:
            if (base / name / CONFIG_FILE).is_file():
                return base / name
    raise Unavailable(_missing("HuBERT", "hubert_base"))


def find_rmvpe(place: Place) -> Path:
    """:raises Unavailable: if it is not there, with the command that gets it"""
    for base in (place.assets, place.models):
        for name in _RMVPE_FILES:
            if (base / name).is_file():
                return base / name
    raise Unavailable(_missing("the pitch model RMVPE", "rmvpe") + "; or choose the f0_method pm or harvest")


def _missing(what: str, name: str) -> str:
    return f"{what} is not on this machine; get it with: greenroom install model rvc {name}"


def read_pitch_file(path: str) -> list[tuple[float, float]]:
    """``seconds,hertz`` a line -> the same, by time. :raises BadRequest: for a file that is none."""
    file = Path(path).expanduser()
    try:
        if file.stat().st_size > _MOST_PITCH_BYTES:
            raise BadRequest(f"{file} is too large for a file of pitches", details={"field": "f0_file"})
        lines = file.read_text(encoding="utf-8").split("\n")
        points = [_point(line) for line in lines if line.strip()]
    except OSError as error:
        raise BadRequest(f"{file} cannot be read: {error.strerror}", details={"field": "f0_file"}) from error
    except ValueError as error:
        raise BadRequest(
            f"{file} holds no pitches ({error}); wanted lines of seconds,hertz", details={"field": "f0_file"}
        ) from error
    if not points:
        raise BadRequest(f"{file} is empty; wanted lines of seconds,hertz", details={"field": "f0_file"})
    return sorted(points)


def _point(line: str) -> tuple[float, float]:
    time_s, hertz = (float(part) for part in line.split(","))
    if not (0 <= time_s < 1e6 and 0 <= hertz < 1e5):
        raise ValueError(f"{line.strip()!r} is out of range")
    return time_s, hertz
