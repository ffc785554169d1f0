"""Models in the shape of the Hugging Face hub: a folder with ``config.json``, weights and a tokenizer.

They are looked for in this order, and nothing is downloaded behind the user's back:

    <models>/<owner>/<name>/     where ``greenroom install model`` puts them
    <models>/<name>/
    the hub's own cache          what other programs of this user have downloaded
"""

import re
from pathlib import Path

from greenroom.bindings.roles import Model
from greenroom.errors import BadRequest, Unavailable

CONFIG_FILE = "config.json"
_NAME = re.compile(r"[A-Za-z0-9][\w.\-]*(/[A-Za-z0-9][\w.\-]*)?")


def find_hub_model(name: str, models: Path, binding_id: str, *, config: str = CONFIG_FILE) -> Path:
    """The folder of a model. :param config: the file that must be there.

    :raises BadRequest: for a name that is none, such as a path
    :raises Unavailable: if it is not on this machine; with the command that gets it
    """
    if not _NAME.fullmatch(name) or ".." in name:
        raise BadRequest(f"{name!r} is no model's name; wanted owner/name as on the hub, or a folder of {models}")
    for folder in (models / name, models / name.rpartition("/")[2]):
        if (folder / config).is_file():
            return folder
    if (cached := _in_cache(name, config)) is not None:
        return cached
    raise Unavailable(
        f"the model {name} is not on this machine; get it with: greenroom install model {binding_id} {name}"
    )


def check_folder(path: str, *, config: str = CONFIG_FILE) -> Path:
    """The folder that the owner named. :raises Unavailable: if there is no model in it."""
    folder = Path(path).expanduser()
    if not (folder / config).is_file():
        raise Unavailable(f"there is no model in {folder}: it has no {config}")
    return folder


def _in_cache(name: str, config: str) -> Path | None:
    try:
        from huggingface_hub import try_to_load_from_cache
        from huggingface_hub.errors import HFValidationError
    except ImportError:
        return None
    try:
        found = try_to_load_from_cache(name, config)
    except HFValidationError:
        return None
    return Path(found).parent if isinstance(found, str) else None


def installed_models(models: Path, *, config: str = CONFIG_FILE) -> list[Model]:
    """Those in the folder of a binding, by name."""
    if not models.is_dir():
        return []
    found = [*models.glob(f"*/{config}"), *models.glob(f"*/*/{config}")]
    return [
        Model(path.parent.relative_to(models).as_posix(), size_bytes=_size(path.parent))
        for path in sorted(found)
        if not path.parent.name.startswith(".")
    ]


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
