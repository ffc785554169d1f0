"""Which installer is used and how it is called: pip as the user has configured it, or uv.

uv is quicker, but reads nothing of pip's configuration: it is taken where there is none (``UV_*`` variables and its own
files hold for it), pip otherwise. Both run in a child with our environment, so proxies, certificates, indexes and
constraints apply as they do in the user's shell.
"""

import importlib.util
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from greenroom.errors import Unavailable

_ELSEWHERE = ("TARGET", "PREFIX", "ROOT", "USER", "PYTHON", "DRY_RUN", "REPORT", "QUIET", "PROGRESS_BAR", "LOG")
"""settings of pip that would put packages somewhere else, or hide what it does"""
_HARMLESS = frozenset(
    {"PIP_DISABLE_PIP_VERSION_CHECK", "PIP_NO_INPUT", "PIP_ROOT_USER_ACTION", "PIP_NO_COLOR"}
    | {f"PIP_{name}" for name in _ELSEWHERE}
)
_OLDEST_PIP = (22, 3)
"""the first that installs into another interpreter's environment"""
_RAW_PROGRESS = (24, 1)


class Kind(StrEnum):
    PIP = "pip"
    UV = "uv"


@dataclass(frozen=True, slots=True)
class Installer:
    kind: Kind
    version: str
    command: tuple[str, ...]
    """empty: pip that must first be put into the environment (``ensurepip``)"""

    @property
    def name(self) -> str:
        return f"{self.kind} {self.version}".strip()

    @property
    def raw_progress(self) -> bool:
        """It counts bytes while it downloads."""
        return self.kind is Kind.PIP and _numbers(self.version) >= _RAW_PROGRESS

    def prepare(self, python: Path) -> list[str] | None:
        """The command that must run first in a new environment."""
        return None if self.command else [str(python), "-P", "-m", "ensurepip", "--default-pip"]

    def install(self, python: Path, wanted: Sequence[str]) -> list[str]:
        """``wanted``: requirements and ``-r`` options."""
        if self.kind is Kind.UV:
            return [*self.command, "pip", "install", "--python", str(python), "--color", "never", *wanted]
        bar = "raw" if self.raw_progress else "off"
        return [*self._pip(python), "install", "--no-user", "--progress-bar", bar, *wanted]

    def check(self, python: Path) -> list[str]:
        if self.kind is Kind.UV:
            return [*self.command, "pip", "check", "--python", str(python), "--color", "never"]
        return [*self._pip(python), "check"]

    def _pip(self, python: Path) -> list[str]:
        return [*self.command, "--python", str(python)] if self.command else [str(python), "-P", "-m", "pip"]


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2] if part.isdigit())


def choose(environ: Mapping[str, str], *, wanted: Kind | None = None) -> Installer:
    """:raises Unavailable: if there is no installer at all, or not the one that is wanted."""
    uv = _uv(environ)
    if wanted is Kind.UV or (wanted is None and uv and not pip_is_configured(environ)):
        if uv is None:
            raise Unavailable("uv is not installed; install it with: pip install uv")
        return Installer(Kind.UV, "", (uv,))
    return _pip()


def _uv(environ: Mapping[str, str]) -> str | None:
    beside = Path(sys.executable).parent / ("uv.exe" if sys.platform == "win32" else "uv")
    return str(beside) if beside.is_file() else shutil.which("uv", path=environ.get("PATH"))


def _pip() -> Installer:
    try:
        found = version("pip") if importlib.util.find_spec("pip") else ""
    except PackageNotFoundError:
        found = ""
    if found and _numbers(found) >= _OLDEST_PIP:
        return Installer(Kind.PIP, found, (sys.executable, "-P", "-m", "pip"))
    if importlib.util.find_spec("ensurepip") is None:
        raise Unavailable(
            "this Python has neither pip nor uv; install one of them "
            "(on Debian and Ubuntu: apt install python3-pip python3-venv)"
        )
    import ensurepip

    return Installer(Kind.PIP, ensurepip.version(), ())


def pip_is_configured(environ: Mapping[str, str]) -> bool:
    """Whether the user has told pip anything that decides what is installed."""
    if any(name.upper().startswith("PIP_") and name.upper() not in _HARMLESS for name in environ):
        return True
    return any(file.is_file() for file in _pip_files(environ))


def _pip_files(environ: Mapping[str, str]) -> list[Path]:
    """Where pip looks for its configuration on this platform."""
    name = "pip.ini" if sys.platform == "win32" else "pip.conf"
    files = [Path(sys.prefix) / name]
    home = environ.get("USERPROFILE" if sys.platform == "win32" else "HOME")
    if home:
        files.append(Path(home) / ("pip" if sys.platform == "win32" else ".pip") / name)
    if sys.platform == "win32":
        files += [Path(environ[key]) / "pip" / name for key in ("APPDATA", "PROGRAMDATA") if environ.get(key)]
        return files
    files.append(Path("/etc/pip.conf"))
    shared = environ.get("XDG_CONFIG_DIRS") or "/etc/xdg"
    files += [Path(folder) / "pip" / name for folder in shared.split(os.pathsep) if folder]
    if sys.platform == "darwin":
        files.append(Path("/Library/Application Support/pip") / name)
        if home:
            files.append(Path(home) / "Library" / "Application Support" / "pip" / name)
    own = environ.get("XDG_CONFIG_HOME") or (f"{home}/.config" if home else "")
    return [*files, Path(own) / "pip" / name] if own else files


def child_environment(environ: Mapping[str, str], temporary: Path) -> dict[str, str]:
    """Ours, less our tokens (what is built here runs strangers' code) and what would lead the installer astray.
    What it leaves half done lies in ``temporary``."""
    astray = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__", *(f"PIP_{name}" for name in _ELSEWHERE)}
    child = {
        name: value
        for name, value in environ.items()
        if name.upper() not in astray and not name.upper().startswith("GREENROOM_")
    }
    child |= dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(temporary))
    child |= {"PIP_NO_INPUT": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_COLOR": "1", "NO_COLOR": "1"}
    child |= {"PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1", "COLUMNS": "160"}
    # What stands in the server's own virtual environment, pip reads only when it installs into that one.
    site = Path(sys.prefix) / ("pip.ini" if sys.platform == "win32" else "pip.conf")
    if site.is_file():
        child.setdefault("PIP_CONFIG_FILE", str(site))
    return child
