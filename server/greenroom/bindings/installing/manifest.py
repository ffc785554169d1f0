"""The manifest of an environment: written last and in one step, so a folder without one is not finished."""

import os
import platform
import time
from importlib.metadata import distributions
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

import greenroom
from greenroom.bindings.installing.carried import canonical, site_packages

MANIFEST_FILE = "environment.json"


class Manifest(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    binding: str
    digest: str
    """of the requirements that it was built for"""
    python: str
    greenroom: str
    """the version that built it"""
    installer: str
    built_at: str
    """UTC, ISO 8601"""
    packages: dict[str, str]
    """version by name"""
    size_bytes: int


def describe(environment: Path, binding: str, digest: str, installer: str) -> Manifest:
    """What has just been installed there; looks at every file."""
    return Manifest(
        binding=binding,
        digest=digest,
        python=platform.python_version(),
        greenroom=greenroom.__version__,
        installer=installer,
        built_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        packages=packages_in(environment),
        size_bytes=_size(environment),
    )


def packages_in(environment: Path) -> dict[str, str]:
    """What is installed there, by canonical name."""
    found = distributions(path=[str(site_packages(environment))])
    return dict(sorted((canonical(one.metadata["Name"]), one.version) for one in found if one.metadata["Name"]))


def _size(environment: Path) -> int:
    total = 0
    for folder, _, names in os.walk(environment):
        for name in names:
            total += os.lstat(os.path.join(folder, name)).st_size
    return total


def write_manifest(environment: Path, manifest: Manifest) -> None:
    """From here on the environment counts."""
    unfinished = environment / f"{MANIFEST_FILE}.tmp"
    with unfinished.open("w", encoding="utf-8", newline="\n") as file:
        file.write(manifest.model_dump_json(indent=2))
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(environment / MANIFEST_FILE)


def read_manifest(environment: Path) -> Manifest | None:
    """``None``: it is not finished, or not one of ours."""
    try:
        return Manifest.model_validate_json((environment / MANIFEST_FILE).read_bytes())
    except (OSError, ValidationError):
        return None
