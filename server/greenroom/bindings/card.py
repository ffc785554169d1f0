"""``binding_card.yaml`` and ``models.yaml``: what a binding says of itself, in lollms' shape with keys of our own."""

from datetime import date, datetime
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from greenroom.bindings.program_card import ProgramCard
from greenroom.errors import BadRequest
from greenroom.values import Role
from greenroom.yaml_text import load_yaml


class BindingCard(BaseModel):
    """Unknown keys are kept: lollms' cards carry some of their own."""

    model_config = ConfigDict(extra="allow", coerce_numbers_to_str=True)

    name: str
    author: str = ""
    version: str = ""
    link: str = ""
    description: str = ""
    roles: tuple[Role, ...] = ()
    imports: tuple[str, ...] = Field(default=(), description="packages that must be importable, by import name")
    requirements: tuple[str, ...] = Field(
        default=(), description="beside requirements.txt: packages of its own environment, as pip takes them"
    )
    requirements_no_deps: tuple[str, ...] = Field(
        default=(),
        description="packages installed last, without what they ask for; requirements.txt names that in its place",
    )
    any_hub_model: tuple[str, ...] = Field(
        default=(),
        description="it runs models of the hub that models.yaml does not list: patterns of the files that it needs",
    )
    install: str = Field(default="", description="the command that installs what is missing")
    isolation: Literal["none", "process"] = Field(
        default="none", description="process: it runs in a process of its own; config.yaml may say otherwise"
    )
    program: ProgramCard | None = Field(default=None, description="the external program that it needs")
    offline: bool = Field(default=False, description="works with no network")


def _plain(value: Any) -> Any:
    """JSON-ready: YAML timestamps become ISO strings, keys become strings."""
    if isinstance(value, dict):
        return {str(key).strip('"'): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, datetime | date):
        return value.isoformat()
    return value


def _load_yaml(path: Path) -> Any:
    try:
        return load_yaml(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadRequest(f"{path}: {error}") from error
    except BadRequest as error:
        raise BadRequest(f"{path}, {error.message}") from error
    except OSError as error:
        raise BadRequest(f"{path} cannot be read: {error.strerror or error}") from error


def read_card(path: Path) -> BindingCard:
    """:raises BadRequest: with file and reason."""
    raw = _load_yaml(path)
    if not isinstance(raw, dict):
        raise BadRequest(f"{path}: wanted a mapping of keys, found {type(raw).__name__}")
    try:
        return BindingCard.model_validate(_plain(raw))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadRequest(f"{path}: {where}: {first['msg']}") from error


def read_models(path: Path) -> list[dict[str, Any]]:
    """The entries of ``models.yaml``; ``[]`` where there is none. :raises BadRequest: with file and reason."""
    if not path.is_file():
        return []
    raw = _plain(_load_yaml(path))
    if raw is None:
        return []
    if not isinstance(raw, list):
        raise BadRequest(f"{path}: wanted a list of models, found {type(raw).__name__}")
    return [entry for entry in raw if isinstance(entry, dict)]
