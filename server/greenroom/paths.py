"""Where things are: the home folder, what came with the installation, and how the two lie over each other.

    <home>/config.yaml  .env  bindings/  personalities/  models/  prompts/  configs/  data/  logs/  environments/

All of them are optional. Nothing is written here until it is needed: an empty home is a complete one.
"""

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from greenroom.errors import BadRequest, Unavailable

CONFIG_FILE = "config.yaml"
_A_PERSONALITY = re.compile(rb"^personality_conditioning\s*:", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """What came with the installation, read-only."""

    bindings: Path
    personalities: Path
    config: Path


@dataclass(frozen=True, slots=True)
class Home:
    root: Path
    built_in: BuiltIn
    notes: tuple[str, ...] = ()
    """what the owner should hear about how the home was found"""

    @property
    def config_file(self) -> Path | None:
        """``None`` where there is none: then the defaults apply."""
        path = self.root / CONFIG_FILE
        return path if path.is_file() else None

    @property
    def env_file(self) -> Path:
        return self.root / ".env"

    @property
    def binding_roots(self) -> tuple[Path, ...]:
        """The built-in root first, the user's last: the later one's folder of the same name wins."""
        return _overlay(self.built_in.bindings, self.root / "bindings")

    @property
    def personality_roots(self) -> tuple[Path, ...]:
        return _overlay(self.built_in.personalities, self.root / "personalities")

    @property
    def models(self) -> Path:
        return self.root / "models"

    @property
    def assets(self) -> Path:
        """``assets/<binding id>``: what users know beside weights, such as RVC's voices and indices."""
        return self.root / "assets"

    @property
    def prompts(self) -> Path:
        return self.root / "prompts"

    @property
    def configs(self) -> Path:
        return self.root / "configs"

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def database(self) -> Path:
        return self.data / "greenroom.db"

    @property
    def environments(self) -> Path:
        """Virtual environments of the bindings that have one of their own."""
        return self.root / "environments"

    @property
    def tls(self) -> Path:
        """The certificate that the server has made for itself, and its key."""
        return self.root / "tls"

    @property
    def logs(self) -> Path:
        return self.root / "logs"


def _overlay(built_in: Path, user: Path) -> tuple[Path, ...]:
    return (built_in,) if built_in.resolve() == user.resolve() else (built_in, user)


def find_home(
    home: str | Path | None = None,
    *,
    env: Mapping[str, str] | None = None,
    working_folder: Path | None = None,
    built_in: BuiltIn | None = None,
) -> Home:
    """The home folder: ``home`` (``--home``), else ``GREENROOM_HOME``, else the folder of the nearest ``config.yaml``
    from the working folder upwards, else the platform's folder for user data. It need not exist.

    :raises BadRequest: if what was given is a file.
    :raises Unavailable: if the user has no home folder of their own, or the installation is incomplete.
    """
    env = os.environ if env is None else env
    given = home or env.get("GREENROOM_HOME")
    built_in = built_in or find_built_in(Path(__file__).parent)
    if given:
        root = Path(given).expanduser().absolute()
        if root.exists() and not root.is_dir():
            raise BadRequest(f"the home {root} is a file; wanted a folder")
        return Home(root, built_in)
    found, notes = _nearest_config(working_folder or Path.cwd())
    return Home(found or user_data_folder(sys.platform, env), built_in, notes)


def _nearest_config(start: Path) -> tuple[Path | None, tuple[str, ...]]:
    """A personality's own ``config.yaml`` is none of ours. One further up that belongs to somebody else is not trusted:
    code beside it would be loaded."""
    notes = []
    for folder in (start.absolute(), *start.absolute().parents):
        path = folder / CONFIG_FILE
        try:
            if not path.is_file() or _A_PERSONALITY.search(path.read_bytes()):
                continue
            if folder != start.absolute() and not _is_ours(path):
                notes.append(f"{path} belongs to another user and is not used; name its folder with --home to use it")
                continue
        except OSError as error:
            notes.append(f"{path} cannot be read and is not used: {error.strerror or error}")
            continue
        return folder, tuple(notes)
    return None, tuple(notes)


def _is_ours(path: Path) -> bool:
    if sys.platform == "win32":
        return True
    return path.stat().st_uid in (0, os.geteuid())


def find_built_in(package: Path) -> BuiltIn:
    """Beside the package in a checkout, inside it where a wheel was installed.

    :raises Unavailable: if they are in neither place.
    """
    bundled = package / "bundled"
    checkout = package.parent.parent
    for root in (bundled, checkout):
        if (root / "bindings").is_dir() and (root / "personalities").is_dir():
            return BuiltIn(root / "bindings", root / "personalities", root / CONFIG_FILE)
    raise Unavailable(f"the installation in {package} is incomplete: it has no bindings; install greenroom again")


def user_data_folder(platform: str, env: Mapping[str, str]) -> Path:
    """As each system has it. ``platform`` is ``sys.platform``'s word.

    :raises Unavailable: if the user has no folder of their own (some containers).
    """
    try:
        if platform == "win32":
            local = env.get("LOCALAPPDATA")
            return Path(local) / "greenroom" if local else Path.home() / "AppData" / "Local" / "greenroom"
        if platform == "darwin":
            return Path.home() / "Library" / "Application Support" / "greenroom"
        shared = env.get("XDG_DATA_HOME", "")
        return (Path(shared) if Path(shared).is_absolute() else Path.home() / ".local" / "share") / "greenroom"
    except RuntimeError:
        raise Unavailable(
            "this user has no home folder; say with --home or GREENROOM_HOME where to keep data"
        ) from None


def make_folder(path: Path) -> Path:
    """The folder, made with its parents if need be. :raises Unavailable: with the reason."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise Unavailable(f"the folder {path} cannot be made: a file of that name is in the way") from None
    except OSError as error:
        raise Unavailable(f"the folder {path} cannot be made: {error.strerror or error}") from error
    return path
