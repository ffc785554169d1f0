"""The models there are: the one in the wheel, and folders that the user has put under ``models/pocketsphinx/``."""

from collections.abc import Mapping
from pathlib import Path

from greenroom.bindings.roles import Model
from greenroom.errors import NotFound

BUILT_IN = "en-us"

_LANGUAGE_MODELS = ("*.lm.bin", "*.lm", "*.lm.gz", "*.lm.dmp")
_DICTIONARIES = ("*.dict", "*.dic")


def listed(folder: Path) -> list[Model]:
    found = [Model(BUILT_IN, "US English, 130,000 words, part of the pocketsphinx package")]
    for name, parts in sorted(_user_models(folder).items()):
        found.append(Model(name, "a model of your own", size_bytes=sum(_size(Path(part)) for part in parts.values())))
    return found


def find(name: str, folder: Path) -> Mapping[str, str]:
    """The decoder's arguments. :raises NotFound: with the names that there are."""
    if name == BUILT_IN:
        return {}
    models = _user_models(folder)
    if name not in models:
        known = ", ".join([BUILT_IN, *sorted(models)])
        raise NotFound(
            f"pocketsphinx has no model {name!r}; known: {known}. A model is a folder in {folder} that holds an "
            "acoustic model (a folder with mdef), a language model (.lm, .lm.bin) and a dictionary (.dict, .dic)"
        )
    return models[name]


def _user_models(folder: Path) -> dict[str, dict[str, str]]:
    if not folder.is_dir():
        return {}
    found = {}
    for model in folder.iterdir():
        acoustic = _first(model, ("mdef",))
        language = _first(model, _LANGUAGE_MODELS)
        dictionary = _first(model, _DICTIONARIES)
        if acoustic and language and dictionary:
            found[model.name] = {"hmm": str(acoustic.parent), "lm": str(language), "dict": str(dictionary)}
    return found


def _first(folder: Path, patterns: tuple[str, ...]) -> Path | None:
    for pattern in patterns:
        for at in (f"{pattern}", f"*/{pattern}", f"*/*/{pattern}"):
            for path in sorted(folder.glob(at)):
                return path
    return None


def _size(path: Path) -> int:
    if path.is_dir():
        return sum(file.stat().st_size for file in path.iterdir() if file.is_file())
    return path.stat().st_size
