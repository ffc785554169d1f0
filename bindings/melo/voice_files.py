"""Where MeloTTS' files lie, below ``models/melo`` of the home.

EN/config.json, EN/checkpoint.pth       or where `greenroom install model` puts them:
myshell-ai/MeloTTS-English/...
google-bert/bert-base-uncased/...       what reads the text; also in the hub's own cache
nltk_data/corpora/cmudict.zip           how English words are pronounced
"""

import zipfile
from pathlib import Path
from typing import Final

from greenroom.bindings.hub_models import CONFIG_FILE, find_hub_model
from greenroom.errors import Unavailable

from .languages import LANGUAGES, hub_name

CHECKPOINT_FILE: Final = "checkpoint.pth"
NLTK_FOLDER: Final = "nltk_data"


def find_voice(models: Path, language: str, config: str | None, checkpoint: str | None) -> tuple[Path, Path]:
    """-> configuration, checkpoint. Either may be named by the owner; the other is then looked for beside it first.

    :raises Unavailable: if one is not there, with what mends it
    """
    home = models.parent.parent
    named = [_named(path, home) if path else None for path in (config, checkpoint)]
    beside = next((path.parent for path in named if path is not None), None)
    found = []
    for path, name in zip(named, (CONFIG_FILE, CHECKPOINT_FILE), strict=True):
        if path is None and beside is not None and (beside / name).is_file():
            path = beside / name
        found.append(path if path is not None else _default(models, language) / name)
    return found[0], found[1]


def _named(path: str, home: Path) -> Path:
    file = Path(path).expanduser()
    for candidate in (file, home / file):
        if candidate.is_file():
            return candidate
    raise Unavailable(f"there is no file {file}; config_filepath and model_filepath name the two files of a voice")


def _default(models: Path, language: str) -> Path:
    folder = models / language
    if not (folder / CONFIG_FILE).is_file():
        folder = find_hub_model(LANGUAGES[language].repository, models, "melo")
    if not (folder / CHECKPOINT_FILE).is_file():
        command = f"greenroom install model melo {LANGUAGES[language].repository}"
        raise Unavailable(f"the voice in {folder} lacks its {CHECKPOINT_FILE}; get it with: {command}")
    return folder


def find_bert(models: Path, bert: str) -> Path:
    """:raises Unavailable: if it is not on this machine, with the command that gets it"""
    full = hub_name(bert)
    try:
        return find_hub_model(full, models, "melo")
    except Unavailable:
        if full == bert:
            raise
    try:
        return find_hub_model(bert, models, "melo")  # in the hub's cache it may lie under its old, short name
    except Unavailable as error:
        command = f"greenroom install model melo {full}"
        raise Unavailable(f"the model {full} is not on this machine; get it with: {command}") from error


def unpack_nltk(models: Path) -> Path:
    """The folder of NLTK's data; archives in it are unpacked, as some of them are read only so.

    :raises Unavailable: for a damaged archive
    """
    folder = models / NLTK_FOLDER
    for archive in sorted(folder.glob("*/*.zip")):
        if archive.with_suffix("").exists():
            continue
        try:
            with zipfile.ZipFile(archive) as packed:
                packed.extractall(archive.parent)
        except (OSError, zipfile.BadZipFile) as error:
            raise Unavailable(
                f"{archive} cannot be unpacked ({error}); get it again with: greenroom install model melo nltk_data"
            ) from error
    return folder
