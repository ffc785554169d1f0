"""Which models there are: short names for the usual ones, folders and owner/name for all others."""

from pathlib import Path
from types import MappingProxyType
from typing import Final

from greenroom.bindings.hub_models import find_hub_model, installed_models
from greenroom.bindings.roles import Model
from greenroom.errors import Unavailable

WEIGHTS: Final = "model.bin"
SHORT: Final = MappingProxyType(
    {
        "tiny": "Systran/faster-whisper-tiny",
        "tiny.en": "Systran/faster-whisper-tiny.en",
        "base": "Systran/faster-whisper-base",
        "base.en": "Systran/faster-whisper-base.en",
        "small": "Systran/faster-whisper-small",
        "small.en": "Systran/faster-whisper-small.en",
        "medium": "Systran/faster-whisper-medium",
        "medium.en": "Systran/faster-whisper-medium.en",
        "large-v2": "Systran/faster-whisper-large-v2",
        "large-v3": "Systran/faster-whisper-large-v3",
        "turbo": "mobiuslabsgmbh/faster-whisper-large-v3-turbo",
        "distil-large-v3": "Systran/faster-distil-whisper-large-v3",
    }
)
"""what ``models.yaml`` lists -> where it lies on the hub"""
_OTHER_NAMES: Final = MappingProxyType({"large": "large-v3", "large-v3-turbo": "turbo"})
"""as whisper's own package has them"""


def find_model(name: str, models: Path, binding_id: str) -> Path:
    """A folder with the model.

    :raises Unavailable: if it is not on this machine; with the command that gets it
    :raises BadRequest: for a name that is none, such as a path
    """
    if not (models / name / WEIGHTS).is_file():
        name = _OTHER_NAMES.get(name, name)
    if name in SHORT and not (models / name / WEIGHTS).is_file():
        try:
            return find_hub_model(SHORT[name], models, binding_id, config=WEIGHTS)
        except Unavailable as error:
            raise Unavailable(
                f"the Whisper model {name} is not on this machine; get it with: greenroom install model "
                f"{binding_id} {name}"
            ) from error
    return find_hub_model(name, models, binding_id, config=WEIGHTS)


def listed(models: Path) -> list[Model]:
    """Those that are there, by the names that users give them."""
    short = {hub: name for name, hub in SHORT.items()}
    found = installed_models(models, config=WEIGHTS)
    return [Model(short.get(model.name, model.name), size_bytes=model.size_bytes) for model in found]
