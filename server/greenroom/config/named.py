"""Named configurations: the YAML files in ``configs/`` of the home folder, as ``config_load`` and ``config_save`` name
them, with or without their ending."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from greenroom.config.load import LoadedConfig, load_config
from greenroom.config.problems import UNKNOWN_FILE, nearest
from greenroom.config.save import save_config
from greenroom.config.schema import Config
from greenroom.errors import BadRequest, NotFound

ENDINGS = (".yaml", ".yml")
_NEW_NAME = re.compile(r"[^\W_][\w .()+\-]{0,99}", re.UNICODE)
_DEVICES = frozenset({"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))})


@dataclass(frozen=True, slots=True)
class NamedConfigs:
    folder: Path
    env: Mapping[str, str] = field(default_factory=dict)
    overrides: Mapping[str, Any] = field(default_factory=dict)
    """environment and command line stay above whatever is loaded"""

    def files(self) -> dict[str, Path]:
        """What there is, by file name, sorted. :raises NotFound: never; a missing folder is an empty one."""
        if not self.folder.is_dir():
            return {}
        found = [path for path in self.folder.iterdir() if path.suffix.lower() in ENDINGS and path.is_file()]
        return {path.name: path for path in sorted(found) if not path.name.startswith(".")}

    def names(self) -> list[str]:
        """Without their endings, as ``config_load`` takes them."""
        return list(dict.fromkeys(path.stem for path in self.files().values()))

    def name_of(self, path: Path | None) -> str:
        """Empty for a file that lies elsewhere."""
        return path.stem if path is not None and path.resolve().parent == self.folder.resolve() else ""

    def find(self, name: str) -> Path:
        """Looked up among what is there, never joined to a path.

        :raises NotFound: with jaison's kind ``config_unknown_file`` and the nearest name.
        """
        files = self.files()
        for candidate in (*(f"{name}{ending}" for ending in ENDINGS), name):
            if candidate in files:
                return files[candidate]
        close = nearest(name, [*self.names(), *files])
        hint = f"; did you mean {close}?" if close else f"; there are: {', '.join(self.names()) or 'none'}"
        raise NotFound(f"Config file {name[:100]} does not exist{hint}", kind=UNKNOWN_FILE)

    def load(self, name: str) -> LoadedConfig:
        """:raises NotFound, ConfigError: messages name the file, not its folder."""
        path = self.find(name)
        return load_config(path, self.env, self.overrides, label=path.name)

    def save(self, name: str, loaded: LoadedConfig, config: Config) -> LoadedConfig:
        """Write ``config`` under ``name``, a file that is there or a new one. See :func:`save_config`.

        :raises BadRequest: for a name that cannot be a file's on every system.
        """
        files = self.files()
        for candidate in (*(f"{name}{ending}" for ending in ENDINGS), name):
            if candidate in files:
                return save_config(loaded, config, files[candidate])
        stem = name[: -len(ending)] if (ending := Path(name).suffix) in ENDINGS else name
        if not _NEW_NAME.fullmatch(stem) or stem.endswith((" ", ".")) or stem.split(".")[0].lower() in _DEVICES:
            raise BadRequest(
                f"{name[:100]!r} cannot be a configuration's name; wanted letters, digits, spaces, dots and dashes",
                kind=UNKNOWN_FILE,
            )
        return save_config(loaded, config, self.folder / f"{stem}{ending if ending in ENDINGS else '.yaml'}")


def given_config(given: Path, folder: Path) -> Path:
    """A command line's path to a configuration, or the name of one in ``folder``, as jaison's takes it.

    :raises BadRequest: it is neither.
    """
    if given.is_file():
        return given
    named = NamedConfigs(folder)
    if given.name == str(given) and given.name in (*named.names(), *named.files()):
        return named.find(given.name)
    raise BadRequest(f"there is no configuration file {given}, and none of that name in {folder}")
