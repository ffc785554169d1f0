"""What every environment gets from Greenroom itself, so that a child in it can speak with the server.

Greenroom's own code is not copied: a small stub in the environment leads to the package of the server that started the
child, so an environment of several gigabytes outlives an upgrade of Greenroom. The few packages that this code imports
are requirements like the binding's own, in the ranges that Greenroom declares, so that the installer finds versions
which suit both or says why there are none. The server's own copies are packed as wheels and offered to the installer:
an installation from a local folder needs no index for them.
"""

import base64
import hashlib
import os
import re
import sysconfig
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import greenroom

CARRIED = ("pydantic", "pyyaml", "starlette", "uvicorn", "httpx", "websockets")
MODULES = ("greenroom.bindings.roles", "pydantic", "yaml", "starlette", "uvicorn", "httpx", "websockets")
"""must be importable in a finished environment"""
LOCATION_VARIABLE = "GREENROOM_PACKAGE"
_REQUIREMENT = re.compile(
    r"^\s*(?P<name>[A-Za-z0-9][\w.-]*)\s*(?:\[[^\]]*\])?\s*\(?(?P<range>[^;()]*)\)?\s*(?:;(?P<when>.*))?$"
)
_LEFT_OUT = ("INSTALLER", "RECORD", "REQUESTED", "direct_url.json")

_STUB = '''"""Greenroom as the server has it: made by ``greenroom install``."""

import os

_package = os.environ.get({variable!r}) or {package!r}
__path__ = [_package]
__file__ = os.path.join(_package, "__init__.py")
with open(__file__, encoding="utf-8") as _source:
    exec(compile(_source.read(), __file__, "exec"))
'''


def package_folder() -> Path:
    """Where the running Greenroom's code is."""
    return Path(greenroom.__file__).resolve().parent


def site_packages(environment: Path) -> Path:
    return Path(sysconfig.get_path("purelib", "venv", {"base": str(environment), "platbase": str(environment)}))


def write_stub(environment: Path) -> None:
    """Make ``import greenroom`` work in the environment."""
    folder = site_packages(environment) / "greenroom"
    folder.mkdir(parents=True, exist_ok=True)
    text = _STUB.format(variable=LOCATION_VARIABLE, package=str(package_folder()))
    (folder / "__init__.py").write_text(text, encoding="utf-8")


def requirement_lines() -> list[str]:
    """The carried packages with the ranges that Greenroom's own metadata gives."""
    ranges = {canonical(name): wanted for name, wanted in _requirements_of("greenroom")}
    return [f"{name}{ranges.get(name, '')}" for name in CARRIED]


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _requirements_of(name: str) -> Iterator[tuple[str, str]]:
    """``(name, version range)`` of what a distribution always requires; nothing if it is not installed."""
    try:
        required = distribution(name).requires or ()
    except PackageNotFoundError:
        return
    for line in required:
        found = _REQUIREMENT.match(line)
        if found is not None and "extra" not in (found["when"] or ""):
            yield found["name"], found["range"].strip()


def pack_wheels(folder: Path) -> None:
    """Put the server's own copies of the carried packages, and of what these require, into ``folder`` as wheels.

    One that cannot be packed (installed by the system's package manager, or from a checkout) is left to the index.
    """
    folder.mkdir(parents=True, exist_ok=True)
    waiting, seen = list(CARRIED), set[str]()
    while waiting:
        name = canonical(waiting.pop())
        if name in seen:
            continue
        seen.add(name)
        try:
            _pack(distribution(name), folder)
        except PackageNotFoundError:
            continue
        waiting += [required for required, _ in _requirements_of(name)]


def _pack(installed: Distribution, folder: Path) -> None:
    file_name = _wheel_name(installed)
    if file_name is None or (folder / file_name).exists():
        return
    unfinished = folder / f"{file_name}.{os.getpid()}.tmp"
    try:
        with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as wheel:
            records = []
            for file in installed.files or ():
                if ".." in file.parts or "__pycache__" in file.parts or file.is_absolute():
                    continue
                if file.name in _LEFT_OUT and file.parent.name.endswith(".dist-info"):
                    continue
                content = Path(str(file.locate())).read_bytes()
                checksum = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
                wheel.writestr(zipfile.ZipInfo(file.as_posix()), content, zipfile.ZIP_DEFLATED)
                records.append(f'"{file.as_posix()}",sha256={checksum},{len(content)}\n')
            record = f"{'-'.join(file_name.split('-')[:2])}.dist-info/RECORD"
            wheel.writestr(record, "".join([*records, f"{record},,\n"]))
        unfinished.replace(folder / file_name)
    except OSError:
        unfinished.unlink(missing_ok=True)


def _wheel_name(installed: Distribution) -> str | None:
    described = installed.read_text("WHEEL")
    information = next((file.parent.name for file in installed.files or () if file.name == "METADATA"), "")
    editable = '"editable": true' in (installed.read_text("direct_url.json") or "")
    if not described or not information.endswith(".dist-info") or editable:
        return None
    tags = [line.partition(":")[2].strip().split("-") for line in described.splitlines() if line.startswith("Tag:")]
    if not tags or any(len(tag) != 3 for tag in tags):
        return None
    parts = [".".join(dict.fromkeys(tag[position] for tag in tags)) for position in range(3)]
    return f"{information.removesuffix('.dist-info')}-{'-'.join(parts)}.whl"


def child_variables() -> dict[str, str]:
    """What a child in an environment must find in its own, so that it runs this very Greenroom."""
    return {LOCATION_VARIABLE: str(package_folder())}
