"""Which GGUF files there are, and which one a name means. Names are looked up among them, never joined to a path."""

import re
from dataclasses import dataclass
from pathlib import Path

from greenroom.errors import BadRequest, NotFound, Unavailable

_LATER_PART = re.compile(r"-(?!00001)\d{5}-of-\d{5}\.gguf$")
_MAGIC = b"GGUF"
_MAX_REFERENCE_BYTES = 4096


@dataclass(frozen=True, slots=True)
class ModelFile:
    name: str
    """path below the models folder, with ``/``, without ``.gguf`` and ``.reference``"""
    path: Path

    @property
    def is_there(self) -> bool:
        return self.path.is_file()

    @property
    def size_bytes(self) -> int:
        return self.path.stat().st_size if self.is_there else 0


def find_models(folder: Path) -> list[ModelFile]:
    """By name. Further parts of a split model and vision projectors are no models of their own.

    A file ``<name>.reference`` holds the path of a model that lies elsewhere, put there by the owner.
    """
    found: dict[str, ModelFile] = {}
    for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
        if path.suffix == ".reference" and path.is_file():
            with path.open("rb") as file:
                target = Path(file.read(_MAX_REFERENCE_BYTES).decode(errors="replace").strip()).expanduser()
            name = _name(path.relative_to(folder).with_suffix(""))
            found.setdefault(name, ModelFile(name, path.parent / target))
        elif path.suffix == ".gguf" and not _LATER_PART.search(path.name) and not path.name.startswith("mmproj"):
            name = _name(path.relative_to(folder))
            found[name] = ModelFile(name, path)
    return [found[name] for name in sorted(found)]


def _name(relative: Path) -> str:
    return relative.as_posix().removesuffix(".gguf")


def choose_model(folder: Path, name: str) -> ModelFile:
    """The model of this name, with or without ``.gguf`` and its sub-folder; an empty name means the only one there is.

    :raises Unavailable: if there is none at all, or its file is missing or no GGUF
    :raises NotFound: for an unknown name
    :raises BadRequest: for a name that more than one has, or an empty one where there are several
    """
    models = find_models(folder)
    if not models:
        raise Unavailable(f"there is no model in {folder}: put a .gguf file into that folder")
    wanted = name.removesuffix(".gguf")
    matching = [model for model in models if model.name == wanted]
    matching = matching or [model for model in models if not wanted or model.name.rpartition("/")[2] == wanted]
    known = ", ".join(model.name for model in models)
    if not matching:
        raise NotFound(f"there is no model {name!r} in {folder}; there are: {known}")
    if len(matching) > 1:
        raise BadRequest(f"which model? Set the option model to one of: {known}")
    model = matching[0]
    if not model.is_there:
        raise Unavailable(f"the model {model.name} is missing: its file is expected at {model.path}")
    with model.path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise Unavailable(f"{model.path} is no GGUF file: download it again")
    return model
